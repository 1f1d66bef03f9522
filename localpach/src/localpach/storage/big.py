"""Big contents: each a file in a folder, named by its hash, verified when it is first opened and whenever it has changed since.

One that is damaged is put into quarantine, and written anew when the same bytes come again.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path

from localpach.disk import sync
from localpach.errors import Corrupt
from localpach.storage.refs import Ref

READ_BYTES = 1 << 20
KNOWN_VERIFIED = 16 << 10
TO_DO = "put the file again, or restore it from a backup"

log = logging.getLogger("localpach")


class BigContents:
    """The files of one folder."""

    def __init__(self, folder: Path, quarantine: Path) -> None:
        self._folder = folder
        self._quarantine = quarantine
        self._verified: dict[str, tuple[int, ...]] = {}
        folder.mkdir(exist_ok=True)

    def path(self, ref: Ref) -> Path:
        """Where a content lies."""
        return self._folder / ref.hash[:2] / ref.hash[2:]

    def stored(self) -> list[Ref]:
        """All that there are."""
        return [Ref(file.parent.name + file.name, file.stat().st_size) for file in self._folder.glob("*/*")]

    def read(self, ref: Ref, offset: int) -> Iterator[bytes]:
        """A content from `offset` on, in pieces of at most 1 MiB."""
        with self._open(ref) as stream:
            stream.seek(offset)
            while chunk := stream.read(READ_BYTES):
                yield chunk

    def settle(self, file: Path, ref: Ref) -> Ref:
        """Moves a complete file to its place so that neither a crash nor power loss can leave half of it there."""
        place = self.path(ref)
        if place.exists() and self._is_whole(ref):
            file.unlink()
        else:
            place.parent.mkdir(exist_ok=True)
            file.chmod(0o444)
            sync(file)
            file.replace(place)
            self._remember(ref, place.stat())
            (self._quarantine / ref.hash).unlink(missing_ok=True)
        # One that is there may be so since an attempt that failed here.
        sync(place.parent)
        sync(self._folder)
        return ref

    def check(self, ref: Ref) -> None:
        """Raises Corrupt where a content is not what was written, which is put into quarantine."""
        self._open(ref).close()

    def link(self, ref: Ref, target: Path) -> None:
        """Gives a content a second name, for who only reads."""
        self.check(ref)
        os.link(self.path(ref), target)

    def _is_whole(self, ref: Ref) -> bool:
        try:
            self.check(ref)
        except Corrupt:
            return False
        return True

    def _open(self, ref: Ref) -> FileIO:
        """A content, verified.

        Raises:
            Corrupt: it is missing, or damaged.
        """
        try:
            stream = FileIO(self.path(ref))
        except FileNotFoundError as error:
            held = self._quarantine / ref.hash
            what = f"is damaged, and lies in {held}" if held.exists() else f"is missing from {self._folder}"
            raise Corrupt(f"content {ref.hash} {what}; {TO_DO}") from error
        try:
            status = os.fstat(stream.fileno())
            if self._verified.get(ref.hash) != _stamp(status):
                if _hash_of(stream) != ref.hash:
                    raise self._put_into_quarantine(ref)
                self._remember(ref, status)
        except BaseException:
            stream.close()
            raise
        return stream

    def _remember(self, ref: Ref, status: os.stat_result) -> None:
        if len(self._verified) >= KNOWN_VERIFIED:
            self._verified.clear()
        self._verified[ref.hash] = _stamp(status)

    def _put_into_quarantine(self, ref: Ref) -> Corrupt:
        self._quarantine.mkdir(exist_ok=True, mode=0o700)
        held = self._quarantine / ref.hash
        with suppress(FileNotFoundError):
            self.path(ref).replace(held)
        log.error("content %s is damaged: it was put into %s", ref.hash, self._quarantine)
        return Corrupt(f"content {ref.hash} is damaged, and lies in {held}; {TO_DO}")

    def problem(self, ref: Ref, read_data: bool) -> str | None:
        """What is wrong with a content, which is read and hashed again with `read_data`."""
        path = self.path(ref)
        if not path.exists() or path.stat().st_size != ref.size:
            return f"content {ref.hash}: {path} is missing or has another length than {ref.size}"
        if not read_data:
            return None
        with FileIO(path) as stream:
            return None if _hash_of(stream) == ref.hash else f"content {ref.hash} is damaged"


def _hash_of(stream: FileIO) -> str:
    return hashlib.file_digest(stream, partial(hashlib.blake2b, digest_size=32)).hexdigest()


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """What a file that has changed differs in."""
    return status.st_ino, status.st_size, status.st_mtime_ns
