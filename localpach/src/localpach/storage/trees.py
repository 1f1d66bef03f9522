"""Directories as Merkle trees: immutable nodes, shared between commits, so that a commit costs what changed.

A directory is a list of entries sorted by name, where a directory's name ends in `/` (so a file and a directory of one
name can stand side by side until the commit is checked, and the order is that of whole paths). It is cut into leaves
after each entry whose name hashes to a boundary; equal content thus gives equal nodes, whatever the history.
"""

from __future__ import annotations

import json
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from localpach.errors import Corrupt
from localpach.storage.refs import Ref, digest
from localpach.storage.store import Store

LEAF_ENTRIES = 128
# About 12 MiB of Python objects.
CACHED_ENTRIES = 16 << 10
DEFAULT_DATUM = "default"

Row = list[Any]
_name = itemgetter(0)


class File(NamedTuple):
    """A file: for each datum that wrote to it, in datum order, the pieces in writing order."""

    size: int
    hash: str
    parts: tuple[tuple[str, tuple[Ref, ...]], ...]

    @property
    def refs(self) -> list[Ref]:
        return [ref for _, refs in self.parts for ref in refs]

    @property
    def datum(self) -> str:
        return self.parts[0][0]


class Dir(NamedTuple):
    """A directory's node and how many bytes its files have."""

    key: str
    size: int


Entry = File | Dir
EMPTY = Dir("", 0)


