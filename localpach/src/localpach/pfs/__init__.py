"""PFS: versioned files. `Pfs` takes and gives names; its parts build on one another, file by file:
base, repos, branches, commits, commit_sets, deletion, files, file_sets.
"""

from __future__ import annotations

import threading

from localpach.names import Branch, Commit, Repo
from localpach.pfs.base import CommitRecord
from localpach.pfs.commits import Page
from localpach.pfs.file_sets import FileSets
from localpach.pfs.files import Add, Change, Copy, Delete, Entry
from localpach.storage.store import Store

__all__ = ["Add", "Branch", "Change", "Commit", "CommitRecord", "Copy", "Delete", "Entry", "Page", "Pfs", "Repo"]


class Pfs(FileSets):
    """The whole of PFS over one store, with the thread that finishes commits."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._wanted = threading.Event()
        self._closing = False
        self._finisher = threading.Thread(target=self._finish_commits, name="commit finisher", daemon=True)

    def start(self) -> None:
        """Finishes what was finishing when the server ended, and what comes; all hooks must be set by now."""
        self._finisher.start()
        self._wanted.set()

    def finish_commit(self, commit: Commit, error: str = "", description: str = "") -> None:
        with self.store.write():
            super().finish_commit(commit, error, description)
            self.store.after_commit(self._wanted.set)

    def _finish_commits(self) -> None:
        while not self._closing:
            self._wanted.wait()
            self._wanted.clear()
            while not self._closing and self.finish_ready():
                pass

    def close(self) -> None:
        """Stops the thread."""
        self._closing = True
        self._wanted.set()
        self._finisher.join()
