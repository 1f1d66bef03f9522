"""A database made anew of what can still be read of a damaged one."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localpach.disk import name_again, sync
from localpach.faults import may_pass
from localpach.storage.schema import STEPS

# How many rows between two that can be read are tried one by one.
GAP = 20_000

Row = tuple[Any, ...]


def rebuild(path: Path) -> list[str]:
    """Puts a new database in the place of a damaged one, which is kept beside it; gives a sentence for each thing lost.

    Raises:
        OSError, sqlite3.Error: the disk is full or fails; the damaged one stays in its place.
    """
    _put_back(path)
    kept = next(each for number in itertools.count(1) if not (each := path.with_suffix(f".damaged-{number}")).exists())
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    try:
        lost = _write_anew(path, fresh)
        for file, name in _names(path, kept):
            name_again(file, name)
        for file, _ in _names(path, kept):
            if file != path:
                file.unlink()
        fresh.replace(path)
    except (OSError, sqlite3.Error):
        _put_back(path)
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)
    return [*lost, f"the damaged database is kept as {kept}"]


def _write_anew(path: Path, fresh: Path) -> list[str]:
    """Writes what can be read of a database to a new one; a sentence for each thing that can't."""
    new = sqlite3.connect(fresh, isolation_level=None)
    # Nobody needs it before it is complete, and synced as a whole.
    new.executescript("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;")
    new.executescript(f"{''.join(STEPS)}PRAGMA user_version = {len(STEPS)};")
    fresh.chmod(0o600)
    old = sqlite3.connect(path, isolation_level=None)
    # A damaged text must not hide the others.
    old.text_factory = lambda data: data.decode(errors="replace")
    try:
        new.execute("BEGIN")
        lost = [sentence for table in _tables(new) if (sentence := _copy(old, new, table))]
        lost += _drop_orphans(new)
        new.execute("COMMIT")
    finally:
        old.close()
        new.close()
    sync(fresh)
    return lost


def _names(path: Path, kept: Path) -> list[tuple[Path, Path]]:
    """The files of a database, and the names under which they are kept."""
    names = [
        (path.with_name(path.name + suffix), kept.with_name(kept.name + suffix)) for suffix in ("-wal", "-shm", "")
    ]
    return [(file, name) for file, name in names if file.exists()]


def _put_back(path: Path) -> None:
    """Gives a database what stood beside it, where an earlier attempt ended before the new one was in its place."""
    for kept in path.parent.glob(f"{path.stem}.damaged-*"):
        if kept.suffix.removeprefix(".damaged-").isdigit() and kept.samefile(path):
            for name, file in _names(kept, path):
                if name != kept and not file.exists():
                    name_again(name, file)
                name.unlink()


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [row[0] for row in connection.execute(query)]


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, bool]:
    """Names, and whether each is a number by which rows are found."""
    try:
        rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    except sqlite3.DatabaseError as error:
        if may_pass(error):
            raise
        return {}
    keys = sum(row[5] > 0 for row in rows)
    return {row[1]: row[5] == keys == 1 and row[2] == "INTEGER" for row in rows}


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> str:
    """Copies what can be read of a table; a sentence if that is not all."""
    known = _columns(old, table)
    columns = [name for name in _columns(new, table) if name in known]
    if not columns:
        return f"table {table}: all of it"
    has_rowid = (
        "WITHOUT ROWID" not in new.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    )
    # The order of rows that have a number of their own counts.
    names = columns if any(known.values()) or not has_rowid else ["rowid", *columns]
    insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    refused = 0
    faults: list[str] = []
    for row in _rows(old, table, columns, has_rowid, faults):
        try:
            new.execute(insert, row if len(names) > len(columns) or not has_rowid else row[1:])
        except sqlite3.DatabaseError as error:
            if may_pass(error):
                raise
            refused += 1
    if faults:
        return f"table {table}: rows that can't be read ({faults[0]})"
    return f"table {table}: {refused} rows that make no sense" if refused else ""


def _rows(old: sqlite3.Connection, table: str, columns: list[str], has_rowid: bool, faults: list[str]) -> Iterator[Row]:
    """The rows of a table that can be read, with their numbers: from the start, from the end, and each between."""
    select = f"SELECT {'rowid, ' if has_rowid else ''}{', '.join(columns)} FROM {table}"
    low = 0
    for row in _until_fault(old, f"{select} ORDER BY 1", faults):
        low = row[0]
        yield row
    if not faults or not has_rowid:
        return
    high = low + GAP
    for row in _until_fault(old, f"{select} WHERE rowid > {low} ORDER BY 1 DESC", faults):
        high = min(high, row[0])
        yield row
    for number in range(low + 1, min(high, low + GAP)):
        yield from _until_fault(old, f"{select} WHERE rowid = {number}", faults)


def _until_fault(old: sqlite3.Connection, query: str, faults: list[str]) -> Iterator[Row]:
    try:
        yield from old.execute(query)
    except sqlite3.DatabaseError as error:
        if may_pass(error):
            raise
        faults.append(str(error))


def _drop_orphans(new: sqlite3.Connection) -> Iterator[str]:
    """Takes out what names a row that is gone; a head or a parent alone is forgotten."""
    new.execute("INSERT OR IGNORE INTO projects (name, description, created) SELECT DISTINCT project, '', 0 FROM repos")
    new.execute("UPDATE branches SET head = NULL WHERE head NOT IN (SELECT num FROM commits)")
    new.execute("UPDATE commits SET parent = NULL WHERE parent NOT IN (SELECT num FROM commits)")
    while orphans := {(row[0], row[1], row[2]) for row in new.execute("PRAGMA foreign_key_check")}:
        for table, rowid, parent in sorted(orphans, key=str):
            yield f"table {table}: a row without its row of {parent}"
            if rowid is None:
                new.execute(f"DELETE FROM {table} WHERE job NOT IN (SELECT num FROM jobs)")
            else:
                new.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
