"""The end of commits: what is finishing becomes finished, in the order of the parents, and fires the triggers on its branch."""

from __future__ import annotations

from localpach.pfs.commits import Commits
from localpach.pfs.editing import problem
from localpach.pfs.firing import Firing
from localpach.pfs.records import CommitRecord
from localpach.storage.store import Store
from localpach.storage.trees import Trees
from localpach.waiting import Bulletin, Loop, Topic


class Finisher:
    """Finishes commits, in a thread of its own."""

    def __init__(self, store: Store, bulletin: Bulletin, trees: Trees, commits: Commits, firing: Firing) -> None:
        self._store = store
        self._trees = trees
        self._commits = commits
        self._firing = firing
        self._loop = Loop(bulletin, Topic.FINISHING, self._step, "commit finisher")

    def start(self) -> None:
        """Finishes what was finishing when the server ended, and what comes; fires the triggers that are due."""
        self._loop.start()

    def close(self) -> None:
        """Ends the thread."""
        self._loop.close()

    def _step(self) -> float | None:
        while not self._loop.is_closing:
            with self._store.write():
                records = self._commits.finishing()
                for record in records:
                    self._firing.fire(self._commits.set_finished(record, self._problem(record)))
            if not records:
                break
        return self._firing.fire_due()

    def _problem(self, record: CommitRecord) -> str:
        conflicts = self._commits.conflicts(record)
        return problem(self._trees, record.root, conflicts[0]) if conflicts else ""
