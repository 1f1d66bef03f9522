"""Writes: whole or not at all, durable before anybody hears of them; reads: one moment's view."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localpach.storage import store as module
from localpach.storage.store import Store, Transaction

PUT = "INSERT INTO cache VALUES (?, x'00', '')"
KEYS = "SELECT key FROM cache ORDER BY key"


def put(connection: sqlite3.Connection, key: str) -> None:
    connection.execute(PUT, (key,))


def kept(store: Store) -> list[str]:
    """The keys that another process would find."""
    connection = sqlite3.connect(store.root / "metadata.sqlite")
    try:
        return [row[0] for row in connection.execute(KEYS)]
    finally:
        connection.close()


def seen(connection: sqlite3.Connection) -> list[str]:
    return [row["key"] for row in connection.execute(KEYS)]


def elsewhere(call: Callable[[], object]) -> None:
    """Calls something in another thread."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_every_connection_is_durable_and_checked(store: Store) -> None:
    settings = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "cache_size": -2000, "busy_timeout": 60_000}
    for block in (store.write, store.read):
        with block() as connection:
            assert {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in settings} == settings


def test_what_a_block_writes_is_there_when_it_ends(store: Store) -> None:
    with store.write() as connection:
        put(connection, "a")
        assert kept(store) == []
    assert kept(store) == ["a"]


def test_a_block_that_fails_leaves_nothing(store: Store) -> None:
    done: list[str] = []
    with pytest.raises(KeyError), store.write() as connection:
        put(connection, "a")
        store.after_commit(lambda: done.append("a"))
        raise KeyError
    assert (kept(store), done) == ([], [])
    with store.write() as connection:
        put(connection, "b")
    assert (kept(store), done) == (["b"], [])


def test_a_write_that_sqlite_has_taken_back_is_told_of_as_it_was(store: Store) -> None:
    with store.write() as connection:
        put(connection, "a")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), store.write() as connection:
        put(connection, "b")
        connection.execute(PUT.replace("INSERT", "INSERT OR ROLLBACK"), ("a",))
    with store.write() as connection:
        put(connection, "c")
    assert kept(store) == ["a", "c"]


def test_a_write_within_a_write_joins_it(store: Store) -> None:
    with pytest.raises(KeyError), store.write() as connection:
        with store.write() as nested:
            assert nested is connection
            put(nested, "a")
            inner = store.transaction
        assert store.transaction is inner
        assert kept(store) == []
        raise KeyError
    assert kept(store) == []


def test_a_write_that_could_not_begin_is_none(store: Store) -> None:
    done: list[str] = []
    with store.write() as connection:
        connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(store.root / "metadata.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"), store.write():
        done.append("the block ran")
    other.execute("ROLLBACK")
    other.close()
    assert not done
    with pytest.raises(AssertionError, match="no write is open"):
        _ = store.transaction
    with pytest.raises(KeyError), store.write() as connection:
        put(connection, "a")
        store.after_commit(lambda: done.append("too early"))
        raise KeyError
    assert (kept(store), done) == ([], [])


def test_no_transaction_is_open_outside_of_a_write(store: Store) -> None:
    for fails in (False, True):
        try:
            with store.write():
                if fails:
                    raise KeyError
        except KeyError:
            pass
        with pytest.raises(AssertionError, match="no write is open in this thread"):
            _ = store.transaction


def test_a_write_is_of_one_thread(store: Store) -> None:
    done: list[str] = []

    def other() -> None:
        store.after_commit(lambda: done.append("at once"))
        with store.read() as connection:
            done.extend(seen(connection))

    with store.write() as connection:
        put(connection, "a")
        elsewhere(other)
        assert done == ["at once"]


def test_writes_take_turns(store: Store) -> None:
    order: list[str] = []
    begun = threading.Event()

    def other() -> None:
        begun.set()
        with store.write() as connection:
            order.append(f"second, after {seen(connection)}")

    with store.write() as connection:
        thread = threading.Thread(target=other)
        thread.start()
        begun.wait(20)
        thread.join(0.1)
        put(connection, "a")
        order.append("first")
    thread.join(20)
    assert order == ["first", "second, after ['a']"]


def test_what_precedes_a_commit_is_part_of_it_and_in_order(store: Store) -> None:
    calls: list[str] = []

    def before(name: str) -> Callable[[Transaction], None]:
        def call(transaction: Transaction) -> None:
            assert transaction is store.transaction
            with store.write() as connection:
                put(connection, name)
            calls.append(name)

        return call

    store.before_commit += [before("x"), before("y")]
    with store.write(), store.write():
        assert calls == []
    assert (calls, kept(store)) == (["x", "y"], ["x", "y"])

    def refuse(transaction: Transaction) -> None:
        raise KeyError

    store.before_commit = [refuse]
    with pytest.raises(KeyError), store.write() as connection:
        put(connection, "z")
    assert kept(store) == ["x", "y"]


