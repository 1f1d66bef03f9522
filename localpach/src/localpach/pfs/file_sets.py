"""File sets: changes kept by an id of their own until they are added to a commit, or run out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from localpach.errors import NotFound
from localpach.names import Commit, Repo, new_id
from localpach.pfs.base import CommitRecord, now
from localpach.pfs.editing import walk_files
from localpach.pfs.files import Add, Change, Copy, Delete, Files
from localpach.storage.objects import Batch, Ref
from localpach.storage.trees import EMPTY

FILE_SETS_REPO = "__filesets__"
DEFAULT_TTL_SECONDS = 30 * 60


class FileSets(Files):
    """File sets, each a list of additions and deletions in order."""

    def create_file_set(self, changes: Iterable[Change], batch: Batch) -> str:
        """Keeps changes that no commit has yet; gives the id."""
        layers: list[list[Any]] = []
        for change in changes:
            if isinstance(change, Copy):
                edit = self._edit(EMPTY, [change], batch)
                layers += [] if change.append else [["delete", change.target, ""]]
                layers += [["add", path, tag, refs] for path, file in edit.files("/") for tag, refs in file.parts]
            elif isinstance(change, Add):
                layers.append(["add", *change])
            else:
                layers.append(["delete", *change])
        with self.store.write():
            batch.flush()
            return self._save_file_set(layers)

    def file_set_of(self, commit: Commit) -> str:
        """A file set of all that is in a commit."""
        files = walk_files(self.trees, self.commit_info(commit).root, "/")
        return self._save_file_set([["add", path, tag, refs] for path, file in files for tag, refs in file.parts])

    def compose_file_sets(self, ids: Iterable[str]) -> str:
        """One file set of several, later ones on top."""
        return self._save_file_set([layer for id in ids for layer in self._layers(id)])

    def _save_file_set(self, layers: list[list[Any]]) -> str:
        id = new_id()
        expires = now() + DEFAULT_TTL_SECONDS * 1_000_000
        with self.store.write() as connection:
            connection.execute("INSERT INTO file_sets VALUES (?, ?, ?)", (id, json.dumps(layers), expires))
        return id

    def renew_file_set(self, id: str, seconds: int) -> None:
        """Keeps a file set for `seconds` more."""
        self._layers(id)
        with self.store.write() as connection:
            connection.execute("UPDATE file_sets SET expires = ? WHERE id = ?", (now() + seconds * 1_000_000, id))

    def add_file_set(self, commit: Commit, id: str) -> None:
        """Makes the changes of a file set in an open commit."""
        self.apply(commit, self._changes(id), self.batch())

    def _changes(self, id: str) -> list[Change]:
        return [
            Add(layer[1], layer[2], tuple(Ref(*ref) for ref in layer[3])) if layer[0] == "add" else Delete(*layer[1:])
            for layer in self._layers(id)
        ]

    def _layers(self, id: str) -> list[list[Any]]:
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT layers FROM file_sets WHERE id = ? AND expires > ?", (id, now())
            ).fetchone()
        if row is None:
            raise NotFound(f"file set {id} not found: it was never made, or its time to live is over")
        return json.loads(row["layers"])

    def file_set_record(self, id: str) -> CommitRecord:
        """A file set as if it were a commit, for reading."""
        with self.store.write():
            root = self._edit(EMPTY, self._changes(id), self.batch()).freeze()
        commit = Commit(Repo("", FILE_SETS_REPO), id)
        return CommitRecord(0, commit, "", None, 1, "", 0, None, None, "", False, root)

    def put_cache(self, key: str, value: bytes, tag: str) -> None:
        """Keeps a value for clients that cache things here."""
        with self.store.write() as connection:
            connection.execute("INSERT OR REPLACE INTO cache VALUES (?, ?, ?)", (key, value, tag))

    def get_cache(self, key: str) -> bytes:
        with self.store.read() as connection:
            row = connection.execute("SELECT value FROM cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise NotFound(f"cache entry {key} not found")
        return row["value"]

    def clear_cache(self, tag_prefix: str) -> None:
        with self.store.write() as connection:
            connection.execute("DELETE FROM cache WHERE substr(tag, 1, length(?)) = ?", (tag_prefix, tag_prefix))
