"""The end of commits: what is finishing becomes finished, in the order of the parents, and fires the triggers on its branch."""

from __future__ import annotations

import logging

from localpach.errors import Corrupt, LocalpachError
from localpach.pfs.commits import Commits
from localpach.pfs.editing import problem
from localpach.pfs.firing import Firing
from localpach.pfs.records import CommitRecord
from localpach.storage.store import Store
from localpach.storage.trees import Trees
from localpach.waiting import Bulletin, Loop, Topic

log = logging.getLogger("localpach")


class Finisher:
    """Finishes commits, in a thread of its own."""

    def __init__(self, store: Store, bulletin: Bulletin, trees: Trees, commits: Commits, firing: Firing) -> None:
        self._store = store
        self._trees = trees
        self._commits = commits
        self._firing = firing
        self.loop = Loop(bulletin, Topic.FINISHING, self._step, "commit finisher")

    def start(self) -> None:
        """Finishes what was finishing when the server ended, and what comes; fires the triggers that are due."""
        self.loop.start()

    def close(self) -> None:
        """Ends the thread."""
        self.loop.close()

    def _step(self) -> float | None:
        failed: set[int] = set()
        while not self.loop.is_closing and self._finish_some(failed):
            pass
        seconds: list[float] = []
        for branch in self._firing.waiting():
            with self.loop.alone(f"the trigger of branch {branch.branch}"):
                left = self._firing.fire_if_due(branch)
                seconds += [] if left is None else [left]
        return min(seconds, default=None)

    def _finish_some(self, failed: set[int]) -> bool:
        """Finishes the commits whose parents are finished, but those that have failed in this step: all in one write if nothing
        is wrong. Says whether there were any."""
        try:
            with self._store.write():
                records = self._finishing(failed)
                for record in records:
                    self._firing.fire(self._commits.set_finished(record, self._problem(record)))
                return bool(records)
        except Exception:
            log.debug("commits are finished one by one", exc_info=True)
        records = self._finishing(failed)
        for record in records:
            failed.add(record.num)
            with self.loop.alone(f"commit {record.commit}"):
                self._finish(record)
                failed.remove(record.num)
        return bool(records)

    def _finishing(self, failed: set[int]) -> list[CommitRecord]:
        return [record for record in self._commits.finishing() if record.num not in failed]

    def _finish(self, record: CommitRecord) -> None:
        problem = self._problem(record)
        try:
            with self._store.write():
                self._firing.fire(self._commits.set_finished(record, problem))
        except LocalpachError as error:
            log.error("commit %s is finished, but no trigger fires on it: %s", record.commit, error.message)
            with self._store.write():
                self._commits.set_finished(record, problem)

    def _problem(self, record: CommitRecord) -> str:
        try:
            conflicts = self._commits.conflicts(record)
            return problem(self._trees, record.root, conflicts[0]) if conflicts else ""
        except Corrupt as error:
            return error.message