def test_what_follows_a_commit_runs_once_when_all_is_durable(store: Store) -> None:
    found: list[list[str]] = []

    def look() -> None:
        found.append(kept(store))
        store.after_commit(lambda: found.append(["no write is open by then"]))

    with store.write() as connection:
        put(connection, "a")
        with store.write():
            store.after_commit(look)
        store.after_commit(look)
        put(connection, "b")
        assert found == []
    assert found == [["a", "b"], ["no write is open by then"]]


def test_calls_that_follow_a_commit_keep_their_order(store: Store) -> None:
    done: list[int] = []
    with store.write():
        for number in range(5):
            store.after_commit(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == [0, 1, 2, 3, 4]


def test_a_call_that_fails_after_a_commit_stops_no_other(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def fail() -> None:
        raise OSError("no more files")

    with store.write() as connection:
        put(connection, "a")
        store.after_commit(fail)
        store.after_commit(lambda: done.append("later"))
    assert (kept(store), done) == (["a"], ["later"])
    assert [record.message for record in caplog.records] == ["unexpected error after a write"]
    caplog.clear()


def test_a_write_has_one_moment_and_one_of_each_gathering(store: Store) -> None:
    before = time.time_ns() // 1000
    with store.write():
        outer = store.transaction
        gathered = outer.gathered(list)
        with store.write():
            assert store.transaction.gathered(list) is gathered
            assert store.transaction.gathered(dict) == {}
    assert before <= outer.moment <= time.time_ns() // 1000
    with store.write():
        assert store.transaction.gathered(list) is not gathered


def test_a_read_is_of_one_moment(store: Store) -> None:
    def write(key: str) -> None:
        with store.write() as connection:
            put(connection, key)

    write("a")
    with store.read() as connection:
        assert seen(connection) == ["a"]
        elsewhere(lambda: write("b"))
        assert seen(connection) == ["a"]
        with store.read() as nested:
            assert nested is connection
        assert seen(connection) == ["a"]
    with store.read() as connection:
        assert seen(connection) == ["a", "b"]


def test_a_read_within_a_write_sees_it(store: Store) -> None:
    with store.read() as before:
        seen(before)
        with store.write() as connection:
            put(connection, "a")
            with store.read() as within:
                assert seen(within) == ["a"]
        assert seen(before) == []


def test_a_read_that_fails_ends(store: Store) -> None:
    with pytest.raises(KeyError), store.read() as connection:
        seen(connection)
        raise KeyError
    with store.write() as writer:
        put(writer, "a")
    with store.read() as connection:
        assert seen(connection) == ["a"]


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        return connection.total_changes >= 0
    except sqlite3.ProgrammingError:
        return False


@pytest.mark.parametrize("more", [0, 5])
def test_a_bounded_number_of_idle_readers_is_kept(store: Store, more: int) -> None:
    count = module.IDLE_READERS + more
    meeting = threading.Barrier(count + 1)
    used: list[sqlite3.Connection] = []

    def read() -> None:
        with store.read() as connection:
            used.append(connection)
            meeting.wait(20)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    meeting.wait(20)
    for thread in threads:
        thread.join(20)
    assert len(set(map(id, used))) == count
    assert sum(map(is_open, used)) == module.IDLE_READERS
    with store.read() as again:
        assert any(again is each for each in used)


def test_a_closed_store_leaves_one_file_and_refuses_writes(store: Store) -> None:
    with store.read() as reader, store.write() as writer:
        put(writer, "a")
    store.close()
    assert not is_open(reader)
    assert not is_open(writer)
    assert [path.name for path in store.root.iterdir()] == ["metadata.sqlite"]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"), store.write():
        pass


@pytest.mark.parametrize("there", [False, True])
def test_the_database_is_for_its_owner_alone(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "metadata.sqlite").touch(mode=0o644)
    store = Store(tmp_path)
    with store.write() as connection:
        put(connection, "a")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(("metadata.sqlite", "metadata.sqlite-wal", "metadata.sqlite-shm"), 0o600)


def test_nothing_is_wrong_with_a_sound_file(store: Store) -> None:
    assert list(store.problems()) == []


def raw(store: Store, *statements: str) -> None:
    """Does to the file what the store never would."""
    connection = sqlite3.connect(store.root / "metadata.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_rows_that_name_missing_ones_are_told_of(store: Store) -> None:
    raw(store, "INSERT INTO branches (num, repo, name) VALUES (7, 99, 'b')")
    assert list(store.problems()) == ["table branches row 7 names a missing row of repos"]


def test_damage_in_the_file_is_told_of(store: Store) -> None:
    loose = "replace(sql, 'tag TEXT NOT NULL', 'tag TEXT')"
    strict = "replace(sql, 'tag TEXT', 'tag TEXT NOT NULL')"
    change = "UPDATE sqlite_schema SET sql = {} WHERE name = 'cache'"
    raw(store, "PRAGMA writable_schema = ON", change.format(loose))
    raw(store, "INSERT INTO cache VALUES ('a', x'00', NULL)", "PRAGMA writable_schema = ON", change.format(strict))
    store.close()
    again = Store(store.root)
    assert list(again.problems()) == ["database: NULL value in cache.tag"]
    again.close()
