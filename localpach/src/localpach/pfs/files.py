"""Files in commits: writing, reading, listing, globbing, comparing."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from localpach.errors import NotFound, Refused
from localpach.names import Branch, Commit
from localpach.pfs import paths
from localpach.pfs.base import CommitRecord, now
from localpach.pfs.deletion import Deletion
from localpach.pfs.editing import TreeEdit, join, walk_files
from localpach.pfs.globs import compile_glob
from localpach.storage.objects import Batch, Ref
from localpach.storage.trees import DEFAULT_DATUM, EMPTY, Dir, File
from localpach.storage.trees import Entry as TreeEntry


class Entry(NamedTuple):
    """A file or directory of a commit. A directory's path ends in `/`; `datum` is the first that wrote to a file; `key`
    changes with any name or byte, which Pachyderm's `hash` of a directory does not."""

    path: str
    is_dir: bool
    size: int
    hash: bytes
    key: str
    datum: str = ""


class Add(NamedTuple):
    """Append content to a file."""

    path: str
    datum: str
    refs: tuple[Ref, ...]


class Delete(NamedTuple):
    """Delete a file or directory, or one datum's part of it."""

    path: str
    datum: str


class Copy(NamedTuple):
    """Copy from another tree."""

    source: Dir
    path: str
    target: str
    datum: str
    append: bool


Change = Add | Delete | Copy


