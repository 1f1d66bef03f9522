CREATE TABLE defaults (
    project TEXT UNIQUE REFERENCES projects (name) ON DELETE CASCADE,
    json TEXT NOT NULL,
    created INTEGER NOT NULL
);
