"""The tables of a data directory, by version: each step leads from the version before it to the next one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from localpach.errors import Corrupt, Precondition

# Version 1 is what was there before versions were written down.
STEPS = [(Path(__file__).parent / name).read_text() for name in ("schema.sql", "schema-2.sql", "schema-3.sql")]


def open_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Brings the tables to the newest version, all steps at once or none.

    Raises:
        Precondition: a newer localpach has written the file.
        Corrupt: the tables are not those of any version.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        version = 1
    elif version == 0 and (path.parent / "objects").exists():
        raise Corrupt(damaged(path, f"it is missing or empty, and {path.parent} has contents"))
    elif version < 0:
        raise Corrupt(damaged(path, f"it has schema version {version}"))
    elif version > len(STEPS):
        raise Precondition(
            f"{path} has schema version {version}, and this localpach knows {len(STEPS)}: a newer one wrote it; use that one"
        )
    steps = "".join(STEPS[version:])
    connection.executescript(f"BEGIN IMMEDIATE;{steps}PRAGMA user_version = {len(STEPS)};COMMIT;")
    missing = _shape(expected()) - _shape(connection)
    if missing:
        raise Corrupt(damaged(path, f"it lacks {', '.join(sorted(missing))}"))


def expected() -> sqlite3.Connection:
    """An empty database with the tables of the newest version."""
    connection = sqlite3.connect(":memory:")
    connection.executescript("".join(STEPS))
    return connection


def damaged(path: Path, how: str) -> str:
    """What to say of a damaged database."""
    return f"the database {path} is damaged: {how}; run `localpach fsck --repair --root {path.parent}`"


def _shape(connection: sqlite3.Connection) -> set[str]:
    """Tables' columns and indexes, by name."""
    columns = connection.execute(
        "SELECT 'column ' || m.name || '.' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c"
        " WHERE m.type = 'table'"
    )
    indexes = connection.execute("SELECT 'index ' || name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    return {row[0] for row in [*columns, *indexes]}
