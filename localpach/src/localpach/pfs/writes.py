"""Changing files in open commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from localpach.errors import Refused
from localpach.names import Branch, Commit
from localpach.pfs import paths
from localpach.pfs.commits import Commits
from localpach.pfs.editing import TreeEdit, problem, walk_files
from localpach.pfs.outputs import Outputs, Places
from localpach.storage.objects import Batch, Objects
from localpach.storage.refs import Ref
from localpach.storage.store import Store
from localpach.storage.trees import Dir, File, Trees


class Add(NamedTuple):
    """Append content to a file."""

    path: str
    datum: str
    refs: tuple[Ref, ...]


class Delete(NamedTuple):
    """Delete a datum's part of a file or, where the path ends in `/`, of all files of a directory."""

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


class Collected(NamedTuple):
    """What a command has written, on its way into a commit."""

    changes: list[Add]
    batch: Batch

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(ref.size for change in self.changes for ref in change.refs)


class Writes:
    """Makes changes to open commits, all of a list or none of them."""

    def __init__(self, store: Store, objects: Objects, trees: Trees, commits: Commits) -> None:
        self._store = store
        self._objects = objects
        self._trees = trees
        self._commits = commits

    def batch(self) -> Batch:
        """Where small contents wait for the change that names them."""
        return Batch(self._store)

    def apply(self, commit: Commit, changes: Iterable[Change], batch: Batch, may_conflict: bool = True) -> None:
        """Makes the changes to an open commit.

        Raises:
            Refused: they conflict with what is there, and may not: a commit with conflicts ends in an error.
        """
        with self._store.write():
            record = self._commits.open_commit(commit)
            edit = self.edit(self._commits.written(record), changes, batch)
            root = edit.freeze()
            before = self._commits.conflicts(record)
            conflicts = edit.conflicts(root, before)
            if not may_conflict and (new := sorted(set(conflicts) - set(before))):
                raise Refused(f"{problem(self._trees, root, new[0])}; nothing was changed")
            self._commits.set_root(record, root, conflicts)

    def edit(self, root: Dir, changes: Iterable[Change], batch: Batch) -> TreeEdit:
        """A tree with the changes made to it."""
        edit = TreeEdit(self._trees, self._objects, batch, root)
        for change in changes:
            if isinstance(change, Add):
                edit.add(change.path, change.datum, list(change.refs))
            elif isinstance(change, Delete):
                edit.delete(change.path, change.datum)
            else:
                edit.copy(change.source, change.path, change.target, change.datum, change.append)
        return edit

    def apply_to_branch(
        self, branch: Branch, changes: Iterable[Change], batch: Batch, may_conflict: bool = True
    ) -> Commit:
        """Makes the changes in the branch's open head, or in a commit made for them and finished at once; gives that."""
        with self._store.write():
            head = self._commits.head(branch)
            if head is not None and head.finishing is None:
                self.apply(head.commit, changes, batch, may_conflict)
                return head.commit
            commit = self._commits.start(branch)
            self.apply(commit, changes, batch, may_conflict)
            self._commits.finish_at_once(commit)
            return commit

    def put(self, commit: Commit, path: str, data: bytes, datum: str) -> None:
        """Appends bytes to a file of an open commit."""
        batch = self.batch()
        writer = self._objects.writer(batch)
        writer.write(data)
        self.apply(commit, [Add(paths.check(path), datum, (writer.close(),))], batch)

    def collect(self, places: Places, datum: str, named: Mapping[str, Dir]) -> Collected:
        """Stores what a command left in `/pfs/out`, as written by `datum`. `places` is where what the command saw lies;
        `named` has, by where it saw them, the trees of which it was given only names: links to those bring what is there.

        Raises:
            Refused: something there can't be uploaded.
        """
        batch = self.batch()
        changes = []
        for output in Outputs(places):
            refs = self._named(named, output.seen)
            if refs is None:
                store = self._objects.share if output.is_linked else self._objects.take
                try:
                    refs = (store(output.file, batch),)
                except OSError as error:
                    raise Refused(f"{output.path} in /pfs/out can't be stored: {error.strerror}") from error
            changes.append(Add(output.path, datum, refs))
        return Collected(changes, batch)

    def collect_commit(self, commit: Commit, datum: str) -> Collected:
        """All that is in a commit, as written by `datum`."""
        files = walk_files(self._trees, self._commits.get(commit).root, "/")
        return Collected([Add(path, datum, tuple(file.refs)) for path, file in files], self.batch())

    def _named(self, named: Mapping[str, Dir], path: str) -> tuple[Ref, ...] | None:
        for place, root in named.items():
            if path.startswith(f"{place}/"):
                found = self._trees.find(root, path.removeprefix(place))
                return tuple(found.refs) if isinstance(found, File) else None
        return None

    def carry(self, source: Commit, target: Commit, without: set[str]) -> None:
        """Gives an open, empty commit what another one holds, but for what some datums wrote there.

        Where there are none of these, both share one tree, however big it is.
        """
        root = self._commits.get(source).root
        edit = TreeEdit(self._trees, self._objects, self.batch(), root)
        for path, file in walk_files(self._trees, root, "/") if without else ():
            if not without.isdisjoint(datum for datum, _ in file.parts):
                edit.put(path, {datum: refs for datum, refs in file.parts if datum not in without})
        with self._store.write():
            self._commits.set_root(self._commits.get(target), edit.freeze())

    def keep_base(self, commit: Commit) -> None:
        """Gives the open output of a job that failed what its base holds, beside what its own datums wrote."""
        record = self._commits.get(commit)
        if not record.is_written:
            return
        try:
            base = self._commits.readable(record).root
        except Refused:
            # The base is open, and may stay so: a job can be ended all the same.
            return
        edit = TreeEdit(self._trees, self._objects, self.batch(), base)
        for path, file in walk_files(self._trees, record.root, "/"):
            old = self._trees.find(base, path)
            known = dict(old.parts) if isinstance(old, File) else {}
            edit.put(path, dict(file.parts) | known)
        with self._store.write():
            self._commits.set_root(record, edit.freeze())