class Trees:
    """Reads and writes nodes: a leaf is `[row, …]`; above many leaves stands `{"leaves": [[first, key, size], …]}`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, Any] = OrderedDict()
        self._cached = 0
        self._hashes: OrderedDict[str, bytes] = OrderedDict()

    def _node(self, key: str) -> Any:
        with self._lock:
            node = self._cache.get(key)
            if node is not None:
                self._cache.move_to_end(key)
                return node
        with self._store.read() as connection:
            row = connection.execute("SELECT data FROM nodes WHERE key = ?", (bytes.fromhex(key),)).fetchone()
        if row is None:
            raise Corrupt(f"directory node {key} is missing from the database; restore it from a backup")
        if digest(row["data"]).hex() != key:
            raise Corrupt(f"directory node {key} is damaged; restore it from a backup")
        node = json.loads(row["data"])
        self._remember(key, node)
        return node

    def _remember(self, key: str, node: Any) -> None:
        with self._lock:
            if key not in self._cache:
                self._cache[key] = node
                self._cached += _length(node)
            while self._cached > CACHED_ENTRIES and len(self._cache) > 1:
                self._cached -= _length(self._cache.popitem(last=False)[1])

    def _save(self, node: Any) -> str:
        data = json.dumps(node, separators=(",", ":")).encode()
        key = digest(data)
        with self._store.write() as connection:
            connection.execute("INSERT OR IGNORE INTO nodes (key, data) VALUES (?, ?)", (key, data))
        return key.hex()

    def lookup(self, directory: Dir, name: str) -> Entry | None:
        """The entry called `name` (a directory's with its `/`)."""
        if not directory.key:
            return None
        node = self._node(directory.key)
        if isinstance(node, dict):
            leaves = node["leaves"]
            place = bisect_right(leaves, name, key=_name) - 1
            if place < 0:
                return None
            node = self._node(leaves[place][1])
        place = bisect_left(node, name, key=_name)
        if place < len(node) and node[place][0] == name:
            return _entry(node[place])
        return None

    def entries(self, directory: Dir, after: str = "", reverse: bool = False) -> Iterator[tuple[str, Entry]]:
        """Names and entries in order; `after` (before, when reversed) gives the name to go on from."""
        for node in self._leaves(directory, after, reverse):
            rows: list[Row] = node
            if after and reverse:
                rows = rows[: bisect_left(rows, after, key=_name)]
            elif after:
                rows = rows[bisect_right(rows, after, key=_name) :]
            for row in reversed(rows) if reverse else rows:
                yield row[0], _entry(row)

    def _leaves(self, directory: Dir, after: str, reverse: bool) -> Iterator[list[Row]]:
        if not directory.key:
            return
        node = self._node(directory.key)
        if isinstance(node, list):
            yield node
            return
        leaves = node["leaves"]
        place = max(bisect_right(leaves, after, key=_name) - 1, 0)
        chosen = (leaves[: place + 1] if after else leaves)[::-1] if reverse else leaves[place if after else 0 :]
        for _, key, _ in chosen:
            yield self._node(key)

    def find(self, root: Dir, path: str) -> Entry | None:
        """What stands at a clean path; a file wins over a directory of the same name. `/` is the root."""
        if path == "/":
            return root
        parent, _, name = path.rpartition("/")
        here = self.find_dir(root, parent or "/")
        return here and (self.lookup(here, name) or self.lookup(here, name + "/"))

    def find_dir(self, root: Dir, path: str) -> Dir | None:
        """The directory at a clean path, even where a file has the same name."""
        here = root
        for folder in path.split("/")[1:] if path != "/" else ():
            entry = self.lookup(here, folder + "/")
            if not isinstance(entry, Dir):
                return None
            here = entry
        return here

    def hash(self, directory: Dir) -> bytes:
        """Pachyderm's hash of a directory: BLAKE2b-256 of its children's hashes, one after the other."""
        with self._lock:
            known = self._hashes.get(directory.key)
        if known is not None:
            return known
        children = bytearray()
        for _, entry in self.entries(directory):
            children += self.hash(entry) if isinstance(entry, Dir) else bytes.fromhex(entry.hash)
        known = digest(bytes(children))
        with self._lock:
            self._hashes[directory.key] = known
            if len(self._hashes) > CACHED_ENTRIES:
                self._hashes.popitem(last=False)
        return known

    def update(self, directory: Dir, changes: dict[str, Entry | None]) -> Dir:
        """`directory` with entries put (or, where None, removed); an empty one has the empty key."""
        if not changes:
            return directory
        old = self._index(directory)
        pieces: list[list[Any]] = []
        names = sorted(changes)
        place = 0
        while place < len(old) or names:
            last_of_old = place >= len(old) - 1
            here = names if last_of_old else names[: bisect_left(names, old[place + 1][0])]
            if place < len(old) and not here:
                pieces.append(old[place])
                place += 1
                continue
            names = names[len(here) :]
            rows = _merge(list(self._node(old[place][1])) if place < len(old) else [], here, changes)
            place += 1
            # An entry that ended a leaf may be gone: then the leaf runs into the next one.
            while place < len(old) and rows and not _ends_leaf(rows[-1][0]):
                after = names if place == len(old) - 1 else names[: bisect_left(names, old[place + 1][0])]
                names = names[len(after) :]
                rows += _merge(list(self._node(old[place][1])), after, changes)
                place += 1
            pieces += [[leaf[0][0], self._save(leaf), sum(row[1] for row in leaf)] for leaf in _cut(rows)]
        if not pieces:
            return EMPTY
        size = sum(piece[2] for piece in pieces)
        return Dir(pieces[0][1] if len(pieces) == 1 else self._save({"leaves": pieces}), size)

    def _index(self, directory: Dir) -> list[list[Any]]:
        """First name, key and size of each leaf."""
        if not directory.key:
            return []
        node = self._node(directory.key)
        return node["leaves"] if isinstance(node, dict) else [[node[0][0], directory.key, directory.size]]

    def reachable(self, key: str, seen: set[str]) -> Iterator[Ref]:
        """Adds the nodes below `key` to `seen` and gives the contents they name, those of seen nodes left out."""
        if not key or key in seen:
            return
        seen.add(key)
        node = self._node(key)
        if isinstance(node, dict):
            for _, leaf, _ in node["leaves"]:
                yield from self.reachable(leaf, seen)
            return
        for row in node:
            entry = _entry(row)
            if isinstance(entry, Dir):
                yield from self.reachable(entry.key, seen)
            else:
                yield from entry.refs

    def salvage(self, directory: Dir) -> tuple[dict[str, Entry], str]:
        """What can be read of a directory, and what is wrong with the rest of it."""
        try:
            leaves = [leaf[1] for leaf in self._index(directory)]
        except Corrupt as error:
            return {}, error.message
        found: dict[str, Entry] = {}
        problem = ""
        for leaf in leaves:
            try:
                found |= {row[0]: _entry(row) for row in self._node(leaf)}
            except Corrupt as error:
                problem = error.message
        return found, problem

    def damaged(self) -> Iterator[str]:
        """A sentence for each node that is not what was written."""
        with self._store.read() as connection:
            for row in connection.execute("SELECT key, data FROM nodes"):
                if digest(row["data"]) != row["key"]:
                    yield f"directory node {row['key'].hex()} is damaged"

    def drop_damaged(self) -> None:
        """Deletes the nodes that are not what was written."""
        with self._store.write() as connection:
            rows = connection.execute("SELECT key, data FROM nodes")
            damaged = [(row["key"],) for row in rows if digest(row["data"]) != row["key"]]
            connection.executemany("DELETE FROM nodes WHERE key = ?", damaged)

    def keep_only(self, keys: set[str]) -> int:
        """Deletes all other nodes; gives the bytes freed."""
        with self._store.write() as connection:
            rows = connection.execute("SELECT key, length(data) AS size FROM nodes").fetchall()
            dead = [row for row in rows if row["key"].hex() not in keys]
            connection.executemany("DELETE FROM nodes WHERE key = ?", [(row["key"],) for row in dead])
        return sum(row["size"] for row in dead)


def _length(node: Any) -> int:
    return len(node["leaves"] if isinstance(node, dict) else node)


def _merge(rows: list[Row], names: list[str], changes: dict[str, Entry | None]) -> list[Row]:
    kept = [row for row in rows if row[0] not in changes]
    put = [_row(name, entry) for name in names if (entry := changes[name]) is not None]
    return sorted(kept + put, key=_name) if put else kept


def _ends_leaf(name: str) -> bool:
    return zlib.crc32(name.encode()) % LEAF_ENTRIES == 0


def _cut(rows: list[Row]) -> Iterator[list[Row]]:
    start = 0
    for place, row in enumerate(rows):
        if _ends_leaf(row[0]):
            yield rows[start : place + 1]
            start = place + 1
    if start < len(rows):
        yield rows[start:]


def _row(name: str, entry: Entry) -> Row:
    if isinstance(entry, Dir):
        return [name, entry.size, entry.key]
    if len(entry.parts) == 1 and entry.datum == DEFAULT_DATUM and len(entry.refs) == 1:
        return [name, entry.size, entry.refs[0].hash]
    return [name, entry.size, entry.hash, entry.parts]


def _entry(row: Row) -> Entry:
    if row[0][-1] == "/":
        return Dir(row[2], row[1])
    if len(row) == 3:
        ref = Ref(row[2], row[1])
        hashed = digest(bytes.fromhex(ref.hash) if ref.size else b"").hex()
        return File(row[1], hashed, ((DEFAULT_DATUM, (ref,)),))
    return File(row[1], row[2], tuple((datum, tuple(Ref(*ref) for ref in refs)) for datum, refs in row[3]))
