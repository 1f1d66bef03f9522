"""The end of commits: what is finishing becomes finished, in the order of the parents, and fires the triggers on its branch."""

from __future__ import annotations

from localpach.pfs import triggers
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.editing import problem
from localpach.pfs.records import BranchRecord, CommitRecord
from localpach.proto import pfs_pb2
from localpach.storage.store import Store
from localpach.storage.trees import Trees
from localpach.waiting import Bulletin, Loop, Topic


class Finisher:
    """Finishes commits, in a thread of its own."""

    def __init__(self, store: Store, bulletin: Bulletin, trees: Trees, branches: Branches, commits: Commits) -> None:
        self._store = store
        self._trees = trees
        self._branches = branches
        self._commits = commits
        self._loop = Loop(bulletin, Topic.FINISHING, self._finish_ready, "commit finisher")

    def start(self) -> None:
        """Finishes what was finishing when the server ended, and what comes."""
        self._loop.start()

    def close(self) -> None:
        """Ends the thread."""
        self._loop.close()

    def _finish_ready(self) -> None:
        while not self._loop.is_closing:
            with self._store.write():
                records = self._commits.finishing()
                for record in records:
                    self._fire_triggers(self._commits.set_finished(record, self._problem(record)))
            if not records:
                return

    def _problem(self, record: CommitRecord) -> str:
        conflicts = self._commits.conflicts(record)
        return problem(self._trees, record.root, conflicts[0]) if conflicts else ""

    def _fire_triggers(self, record: CommitRecord) -> None:
        """Moves the heads of branches that trigger on the commit's branch, and of those that trigger on these."""
        waiting = {each.num: each for each in self._branches.with_trigger(record.commit.repo)}
        moved = [record.branch]
        while moved:
            source = moved.pop()
            for branch in list(waiting.values()):
                trigger = pfs_pb2.Trigger.FromString(branch.trigger or b"")
                if trigger.branch == source and self._is_due(trigger, branch, record):
                    del waiting[branch.num]
                    self._branches.move_head(branch.num, record.num)
                    moved.append(branch.branch.name)

    def _is_due(self, trigger: pfs_pb2.Trigger, branch: BranchRecord, record: CommitRecord) -> bool:
        head = self._commits.by_num(branch.head) if branch.head else None
        between = 0
        for each in (record, *self._commits.ancestors(record)):
            if head is not None and each.num == head.num:
                break
            between += 1
        if head is not None and between == 0:
            return False
        size = record.root.size - (head.root.size if head else 0)
        return triggers.fires(trigger, size, between, head.started if head else 0, record.started)
