"""File contents, addressed by the BLAKE2b-256 of their bytes and written once.

Small ones stand in the database, become durable with the commit that names them, and are verified each time they are
read. Big ones are files: written aside, synced, renamed into place, and the folder synced.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from localpach.disk import remove_tree
from localpach.errors import Corrupt
from localpach.storage.big import READ_BYTES, TO_DO, BigContents
from localpach.storage.refs import Ref, digest
from localpach.storage.store import Store

INLINE_BYTES = 64 << 10
BATCH_BYTES = 4 << 20


class Batch:
    """Small contents on their way into the database with the write that will name them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: dict[bytes, bytes] = {}
        self._bytes = 0

    def add(self, data: bytes) -> Ref:
        key = digest(data)
        if data and key not in self._pending:
            self._pending[key] = data
            self._bytes += len(data)
            if self._bytes > BATCH_BYTES:
                self.flush()
        return Ref(key.hex(), len(data))

    def get(self, ref: Ref) -> bytes | None:
        return self._pending.get(bytes.fromhex(ref.hash))

    def flush(self) -> None:
        """Writes them down; within an open write they become durable with it."""
        rows = sorted(self._pending.items())
        with self._store.write() as connection:
            # One that is damaged is written over.
            connection.executemany(
                "INSERT INTO contents (hash, data) VALUES (?, ?)"
                " ON CONFLICT (hash) DO UPDATE SET data = excluded.data WHERE data != excluded.data",
                rows,
            )
        self._pending.clear()
        self._bytes = 0


class Objects:
    """The contents of one data directory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._aside = store.root / "tmp"
        self.big = BigContents(store.root / "objects", store.root / "quarantine")
        self._aside.mkdir(exist_ok=True)

    def remove_leftovers(self) -> None:
        """Deletes what a killed server was writing."""
        for left in self._aside.iterdir():
            remove_tree(left)

    def writer(self, batch: Batch) -> ContentWriter:
        """Takes one content piece by piece, in constant memory; a small one goes to `batch`."""
        return ContentWriter(self, batch)

    def aside(self) -> tuple[int, Path]:
        """A new file to write to before it is settled."""
        handle, name = tempfile.mkstemp(dir=self._aside)
        return handle, Path(name)

    def take(self, file: Path, batch: Batch) -> Ref:
        """Stores a file that nobody needs where it is: a big one is moved, unless it has names elsewhere, too."""
        status = file.stat()
        if status.st_size <= INLINE_BYTES or status.st_nlink > 1:
            return self._copy(file, batch)
        return self._settle_whole(file)

    def share(self, file: Path, batch: Batch) -> Ref:
        """Stores a file that stays where it is, and that nobody writes to any more: a big one gets a second name."""
        if file.stat().st_size <= INLINE_BYTES:
            return self._copy(file, batch)
        handle, second = self.aside()
        os.close(handle)
        second.unlink()
        os.link(file, second)
        try:
            return self._settle_whole(second)
        finally:
            second.unlink(missing_ok=True)

    def _settle_whole(self, file: Path) -> Ref:
        hasher = hashlib.blake2b(digest_size=32)
        size = 0
        with file.open("rb") as stream:
            while chunk := stream.read(READ_BYTES):
                hasher.update(chunk)
                size += len(chunk)
        return self.big.settle(file, Ref(hasher.hexdigest(), size))

    def _copy(self, file: Path, batch: Batch) -> Ref:
        writer = self.writer(batch)
        try:
            with file.open("rb") as stream:
                while chunk := stream.read(READ_BYTES):
                    writer.write(chunk)
            return writer.close()
        finally:
            writer.abandon()

    def read(self, ref: Ref, offset: int = 0) -> Iterator[bytes]:
        """The content from `offset` on, in pieces of at most 1 MiB."""
        if ref.size <= INLINE_BYTES:
            data = self.read_inline(ref)[offset:]
            if data:
                yield data
            return
        yield from self.big.read(ref, offset)

    def check(self, ref: Ref) -> None:
        """Raises Corrupt where a content is missing or damaged."""
        if ref.size <= INLINE_BYTES:
            self.read_inline(ref)
        else:
            self.big.check(ref)

    def read_inline(self, ref: Ref) -> bytes:
        """A small content."""
        if not ref.size:
            return b""
        with self._store.read() as connection:
            row = connection.execute("SELECT data FROM contents WHERE hash = ?", (bytes.fromhex(ref.hash),)).fetchone()
        if row is None:
            raise Corrupt(f"content {ref.hash} is missing from the database; {TO_DO}")
        data: bytes = row["data"]
        if digest(data).hex() != ref.hash:
            raise Corrupt(f"content {ref.hash} is damaged in the database; {TO_DO}")
        return data

    def stored(self) -> list[Ref]:
        """All contents that there are."""
        with self._store.read() as connection:
            small = connection.execute("SELECT hash, length(data) FROM contents").fetchall()
        return [*(Ref(row[0].hex(), row[1]) for row in small), *self.big.stored()]

    def problem(self, ref: Ref, read_data: bool) -> str | None:
        """What is wrong with a content; a big one is read and hashed again only with `read_data`."""
        if ref.size > INLINE_BYTES:
            return self.big.problem(ref, read_data)
        try:
            self.read_inline(ref)
        except Corrupt as error:
            return error.message
        return None

    def keep_only(self, hashes: set[str]) -> int:
        """Deletes all other contents; gives the bytes freed."""
        dead = [ref for ref in self.stored() if ref.hash not in hashes]
        with self._store.write() as connection:
            connection.executemany("DELETE FROM contents WHERE hash = ?", [(bytes.fromhex(ref.hash),) for ref in dead])
            for ref in dead:
                self._store.after_commit(partial(self.big.path(ref).unlink, missing_ok=True))
        return sum(ref.size for ref in dead)

    def hash_of(self, refs: list[Ref], batch: Batch | None = None) -> str:
        """Pachyderm's hash of a file: of the hash of its bytes; of no hash for an empty file.

        Long files of several pieces are hashed over the pieces' hashes (Pachyderm hashes its own chunks there).
        """
        refs = [ref for ref in refs if ref.size]
        if len(refs) > 1 and all(ref.size <= INLINE_BYTES for ref in refs) and sum(r.size for r in refs) <= READ_BYTES:
            whole = b"".join((batch and batch.get(ref)) or self.read_inline(ref) for ref in refs)
            return digest(digest(whole)).hex()
        return digest(b"".join(bytes.fromhex(ref.hash) for ref in refs)).hex()


class ContentWriter:
    """One content being written."""

    def __init__(self, objects: Objects, batch: Batch) -> None:
        self._objects = objects
        self._batch = batch
        self._head = bytearray()
        self._size = 0
        self._handle = -1
        self._file: Path | None = None
        self._hasher = hashlib.blake2b(digest_size=32)

    def write(self, data: bytes | memoryview) -> None:
        self._size += len(data)
        if self._size <= INLINE_BYTES:
            self._head += data
            return
        if self._handle < 0:
            self._handle, self._file = self._objects.aside()
            self._append(self._head)
        self._append(data)

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        self._hasher.update(data)
        _write_all(self._handle, data)

    def close(self) -> Ref:
        """The whole of what was written, stored."""
        if self._file is None:
            return self._batch.add(bytes(self._head))
        os.close(self._handle)
        self._handle = -1
        return self._objects.big.settle(self._file, Ref(self._hasher.hexdigest(), self._size))

    def abandon(self) -> None:
        """Forgets what was written; after `close` it does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def _write_all(handle: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
