"""Power that is lost: a journal of all that a server changed on its disk, and what may be there after any moment of it.

What was synced is there. Of what was written since, each sector may be, or not; of the names that came to a folder, or went
from it, since that was synced, the first ones are, and the others are not.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).with_name("journal.c")
_HEAD = struct.Struct("=6Q")
SECTORS = (512, 4096)


class What(IntEnum):
    """As in `journal.c`."""

    CREATE, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MKDIR = range(8)


class Record(NamedTuple):
    """A change: of a file, by its number, or of a name. `end` is where in the journal the next one begins."""

    what: What
    number: int
    at: int
    path: str
    other: str
    data: bytes
    end: int


class Journal:
    """What a server changes below a folder, for a server in a process of its own."""

    def __init__(self, folder: Path, root: Path) -> None:
        """`folder` is where what it needs is made."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no compiler of C, which the layer between server and disk is written in")
        library, self._file = folder / "journal.so", folder / "journal"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self._file.touch()
        self._root = str(root)
        self.env = {"LD_PRELOAD": str(library), "JOURNAL": str(self._file), "JOURNAL_ROOT": self._root}

    @property
    def size(self) -> int:
        """How long it is: what is in it by now has happened."""
        return self._file.stat().st_size

    def records(self) -> Iterator[Record]:
        """In order, with paths from the folder on."""
        with self._file.open("rb") as stream:
            while head := stream.read(_HEAD.size):
                what, number, at, *lengths = _HEAD.unpack(head)
                path, other = (
                    stream.read(length).decode().removeprefix(self._root).strip("/") for length in lengths[:2]
                )
                data = stream.read(lengths[2])
                yield Record(What(what), number, at, path, other, data, stream.tell())


@dataclass
class File:
    """Bytes on the disk, and what was done to them since they were synced: data at a place, or None to cut them there."""

    data: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for at, data in self.unsynced:
            _apply(self.data, at, data)
        self.unsynced.clear()

    def after_loss(self, chance: random.Random) -> bytearray:
        """What may be there."""
        left = bytearray(self.data)
        for at, data in self.unsynced:
            fate = chance.choice(("kept", "lost", "torn"))
            if fate == "kept":
                _apply(left, at, data)
            elif fate == "torn" and data is not None:
                for start, piece in _sectors(at, data, chance.choice(SECTORS)):
                    if chance.random() < 0.5:
                        _apply(left, start, piece)
        return left


@dataclass
class Folder:
    """Names on the disk and as they are by now, and the changes that lie between."""

    synced: dict[str, File | Folder] = field(default_factory=dict)
    names: dict[str, File | Folder] = field(default_factory=dict)
    unsynced: list[tuple[str, File | Folder | None]] = field(default_factory=list)

    def set(self, name: str, node: File | Folder | None) -> None:
        _set(self.names, name, node)
        self.unsynced.append((name, node))

    def sync(self) -> None:
        self.synced = dict(self.names)
        self.unsynced.clear()

    def after_loss(self, chance: random.Random) -> dict[str, File | Folder]:
        left = dict(self.synced)
        for name, node in self.unsynced[: chance.randrange(len(self.unsynced) + 1)]:
            _set(left, name, node)
        return left


class Disk:
    """What a journal makes of an empty folder."""

    def __init__(self) -> None:
        self._root = Folder()
        self._nodes: dict[int, File | Folder] = {}

    def play(self, record: Record) -> None:
        """Takes over a change."""
        if record.what in (What.CREATE, What.MKDIR):
            self._nodes[record.number] = File() if record.what == What.CREATE else Folder()
            self._set(record.path, self._nodes[record.number])
        elif record.what == What.SYNC:
            synced = self._nodes.get(record.number) if record.path else self._root
            if synced is not None:
                synced.sync()
        elif record.what == What.UNLINK:
            self._set(record.path, None)
        elif record.what in (What.RENAME, What.LINK):
            folder, name = self._place(record.other)
            node = folder.names.get(name)
            # What a command wrote by itself comes into the journal when it is synced.
            self._set(record.path, node or self._nodes.setdefault(record.number, File()))
            if record.what == What.RENAME and node is not None:
                self._set(record.other, None)
        else:
            file = self._nodes.get(record.number)
            if not isinstance(file, File):
                # A number is used again, and what a command did is not seen.
                file = self._nodes[record.number] = File()
            file.unsynced.append((record.at, record.data if record.what == What.WRITE else None))

    def _place(self, path: str) -> tuple[Folder, str]:
        *folders, name = path.split("/")
        here = self._root
        for each in folders:
            found = here.names.get(each)
            if not isinstance(found, Folder):
                found = Folder()
                here.set(each, found)
            here = found
        return here, name

    def _set(self, path: str, node: File | Folder | None) -> None:
        folder, name = self._place(path)
        folder.set(name, node)

    def lose_power(self, target: Path, chance: random.Random) -> None:
        """Writes to a fresh folder what may be left."""
        self._write(self._root, target, chance)

    def _write(self, folder: Folder, target: Path, chance: random.Random) -> None:
        target.mkdir(mode=0o700)
        for name, node in folder.after_loss(chance).items():
            if isinstance(node, Folder):
                self._write(node, target / name, chance)
            else:
                (target / name).write_bytes(node.after_loss(chance))


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(at - len(content), 0)))
    content[at : at + len(data)] = data


def _sectors(at: int, data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    start = at
    while start < at + len(data):
        end = min((start // size + 1) * size, at + len(data))
        yield start, data[start - at : end - at]
        start = end


def _set(names: dict[str, File | Folder], name: str, node: File | Folder | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node