class Files(Deletion):
    """The contents of commits."""

    def batch(self) -> Batch:
        """Where small contents wait for the change that names them."""
        return Batch(self.store)

    def apply(self, commit: Commit, changes: Iterable[Change], batch: Batch) -> None:
        """Makes all the changes to an open commit, or none of them."""
        with self.store.write() as connection:
            record = self.commit_info(commit)
            if record.finishing is not None:
                raise Refused(f"commit {commit} has already finished")
            row = connection.execute("SELECT collisions FROM commits WHERE num = ?", (record.num,)).fetchone()
            edit = self._edit(record.root, changes, batch)
            root = edit.freeze()
            collisions = edit.collisions(root, json.loads(row["collisions"]))
            connection.execute(
                "UPDATE commits SET tree = ?, size = ?, collisions = ? WHERE num = ?",
                (root.key, root.size, json.dumps(collisions), record.num),
            )

    def _edit(self, root: Dir, changes: Iterable[Change], batch: Batch) -> TreeEdit:
        edit = TreeEdit(self.trees, self.objects, batch, root)
        for change in changes:
            if isinstance(change, Add):
                edit.add(change.path, change.datum, list(change.refs))
            elif isinstance(change, Delete):
                edit.delete(change.path, change.datum)
            else:
                edit.copy(change.source, change.path, change.target, change.datum, change.append)
        return edit

    def apply_to_branch(self, branch: Branch, changes: Iterable[Change], batch: Batch) -> None:
        """Makes the changes in the branch's open head, or in a commit made for them and finished at once."""
        with self.store.write() as connection:
            row = self._find_branch(branch)
            if row is not None and row["head"] and self._record(row["head"]).finishing is None:
                self.apply(self._record(row["head"]).commit, changes, batch)
                return
            commit = self.start_commit(branch)
            self.apply(commit, changes, batch)
            self.finish_commit(commit)
            moment = now()
            connection.execute(
                "UPDATE commits SET started = ?, finishing = ? WHERE num = ?",
                (moment, moment, self.commit_info(commit).num),
            )

    def put(self, commit: Commit, path: str, data: bytes | Path, datum: str = DEFAULT_DATUM) -> None:
        """Appends bytes, or the bytes of a file, to a file of an open commit."""
        batch = self.batch()
        writer = self.objects.writer(batch)
        if isinstance(data, Path):
            with data.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    writer.write(chunk)
        else:
            writer.write(data)
        self.apply(commit, [Add(paths.check(path), datum, (writer.close(),))], batch)

    def add_tree(self, commit: Commit, directory: Path, datum: str) -> int:
        """Moves the files below `directory` into an open commit as written by `datum`; gives their bytes.

        Raises:
            Refused: a link that leads out of `directory`, or something that is neither file, directory nor link.
        """
        batch = self.batch()
        changes = [
            Add(paths.check(path), datum, (self._store_output(file, directory, batch),))
            for path, file in sorted(_outputs(directory, directory, "/"))
        ]
        self.apply(commit, changes, batch)
        return sum(ref.size for change in changes for ref in change.refs)

    def _store_output(self, file: Path, directory: Path, batch: Batch) -> Ref:
        if not file.is_symlink():
            return self.objects.take(file, batch)
        target = file.resolve()
        if not target.is_relative_to(directory.resolve()) or not target.is_file():
            raise Refused(f"{file.name} in /pfs/out is a link to {file.readlink()}: only links to output files work")
        writer = self.objects.writer(batch)
        with target.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                writer.write(chunk)
        return writer.close()

    def carry(self, source: Commit, target: Commit, without: set[str]) -> None:
        """Gives an open, empty commit what another one holds, but for what some datums wrote there.

        Where there are none of these, both share one tree, however big it is.
        """
        root = self.commit_info(source).root
        edit = TreeEdit(self.trees, self.objects, self.batch(), root)
        for path, file in walk_files(self.trees, root, "/") if without else ():
            if not without.isdisjoint(datum for datum, _ in file.parts):
                edit.delete(path)
                for datum, refs in file.parts:
                    if datum not in without:
                        edit.add(path, datum, list(refs))
        with self.store.write() as connection:
            row = (*edit.freeze(), self.commit_info(target).num)
            connection.execute("UPDATE commits SET tree = ?, size = ? WHERE num = ?", row)

    def entry(self, record: CommitRecord, path: str) -> Entry:
        """The file or directory at a path."""
        path = paths.clean(path)
        found = self.trees.find(record.root, path)
        if found is None:
            raise NotFound(f"file {path} not found in repo {record.commit.repo} at commit {record.commit.id}")
        return self._entry(path, found)

    def _entry(self, path: str, found: TreeEntry) -> Entry:
        if isinstance(found, Dir):
            return Entry(path.rstrip("/") + "/", True, found.size, self.trees.hash(found), found.key)
        return Entry(path, False, found.size, bytes.fromhex(found.hash), found.hash, found.datum)

    def children(self, record: CommitRecord, path: str, after: str = "", reverse: bool = False) -> Iterator[Entry]:
        """The children of a directory, or the file itself; nothing where there is nothing."""
        path = paths.clean(path)
        found = self.trees.find(record.root, path)
        if isinstance(found, File):
            yield self._entry(path, found)
        elif found is not None:
            last = after.rstrip("/").rpartition("/")[2] + ("/" if after.endswith("/") else "")
            for name, child in self.trees.entries(found, last, reverse):
                yield self._entry(join(path, name), child)

    def walk(self, record: CommitRecord, path: str) -> Iterator[Entry]:
        """A file, or a directory with all that is below it."""
        path = paths.clean(path)
        found = self.trees.find(record.root, path)
        if found is None and path != "/":
            raise NotFound(f"commit/{record.commit.id} does not contain item: ({path})")
        yield from self._walk(path, found or EMPTY)

    def _walk(self, path: str, found: TreeEntry) -> Iterator[Entry]:
        yield self._entry(path, found)
        if isinstance(found, Dir):
            for name, child in self.trees.entries(found):
                yield from self._walk(join(path, name), child)

    def glob(self, commit: Commit, pattern: str) -> Iterator[Entry]:
        """What matches a pattern, in path order."""
        return self.glob_tree(self.commit_info(commit).root, pattern)

    def glob_tree(self, root: Dir, pattern: str) -> Iterator[Entry]:
        """What matches a pattern in a tree, in path order; the root by `/`."""
        glob = compile_glob(pattern)
        if glob.is_literal:
            path = paths.clean(pattern)
            found = root if path == "/" else self.trees.find(root, path)
            if found is not None:
                yield self._entry(path, found)
            return
        start = self.trees.find_dir(root, glob.prefix)
        if start is not None:
            for path, found in self._below(start, glob.prefix, glob.depth):
                if glob.matches(path):
                    yield self._entry(path, found)

    def _below(self, folder: Dir, path: str, depth: int | None) -> Iterator[tuple[str, TreeEntry]]:
        for name, child in self.trees.entries(folder):
            here = join(path, name)
            yield here, child
            if isinstance(child, Dir) and (depth is None or here.count("/") < depth):
                yield from self._below(child, here, depth)

    def glob_captures(self, pattern: str, path: str) -> list[str] | None:
        """What the capture groups of a pattern hold for a path; None where it does not match."""
        return compile_glob(pattern).captures(path.rstrip("/") or "/")

    def read(self, commit: Commit, path: str) -> Iterator[bytes]:
        """The bytes of a file."""
        return self.read_at(self.commit_info(commit), path, 0)

    def read_at(self, record: CommitRecord, path: str, offset: int) -> Iterator[bytes]:
        """The bytes of a file from `offset` on."""
        path = paths.clean(path)
        found = self.trees.find(record.root, path)
        if found is None:
            raise NotFound(f"file {path} not found in repo {record.commit.repo} at commit {record.commit.id}")
        if isinstance(found, Dir):
            raise Refused("cannot get directory or non-regular file. Use GetFileTAR instead")
        return self._read_refs(found.refs, offset)

    def _read_refs(self, refs: Iterable[Ref], offset: int) -> Iterator[bytes]:
        for ref in refs:
            if offset < ref.size:
                yield from self.objects.read(ref, offset)
            offset = max(offset - ref.size, 0)

    def export(self, commit: Commit, path: str, dest: Path, link: bool) -> int:
        """Lays a file or directory out at `dest`; gives its bytes. With `link` big contents are hard links, which only
        those may see who can't write there."""
        found = self.trees.find(self.commit_info(commit).root, paths.clean(path))
        if found is None:
            raise NotFound(f"file {path} not found in repo {commit.repo} at commit {commit.id}")
        self._export(found, dest, link)
        return found.size

    def _export(self, found: TreeEntry, dest: Path, link: bool) -> None:
        if isinstance(found, Dir):
            dest.mkdir(parents=True, exist_ok=True)
            for name, child in self.trees.entries(found):
                self._export(child, dest / name, link)
            return
        dest.parent.mkdir(parents=True, exist_ok=True)
        refs = [ref for ref in found.refs if ref.size]
        if link and len(refs) == 1 and self.objects.path(refs[0]).exists():
            os.link(self.objects.path(refs[0]), dest)
            return
        with dest.open("wb") as stream:
            for chunk in self._read_refs(refs, 0):
                stream.write(chunk)
        dest.chmod(0o444)

    def diff(
        self, new: tuple[CommitRecord, str], old: tuple[CommitRecord, str] | None
    ) -> Iterator[tuple[Entry | None, Entry | None]]:
        """What differs between two paths, as (new, old) pairs in path order; without `old` the commit's parent is it."""
        record, path = new[0], paths.clean(new[1])
        if old is None:
            before = self._record(record.parent).root if record.parent else EMPTY
            old_path = path
        else:
            before, old_path = old[0].root, paths.clean(old[1])
        here = _some(self.trees.find(record.root, path))
        there = _some(self.trees.find(before, old_path))
        if path == old_path:
            yield from self._diff(here, there, path)
            return
        # What has not the same path stands alone, whatever it holds.
        entries = heapq.merge(
            ((each.path, 0, each) for each in (self._walk(path, here) if here else ())),
            ((each.path, 1, each) for each in (self._walk(old_path, there) if there else ())),
        )
        for _, group in itertools.groupby(entries, key=lambda entry: entry[0]):
            pair: list[Entry | None] = [None, None]
            for _, side, entry in group:
                pair[side] = entry
            if pair[0] != pair[1]:
                yield pair[0], pair[1]

    def _diff(
        self, new: TreeEntry | None, old: TreeEntry | None, path: str
    ) -> Iterator[tuple[Entry | None, Entry | None]]:
        if new == old:
            return
        yield self._entry(path, new) if new else None, self._entry(path, old) if old else None
        children = dict(self.trees.entries(new)) if isinstance(new, Dir) else {}
        others = dict(self.trees.entries(old)) if isinstance(old, Dir) else {}
        for name in sorted(children.keys() | others.keys()):
            pair = children.get(name), others.get(name)
            yield from self._diff(*pair, join(path, name))

    def history(self, record: CommitRecord, path: str) -> Iterator[tuple[CommitRecord, bool]]:
        """A commit and its ancestors, each with whether what stands at `path` changed in it."""
        path = paths.clean(path)
        found = self.trees.find(record.root, path)
        for before in self._ancestors(record):
            earlier = self.trees.find(before.root, path)
            yield record, found != earlier
            record, found = before, earlier
        yield record, found is not None


def _some(entry: TreeEntry | None) -> TreeEntry | None:
    """An empty directory is nothing."""
    return None if isinstance(entry, Dir) and not entry.key else entry


def _outputs(directory: Path, root: Path, path: str) -> Iterator[tuple[str, Path]]:
    for item in os.scandir(directory):
        here = join(path, item.name)
        file = Path(item.path)
        mode = item.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from _outputs(file, root, here)
        elif stat.S_ISREG(mode):
            yield here, file
        elif stat.S_ISLNK(mode):
            target = file.resolve()
            if target.is_dir() and target.is_relative_to(root.resolve()) and not file.is_relative_to(target):
                yield from _outputs(target, root, here)
            else:
                yield here, file
        else:
            raise Refused(f"{here} in /pfs/out is neither a file nor a directory: write regular files there")
