"""Reading files of commits: listing, walking, globbing, comparing."""

from __future__ import annotations

import errno
import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from localpach.errors import Corrupt, NotFound, Refused
from localpach.names import Commit
from localpach.pfs import paths
from localpach.pfs.commits import Commits
from localpach.pfs.editing import join, walk_dir
from localpach.pfs.globs import compile_glob
from localpach.pfs.records import CommitRecord, Entry
from localpach.storage.objects import INLINE_BYTES, Objects
from localpach.storage.refs import Ref
from localpach.storage.trees import EMPTY, Dir, File, Trees
from localpach.storage.trees import Entry as TreeEntry

Pair = tuple[Entry | None, Entry | None]


class Given(Enum):
    """How files are laid out: as copies, as links to what is stored where there is one (only for who can't write there),
    or as empty files of their names."""

    COPIES = 1
    LINKS = 2
    NAMES = 3


class Files:
    """The contents of commits."""

    def __init__(self, objects: Objects, trees: Trees, commits: Commits) -> None:
        self._objects = objects
        self._trees = trees
        self._commits = commits

    def _find(self, record: CommitRecord, path: str) -> TreeEntry:
        found = self._trees.find(record.root, paths.clean(path))
        if found is None:
            raise self._missing(record, path)
        return found

    def _missing(self, record: CommitRecord, path: str) -> NotFound:
        return NotFound(f"file {path} not found in repo {record.commit.repo} at commit {record.commit.id}")

    def entry(self, record: CommitRecord, path: str, datum: str = "") -> Entry:
        """The file or directory at a path."""
        entries = list(self._entries(paths.clean(path), self._find(record, path), datum))
        if not entries:
            raise self._missing(record, path)
        return entries[-1]

    def _entries(self, path: str, found: TreeEntry, datum: str = "") -> Iterator[Entry]:
        """A directory, or a file once for each datum that wrote it; only what `datum` wrote, if one is named."""
        if isinstance(found, File):
            for writer, refs in found.parts:
                if datum in ("", writer):
                    yield self._part(path, found, writer, refs)
        elif not datum:
            yield Entry(path.rstrip("/") + "/", True, found.size, self._trees.hash(found), found.key)
        else:
            parts = [dict(file.parts).get(datum) for _, file in walk_dir(self._trees, found, path)]
            sizes = [sum(ref.size for ref in refs) for refs in parts if refs is not None]
            if sizes:
                yield Entry(path.rstrip("/") + "/", True, sum(sizes), self._trees.hash(found), found.key)

    def _part(self, path: str, file: File, datum: str, refs: tuple[Ref, ...]) -> Entry:
        if len(file.parts) == 1:
            return Entry(path, False, file.size, bytes.fromhex(file.hash), file.hash, datum)
        hashed = self._objects.hash_of(list(refs))
        return Entry(path, False, sum(ref.size for ref in refs), bytes.fromhex(hashed), hashed, datum)

    def children(
        self, record: CommitRecord, path: str, datum: str = "", after: str = "", reverse: bool = False
    ) -> Iterator[Entry]:
        """The children of a directory, or the file itself; nothing where there is nothing."""
        path = paths.clean(path)
        found = self._trees.find(record.root, path)
        if isinstance(found, File):
            yield from self._entries(path, found, datum)
        elif found is not None:
            last = after.rstrip("/").rpartition("/")[2] + ("/" if after.endswith("/") else "")
            for name, child in self._trees.entries(found, last, reverse):
                yield from self._entries(join(path, name), child, datum)

    def walk(self, record: CommitRecord, path: str, datum: str = "") -> Iterator[Entry]:
        """A file, or a directory with all that is below it."""
        path = paths.clean(path)
        found = self._trees.find(record.root, path)
        if found is None and path != "/":
            raise NotFound(f"commit/{record.commit.id} does not contain item: ({path})")
        yield from self._walk(path, found or EMPTY, datum)

    def _walk(self, path: str, found: TreeEntry, datum: str = "") -> Iterator[Entry]:
        yield from self._entries(path, found, datum)
        if isinstance(found, Dir):
            for name, child in self._trees.entries(found):
                yield from self._walk(join(path, name), child, datum)

    def glob(self, record: CommitRecord, pattern: str, datum: str = "") -> Iterator[Entry]:
        """What matches a pattern, in path order; the root by `/`."""
        glob = compile_glob(pattern)
        if glob.literal is not None:
            found = self._trees.find(record.root, glob.literal)
            if found is not None:
                yield from self._entries(glob.literal, found, datum)
            return
        start = self._trees.find_dir(record.root, glob.prefix)
        if start is not None:
            for path, found in self._below(start, glob.prefix, glob.depth):
                if glob.matches(path):
                    yield from self._entries(path, found, datum)

    def _below(self, folder: Dir, path: str, depth: int | None) -> Iterator[tuple[str, TreeEntry]]:
        for name, child in self._trees.entries(folder):
            here = join(path, name)
            yield here, child
            if isinstance(child, Dir) and (depth is None or here.count("/") < depth):
                yield from self._below(child, here, depth)

    def read(self, record: CommitRecord, entry: Entry, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a file from `offset` on."""
        found = self._find(record, entry.path)
        if entry.is_dir or isinstance(found, Dir):
            raise Refused("cannot get directory or non-regular file. Use GetFileTAR instead")
        return self._read_file(record.commit, entry.path, dict(found.parts)[entry.datum], offset)

    def _read_file(self, commit: Commit, path: str, refs: Sequence[Ref], offset: int) -> Iterator[bytes]:
        with _of_file(commit, path):
            # All before the first byte is given: python_pachyderm takes an error after that for the end of the file.
            for ref in refs if len(refs) > 1 else ():
                self._objects.check(ref)
            yield from self._read_refs(refs, offset)

    def _read_refs(self, refs: Iterable[Ref], offset: int) -> Iterator[bytes]:
        for ref in refs:
            if offset < ref.size:
                yield from self._objects.read(ref, offset)
            offset = max(offset - ref.size, 0)

    def export(self, commit: Commit, path: str, target: Path, given: Given) -> int:
        """Lays a file or directory out at `target`; gives the bytes of it that are there."""
        found = self._find(self._commits.get(commit), path)
        left = [(found, target, paths.clean(path))]
        while left:
            entry, place, here = left.pop()
            with _of_file(commit, here):
                (place if isinstance(entry, Dir) else place.parent).mkdir(parents=True, exist_ok=True)
                if isinstance(entry, Dir):
                    left += [(child, place / name, join(here, name)) for name, child in self._trees.entries(entry)]
                else:
                    self._export_file(entry, place, given)
        return 0 if given is Given.NAMES else found.size

    def _export_file(self, file: File, place: Path, given: Given) -> None:
        refs = [ref for ref in file.refs if ref.size]
        if given is Given.NAMES:
            refs = []
        elif given is Given.LINKS and len(refs) == 1 and refs[0].size > INLINE_BYTES:
            self._objects.big.link(refs[0], place)
            return
        with place.open("wb") as stream:
            for chunk in self._read_refs(refs, 0):
                stream.write(chunk)

    def diff(self, new: tuple[CommitRecord, str], old: tuple[CommitRecord, str] | None) -> Iterator[Pair]:
        """What differs between two paths, as (new, old) pairs in path order; without `old` the commit's parent is it."""
        record, path = new[0], paths.clean(new[1])
        if old is None:
            parent = self._commits.parent(record)
            before, old_path = self._commits.readable(parent).root if parent else EMPTY, path
        else:
            before, old_path = old[0].root, paths.clean(old[1])
        here = _unless_empty(self._trees.find(record.root, path))
        there = _unless_empty(self._trees.find(before, old_path))
        if path == old_path:
            yield from self._diff(here, there, path)
        else:
            yield from self._diff_elsewhere((path, here), (old_path, there))

    def _diff(self, new: TreeEntry | None, old: TreeEntry | None, path: str) -> Iterator[Pair]:
        if new == old:
            return
        sides = (list(self._entries(path, side)) if side is not None else [] for side in (new, old))
        for here, there in itertools.zip_longest(*sides):
            if _differ((here, there)):
                yield here, there
        children = dict(self._trees.entries(new)) if isinstance(new, Dir) else {}
        others = dict(self._trees.entries(old)) if isinstance(old, Dir) else {}
        for name in sorted(children.keys() | others.keys()):
            pair = children.get(name), others.get(name)
            yield from self._diff(*pair, join(path, name))

    def _diff_elsewhere(self, *sides: tuple[str, TreeEntry | None]) -> Iterator[Pair]:
        """What has not the same path stands alone, whatever it holds."""
        new, old = (
            [(each.path, side, each) for each in (self._walk(path, found) if found else ())]
            for side, (path, found) in enumerate(sides)
        )
        for _, group in itertools.groupby(heapq.merge(new, old), key=lambda entry: entry[0]):
            pair: list[Entry | None] = [None, None]
            for _, side, entry in group:
                pair[side] = entry
            if _differ((pair[0], pair[1])):
                yield pair[0], pair[1]

    def history(self, record: CommitRecord, path: str) -> Iterator[tuple[CommitRecord, bool]]:
        """A commit and its ancestors, each with whether what stands at `path` changed in it."""
        path = paths.clean(path)
        found = self._trees.find(self._commits.readable(record).root, path)
        for before in self._commits.ancestors(record):
            earlier = self._trees.find(self._commits.readable(before).root, path)
            yield record, found != earlier
            record, found = before, earlier
        yield record, found is not None


@contextmanager
def _of_file(commit: Commit, path: str) -> Iterator[None]:
    """Names the file in what is said of a content that can't be read."""
    try:
        yield
    except Corrupt as error:
        raise Corrupt(f"file {path} of {commit} can't be read: {error.message}") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise Refused(f"a command can't be given {path} of {commit}: Linux takes no name as long; rename it") from error


def _differ(pair: Pair) -> bool:
    new, old = pair
    return new is None or old is None or new.hash != old.hash


def _unless_empty(entry: TreeEntry | None) -> TreeEntry | None:
    """An empty directory is nothing."""
    return None if isinstance(entry, Dir) and not entry.key else entry
