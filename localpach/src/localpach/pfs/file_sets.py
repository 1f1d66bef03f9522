"""File sets: changes kept by an id of their own until they are added to a commit, or run out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from localpach.clock import now
from localpach.errors import NotFound, Refused
from localpach.names import Commit, Repo, new_id
from localpach.pfs.commits import Commits
from localpach.pfs.editing import walk_files
from localpach.pfs.records import CommitRecord
from localpach.pfs.writes import Add, Change, Copy, Delete, Writes
from localpach.proto import pfs_pb2
from localpach.storage.objects import Batch
from localpach.storage.refs import Ref
from localpach.storage.store import Store
from localpach.storage.trees import EMPTY, Trees

FILE_SETS_REPO = "__filesets__"
DEFAULT_TTL_SECONDS = 30 * 60
MAX_TTL_SECONDS = 366 * 24 * 3600
ID_LENGTH = 32


class FileSets:
    """File sets, each a list of additions and deletions in order."""

    def __init__(self, store: Store, trees: Trees, commits: Commits, writes: Writes) -> None:
        self._store = store
        self._trees = trees
        self._commits = commits
        self._writes = writes

    def create(self, changes: Iterable[Change], batch: Batch) -> str:
        """Keeps changes that no commit has yet; gives the id."""
        layers: list[list[Any]] = []
        for change in changes:
            if isinstance(change, Copy):
                edit = self._writes.edit(EMPTY, [change], batch)
                for path, file in edit.files("/"):
                    for tag, refs in file.parts:
                        layers += [] if change.append else [["delete", path, tag]]
                        layers.append(["add", path, tag, refs])
            elif isinstance(change, Add):
                layers.append(["add", *change])
            else:
                layers.append(["delete", *change])
        with self._store.write():
            batch.flush()
            return self._save(layers)

    def of_commit(self, commit: Commit) -> str:
        """A file set of all that is in a commit."""
        files = walk_files(self._trees, self._commits.readable(self._commits.get(commit)).root, "/")
        return self._save([["add", path, tag, refs] for path, file in files for tag, refs in file.parts])

    def compose(self, ids: Iterable[str]) -> str:
        """One file set of several, later ones on top."""
        return self._save([layer for id in ids for layer in self._layers(id)])

    def _save(self, layers: list[list[Any]]) -> str:
        id = new_id()
        expires = now() + DEFAULT_TTL_SECONDS * 1_000_000
        with self._store.write() as connection:
            connection.execute("INSERT INTO file_sets VALUES (?, ?, ?)", (id, json.dumps(layers), expires))
        return id

    def renew(self, id: str, seconds: int) -> None:
        """Keeps a file set for `seconds` more, at most a year."""
        if not 0 <= seconds <= MAX_TTL_SECONDS:
            raise Refused(f"ttl_seconds: {seconds} is less than nothing or more than {MAX_TTL_SECONDS}, a year")
        self._layers(id)
        with self._store.write() as connection:
            connection.execute("UPDATE file_sets SET expires = ? WHERE id = ?", (now() + seconds * 1_000_000, id))

    def add_to(self, commit: Commit, id: str) -> None:
        """Makes the changes of a file set in an open commit."""
        self._writes.apply(commit, self.changes(id), self._writes.batch())

    def changes(self, id: str) -> list[Change]:
        """What is in a file set."""
        return [
            Add(layer[1], layer[2], tuple(Ref(*ref) for ref in layer[3])) if layer[0] == "add" else Delete(*layer[1:])
            for layer in self._layers(id)
        ]

    def check_id(self, id: str) -> None:
        """Raises Refused where `id` can't be the id of a file set."""
        length = len(id.replace("-", ""))
        if length != ID_LENGTH:
            raise Refused(f"parsing fileset.ID: too {'short' if length < ID_LENGTH else 'long'} to be ID len={length}")

    def _layers(self, id: str) -> list[list[Any]]:
        self.check_id(id)
        with self._store.read() as connection:
            row = connection.execute(
                "SELECT layers FROM file_sets WHERE id = ? AND expires > ?", (id, now())
            ).fetchone()
        if row is None:
            raise NotFound(f"file set {id} not found: it was never made, or its time to live is over")
        layers: list[list[Any]] = json.loads(row["layers"])
        return layers

    def remove_expired(self) -> None:
        """Forgets the file sets whose time is over."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM file_sets WHERE expires < ?", (now(),))

    def contents(self) -> set[str]:
        """The hashes of all that file sets hold."""
        with self._store.read() as connection:
            ids = [row["id"] for row in connection.execute("SELECT id FROM file_sets WHERE expires > ?", (now(),))]
            changes = [change for id in ids for change in self.changes(id)]
        return {ref.hash for change in changes if isinstance(change, Add) for ref in change.refs}

    def as_commit(self, id: str) -> CommitRecord:
        """A file set as if it were a commit, for reading."""
        with self._store.write():
            root = self._writes.edit(EMPTY, self.changes(id), self._writes.batch()).freeze()
        commit = Commit(Repo("", FILE_SETS_REPO), id)
        return CommitRecord(
            num=0,
            commit=commit,
            branch="",
            parent=None,
            origin=pfs_pb2.USER,
            description="",
            started=0,
            finishing=None,
            finished=None,
            error="",
            refused=False,
            root=root,
        )
