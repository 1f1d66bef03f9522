"""Metadata in one SQLite file: one writer at a time, many readers, and waiting for what a writer will bring."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from localpach.names import new_id

T = TypeVar("T")

SCHEMA = (Path(__file__).parent / "schema.sql").read_text()
IDLE_READERS = 16


class Cancelled(Exception):
    """The client that waited has gone."""


class CallContext(Protocol):
    """What waiting needs of a gRPC servicer context."""

    def is_active(self) -> bool: ...

    def add_callback(self, callback: Callable[[], None]) -> bool: ...


class Transaction:
    """What one outermost `Store.write()` has gathered: its time in microseconds, the branches that commits may have to
    follow on, and those whose provenance it has set."""

    def __init__(self) -> None:
        self.commit_set = new_id()
        self.moment = time.time_ns() // 1000
        self.touched: set[int] = set()
        self.reordered: set[int] = set()
        self.after: list[Callable[[], None]] = []


class Store:
    """The metadata of one data directory. Everything in it is durable when `write()` exits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.before_commit: list[Callable[[Transaction], None]] = []
        self._path = root / "metadata.sqlite"
        self._writer_lock = threading.RLock()
        self._thread = threading.local()
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._changed = threading.Condition()
        self._generation = 0
        self._writer = self._connect()
        if not self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._writer.executescript(f"BEGIN;{SCHEMA}COMMIT;")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=60)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -2000")
        return connection

    @property
    def transaction(self) -> Transaction:
        """The open write of this thread."""
        transaction = getattr(self._thread, "transaction", None)
        assert transaction is not None, "no write is open in this thread"
        return transaction

    @contextmanager
    def write(self, commit_set: str | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction; one within another joins it. `commit_set` is the id that its new commits get."""
        if getattr(self._thread, "transaction", None) is not None:
            yield self._writer
            return
        with self._writer_lock:
            transaction = self._thread.transaction = Transaction()
            transaction.commit_set = commit_set or transaction.commit_set
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                for hook in self.before_commit:
                    hook(transaction)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._thread.transaction = None
        self.wake()
        for call in transaction.after:
            call()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view; within a write of this thread, that write's own."""
        nested = getattr(self._thread, "reader", None)
        if getattr(self._thread, "transaction", None) is not None:
            yield self._writer
        elif nested is not None:
            yield nested
        else:
            with self._idle_lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._connect()
            self._thread.reader = connection
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")
                self._thread.reader = None
                with self._idle_lock:
                    keep = len(self._idle) < IDLE_READERS
                    if keep:
                        self._idle.append(connection)
                if not keep:
                    connection.close()

    def after_commit(self, call: Callable[[], None]) -> None:
        """Runs `call` once the open write is durable; it is dropped when the write is rolled back."""
        self.transaction.after.append(call)

    def wake(self) -> None:
        """Makes every waiter look again."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def wait_for(
        self, predicate: Callable[[], T | None], context: CallContext | None = None, timeout: float | None = None
    ) -> T | None:
        """Calls `predicate` now and after each write until it gives something; None when `timeout` seconds pass.

        Raises:
            Cancelled: the call of `context` has ended.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if context is not None:
            context.add_callback(self.wake)
        while True:
            seen = self._generation
            found = predicate()
            if found is not None:
                return found
            with self._changed:
                while self._generation == seen:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return None
                    self._changed.wait(left)
            if context is not None and not context.is_active():
                raise Cancelled

    def close(self) -> None:
        """Closes the file; calls that come later fail."""
        with self._writer_lock, self._idle_lock:
            for connection in [*self._idle, self._writer]:
                connection.close()
            self._idle.clear()
