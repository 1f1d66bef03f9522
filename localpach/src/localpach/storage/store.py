"""Metadata in one SQLite file: one writer at a time, and many readers."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from localpach.clock import now
from localpach.faults import may_pass
from localpach.storage.schema import open_schema

T = TypeVar("T")

IDLE_READERS = 16

log = logging.getLogger("localpach")


class Transaction:
    """One outermost `Store.write()`: its time in microseconds since 1970, and what parts gather in it."""

    def __init__(self) -> None:
        self.moment = now()
        self.after: dict[Callable[[], None], None] = {}
        self._gathered: dict[type, Any] = {}

    def gathered(self, kind: type[T]) -> T:
        """The one object of a kind that belongs to this write, made when it is first asked for."""
        if kind not in self._gathered:
            self._gathered[kind] = kind()
        found: T = self._gathered[kind]
        return found


class Store:
    """The metadata of one data directory. Everything in it is durable when `write()` exits.

    Attributes:
        before_commit: what is called at the end of each write and within it, in order.
    """

    def __init__(self, root: Path) -> None:
        """Raises Precondition where a newer localpach has written the directory."""
        self.root = root
        self.before_commit: list[Callable[[Transaction], None]] = []
        self._path = root / "metadata.sqlite"
        self._writer_lock = threading.RLock()
        self._thread = threading.local()
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        # The files that SQLite puts beside it get its mode.
        self._path.touch(mode=0o600)
        self._path.chmod(0o600)
        self._writer = self._connect()
        try:
            open_schema(self._writer, self._path)
        except BaseException:
            self._writer.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=60)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -2000")
        return connection

    @property
    def _open_write(self) -> Transaction | None:
        found: Transaction | None = getattr(self._thread, "transaction", None)
        return found

    @property
    def transaction(self) -> Transaction:
        """The open write of this thread."""
        transaction = self._open_write
        assert transaction is not None, "no write is open in this thread"
        return transaction

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction; one within another joins it."""
        if self._open_write is not None:
            yield self._writer
            return
        with self._writer_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            transaction = self._thread.transaction = Transaction()
            try:
                yield self._writer
                for call in self.before_commit:
                    call(transaction)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._thread.transaction = None
        for after in transaction.after:
            try:
                after()
            except Exception:
                # What was written is durable, whatever comes of this.
                log.exception("unexpected error after a write")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view; within a write of this thread, that write's own."""
        nested: sqlite3.Connection | None = getattr(self._thread, "reader", None)
        if self._open_write is not None:
            yield self._writer
        elif nested is not None:
            yield nested
        else:
            connection = self._take_reader()
            self._thread.reader = connection
            try:
                yield connection
            finally:
                self._thread.reader = None
                connection.execute("COMMIT")
                self._give_back(connection)

    def _take_reader(self) -> sqlite3.Connection:
        with self._idle_lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        connection.execute("BEGIN")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            keep = len(self._idle) < IDLE_READERS
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def after_commit(self, call: Callable[[], None]) -> None:
        """Runs `call` once the open write is durable, and only once however often it is asked for; it is dropped when the
        write is rolled back. Where no write is open it runs now."""
        transaction = self._open_write
        if transaction is None:
            call()
        else:
            transaction.after[call] = None

    def problems(self) -> Iterator[str]:
        """A sentence for each thing that is wrong with the file itself."""
        with self.read() as connection:
            try:
                for row in connection.execute("PRAGMA integrity_check"):
                    if row[0] != "ok":
                        yield f"database: {row[0]}"
                for row in connection.execute("PRAGMA foreign_key_check"):
                    yield f"table {row['table']} row {row['rowid']} names a missing row of {row['parent']}"
            except sqlite3.DatabaseError as error:
                if may_pass(error):
                    raise
                yield f"database: {error}"

    def close(self) -> None:
        """Closes the file; a write that comes later fails."""
        with self._writer_lock, self._idle_lock:
            for connection in [*self._idle, self._writer]:
                connection.close()
            self._idle.clear()
