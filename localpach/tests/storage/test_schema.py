"""Schema versions: what is older is brought up to date, what is newer is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from localpach.errors import Precondition
from localpach.storage import schema
from localpach.storage.store import Store

PUT = "INSERT INTO cache VALUES ('k', x'01', 't')"


def version(root: Path) -> int:
    connection = sqlite3.connect(root / "metadata.sqlite")
    try:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return found
    finally:
        connection.close()


def make(root: Path, *statements: str) -> None:
    """A database made by something else than this code."""
    connection = sqlite3.connect(root / "metadata.sqlite")
    for statement in statements:
        connection.executescript(statement)
    connection.close()


def tables(store: Store) -> set[str]:
    with store.read() as connection:
        return {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_fresh_directory_has_the_newest_version(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert {"projects", "commits", "nodes", "jobs"} <= tables(store)
    store.close()
    assert version(tmp_path) == len(schema.STEPS)


def test_tables_without_a_version_are_of_the_first(tmp_path: Path) -> None:
    make(tmp_path, schema.STEPS[0], PUT)
    assert version(tmp_path) == 0
    store = Store(tmp_path)
    with store.read() as connection:
        assert [tuple(row) for row in connection.execute("SELECT * FROM cache")] == [("k", b"\x01", "t")]
    store.close()
    assert version(tmp_path) == len(schema.STEPS)


@pytest.mark.parametrize("marked", [0, 1])
def test_later_steps_are_taken_from_where_a_directory_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: int
) -> None:
    make(tmp_path, schema.STEPS[0], PUT, f"PRAGMA user_version = {marked}")
    steps = [
        schema.STEPS[0],
        "ALTER TABLE cache ADD COLUMN size INTEGER DEFAULT 5;",
        "CREATE TABLE later (num INTEGER);",
    ]
    monkeypatch.setattr(schema, "STEPS", steps)
    for _ in range(2):
        store = Store(tmp_path)
        assert "later" in tables(store)
        with store.read() as connection:
            assert [row["size"] for row in connection.execute("SELECT size FROM cache")] == [5]
        store.close()
        assert version(tmp_path) == 3


def test_steps_are_taken_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, schema.STEPS[0], "PRAGMA user_version = 1")
    monkeypatch.setattr(schema, "STEPS", [schema.STEPS[0], "CREATE TABLE later (num INTEGER);", "no statement;"])
    with pytest.raises(sqlite3.OperationalError):
        Store(tmp_path)
    assert version(tmp_path) == 1
    monkeypatch.setattr(schema, "STEPS", schema.STEPS[:1])
    store = Store(tmp_path)
    assert "later" not in tables(store)
    store.close()


def test_what_a_newer_localpach_wrote_is_refused(tmp_path: Path) -> None:
    newest = len(schema.STEPS)
    make(tmp_path, schema.STEPS[0], f"PRAGMA user_version = {newest + 1}")
    with pytest.raises(Precondition) as caught:
        Store(tmp_path)
    assert caught.value.message == (
        f"{tmp_path / 'metadata.sqlite'} has schema version {newest + 1}, and this localpach knows {newest}:"
        " a newer one wrote it; use that one"
    )
    assert version(tmp_path) == newest + 1
