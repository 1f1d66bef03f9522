CREATE TABLE projects (
    name TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE TABLE repos (
    num INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    description TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (project, name, type)
);
CREATE TABLE branches (
    num INTEGER PRIMARY KEY AUTOINCREMENT,
    repo INTEGER NOT NULL REFERENCES repos (num),
    name TEXT NOT NULL,
    head INTEGER REFERENCES commits (num),
    trigger BLOB,
    UNIQUE (repo, name)
);
CREATE INDEX branches_by_head ON branches (head);
CREATE TABLE branch_provenance (
    branch INTEGER NOT NULL REFERENCES branches (num) ON DELETE CASCADE,
    upstream INTEGER NOT NULL REFERENCES branches (num),
    PRIMARY KEY (branch, upstream)
);
CREATE INDEX branch_subvenance ON branch_provenance (upstream);
CREATE TABLE commits (
    num INTEGER PRIMARY KEY AUTOINCREMENT,
    repo INTEGER NOT NULL REFERENCES repos (num),
    id TEXT NOT NULL,
    branch TEXT NOT NULL,
    parent INTEGER REFERENCES commits (num),
    origin INTEGER NOT NULL,
    description TEXT NOT NULL,
    started INTEGER NOT NULL,
    finishing INTEGER,
    finished INTEGER,
    error TEXT NOT NULL DEFAULT '',
    refused INTEGER NOT NULL DEFAULT 0,
    tree TEXT,
    size INTEGER NOT NULL DEFAULT 0,
    collisions TEXT NOT NULL DEFAULT '[]',
    UNIQUE (repo, id)
);
CREATE INDEX commits_by_set ON commits (id);
CREATE INDEX commits_by_parent ON commits (parent);
CREATE INDEX commits_unfinished ON commits (num) WHERE finishing IS NOT NULL AND finished IS NULL;
CREATE TABLE commit_provenance (
    commit_num INTEGER NOT NULL REFERENCES commits (num) ON DELETE CASCADE,
    upstream INTEGER NOT NULL REFERENCES commits (num),
    PRIMARY KEY (commit_num, upstream)
);
CREATE INDEX commit_subvenance ON commit_provenance (upstream);
CREATE TABLE contents (
    hash BLOB PRIMARY KEY,
    data BLOB NOT NULL
);
CREATE TABLE nodes (
    key BLOB PRIMARY KEY,
    data BLOB NOT NULL
);
CREATE TABLE file_sets (
    id TEXT PRIMARY KEY,
    layers TEXT NOT NULL,
    expires INTEGER NOT NULL
);
CREATE TABLE cache (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    tag TEXT NOT NULL
);
CREATE TABLE transactions (
    id TEXT PRIMARY KEY,
    info BLOB NOT NULL
);
CREATE TABLE pipelines (
    num INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    stopped INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (project, name)
);
CREATE TABLE pipeline_versions (
    pipeline INTEGER NOT NULL REFERENCES pipelines (num) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    info BLOB NOT NULL,
    PRIMARY KEY (pipeline, version)
);
CREATE TABLE jobs (
    num INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline INTEGER NOT NULL REFERENCES pipelines (num) ON DELETE CASCADE,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    state INTEGER NOT NULL,
    over INTEGER NOT NULL DEFAULT 0,
    info BLOB NOT NULL,
    UNIQUE (pipeline, id)
);
CREATE INDEX jobs_by_set ON jobs (id);
CREATE INDEX jobs_to_do ON jobs (num) WHERE over = 0;
CREATE TABLE datums (
    job INTEGER NOT NULL REFERENCES jobs (num) ON DELETE CASCADE,
    id TEXT NOT NULL,
    hash TEXT NOT NULL,
    state INTEGER NOT NULL,
    info BLOB NOT NULL,
    PRIMARY KEY (job, id)
) WITHOUT ROWID;
CREATE TABLE ticks (
    pipeline INTEGER NOT NULL REFERENCES pipelines (num) ON DELETE CASCADE,
    name TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (pipeline, name)
);
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    created INTEGER NOT NULL,
    data TEXT NOT NULL
);
