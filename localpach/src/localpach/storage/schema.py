"""The tables of a data directory, by version: each step leads from the version before it to the next one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from localpach.errors import Precondition

# Version 1 is what was there before versions were written down.
STEPS = [(Path(__file__).parent / name).read_text() for name in ("schema.sql", "schema-2.sql")]


def open_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Brings the tables to the newest version, all steps at once or none.

    Raises:
        Precondition: a newer localpach has written the file.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        version = 1
    elif version > len(STEPS):
        raise Precondition(
            f"{path} has schema version {version}, and this localpach knows {len(STEPS)}: a newer one wrote it; use that one"
        )
    steps = "".join(STEPS[version:])
    connection.executescript(f"BEGIN IMMEDIATE;{steps}PRAGMA user_version = {len(STEPS)};COMMIT;")
