"""Changing a tree: a small overlay of what differs, turned into nodes at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from localpach.errors import Refused
from localpach.pfs.paths import LEVELS
from localpach.storage.objects import INLINE_BYTES, Batch, Objects
from localpach.storage.refs import Ref
from localpach.storage.trees import DEFAULT_DATUM, EMPTY, Dir, Entry, File, Trees


@dataclass
class _Overlay:
    """A directory being changed: what its base has, except for `changes`."""

    base: Dir
    changes: dict[str, _Overlay | File | None] = field(default_factory=dict)


class TreeEdit:
    """Puts and deletes files in order; `freeze` gives the new root."""

    def __init__(self, trees: Trees, objects: Objects, batch: Batch, root: Dir) -> None:
        self._trees = trees
        self._objects = objects
        self._batch = batch
        self._root = _Overlay(root)
        self._added: dict[str, None] = {}

    def add(self, path: str, datum: str, refs: list[Ref]) -> None:
        """Appends content to what `datum` has written to the file; makes it if need be.

        Raises:
            Refused: the path is that of the root, or goes too deep.
        """
        if path.count("/") > LEVELS:
            raise Refused(f"path ({path[:40]}…) invalid: it goes more than {LEVELS} directories deep")
        if path == "/":
            raise Refused("path (/) invalid: it names the directory of all files; put the file at a path below it")
        folder, name = self._folder_of(path)
        self._added[path] = None
        datum = datum or DEFAULT_DATUM
        old = self._get(folder, name)
        parts = dict(old.parts) if isinstance(old, File) else {}
        parts[datum] = self._join(parts.get(datum, ()), refs)
        folder.changes[name] = self._file(parts)

    def _join(self, old: tuple[Ref, ...], new: list[Ref]) -> tuple[Ref, ...]:
        """Small neighbours become one content, so that many appends make no long list."""
        joined = list(old)
        for ref in new:
            last = joined[-1] if joined else None
            if last is None or not ref.size or last.size + ref.size > INLINE_BYTES:
                if ref.size or not joined:
                    joined = [each for each in joined if each.size] + [ref]
                continue
            joined[-1] = self._batch.add(self._inline(last) + self._inline(ref))
        return tuple(joined)

    def _inline(self, ref: Ref) -> bytes:
        return self._batch.get(ref) or self._objects.read_inline(ref)

    def _file(self, parts: dict[str, tuple[Ref, ...]]) -> File:
        refs = [ref for _, each in sorted(parts.items()) for ref in each]
        return File(
            sum(ref.size for ref in refs), self._objects.hash_of(refs, self._batch), tuple(sorted(parts.items()))
        )

    def delete(self, path: str, datum: str) -> None:
        """Deletes what `datum` has written to a file, or to all files of a directory, whose path ends in `/`; a missing
        one is fine."""
        if not path.endswith("/"):
            self._delete_part(path, datum or DEFAULT_DATUM)
            return
        folder = self._trees.find_dir(self._freeze(self._root), path.rstrip("/") or "/")
        for each, _ in list(walk_dir(self._trees, folder, path)) if folder is not None else ():
            self._delete_part(each, datum or DEFAULT_DATUM)

    def _delete_part(self, path: str, datum: str) -> None:
        folder, name = self._folder_of(path)
        file = self._get(folder, name)
        if isinstance(file, File):
            parts = {tag: refs for tag, refs in file.parts if tag != datum}
            folder.changes[name] = self._file(parts) if parts else None

    def put(self, path: str, parts: dict[str, tuple[Ref, ...]]) -> None:
        """Makes `parts` all that is written to a file; without any there is no file."""
        folder, name = self._folder_of(path)
        folder.changes[name] = self._file(parts) if parts else None

    def copy(self, source: Dir, path: str, target: str, datum: str, append: bool) -> None:
        """Copies a file, or all files of a directory, of another tree; where there is none nothing changes."""
        for each, file in walk_files(self._trees, source, path):
            place = join(target, each[len(path.rstrip("/")) :])
            if not append:
                self.delete(place, datum)
            self.add(place, datum, file.refs)

    def _folder_of(self, path: str) -> tuple[_Overlay, str]:
        *folders, name = path[1:].split("/")
        here = self._root
        for folder in folders:
            here = self._overlay(here, folder + "/")
        return here, name

    def _overlay(self, here: _Overlay, name: str) -> _Overlay:
        found = self._get(here, name)
        if isinstance(found, _Overlay):
            return found
        made = _Overlay(found if isinstance(found, Dir) else EMPTY)
        here.changes[name] = made
        return made

    def _get(self, here: _Overlay, name: str) -> _Overlay | Entry | None:
        if name in here.changes:
            return here.changes[name]
        return self._trees.lookup(here.base, name)

    def files(self, path: str) -> Iterator[tuple[str, File]]:
        """All files at or below a path, with the changes made so far."""
        yield from walk_files(self._trees, self._freeze(self._root), path)

    def freeze(self) -> Dir:
        """Writes the nodes and gives the root."""
        self._batch.flush()
        return self._freeze(self._root)

    def _freeze(self, overlay: _Overlay) -> Dir:
        changes: dict[str, Entry | None] = {}
        for name, change in overlay.changes.items():
            if isinstance(change, _Overlay):
                frozen = self._freeze(change)
                changes[name] = frozen if frozen.key else None
            else:
                changes[name] = change
        return self._trees.update(overlay.base, changes)

    def conflicts(self, root: Dir, before: list[str]) -> list[str]:
        """The files of `root` that several datums wrote, and the first one below each path at which there is a file, too;
        `before` had been such."""
        suspects: dict[str, None] = {}
        for path in [*before, *self._added]:
            suspects[path] = None
            while (path := path.rpartition("/")[0]) and path not in suspects:
                suspects[path] = None
        found = []
        for path in sorted(suspects):
            parent, _, name = path.rpartition("/")
            folder = self._trees.find_dir(root, parent or "/")
            file = self._trees.lookup(folder, name) if folder is not None else None
            if folder is None or not isinstance(file, File):
                continue
            if len(file.parts) > 1:
                found.append(path)
            below = self._trees.lookup(folder, name + "/")
            if isinstance(below, Dir):
                found.append(next(iter(walk_dir(self._trees, below, path)))[0])
        return sorted(found)


def problem(trees: Trees, root: Dir, conflict: str) -> str:
    """What is wrong with a file that is among the conflicts of a tree."""
    file = trees.find(root, conflict)
    if isinstance(file, File) and len(file.parts) > 1:
        writers = " and ".join(f"{conflict} from {datum}" for datum, _ in file.parts[:2])
        return f"duplicate path output by different datums ({writers})"
    return f"file / directory path collision ({conflict})"


def join(folder: str, rest: str) -> str:
    """One clean path of two."""
    return "/" + "/".join(part for part in f"{folder}/{rest}".split("/") if part)


def walk_files(trees: Trees, root: Dir, path: str) -> Iterator[tuple[str, File]]:
    """Path and entry of the file at `path`, or of all files below it, in order."""
    entry = trees.find(root, path)
    if isinstance(entry, File):
        yield path, entry
    elif isinstance(entry, Dir):
        yield from walk_dir(trees, entry, path)


def walk_dir(trees: Trees, folder: Dir, path: str) -> Iterator[tuple[str, File]]:
    """Path and entry of all files of a directory that stands at `path`."""
    for name, child in trees.entries(folder):
        if isinstance(child, Dir):
            yield from walk_dir(trees, child, join(path, name))
        else:
            yield join(path, name), child
