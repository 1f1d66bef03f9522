"""Firing triggers: a branch's head moves onto a commit of another branch, when one finishes or when it is time."""

from __future__ import annotations

from localpach.clock import now
from localpach.names import Branch
from localpach.pfs import triggers
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.records import BranchRecord, CommitRecord
from localpach.proto import pfs_pb2
from localpach.storage.store import Store


class Firing:
    """Moves the heads of branches that have a trigger."""

    def __init__(self, store: Store, branches: Branches, commits: Commits) -> None:
        self._store = store
        self._branches = branches
        self._commits = commits

    def fire(self, record: CommitRecord) -> None:
        """Moves the heads of branches that trigger on a finished commit's branch, and of those that trigger on these."""
        self._follow(record, record.branch)

    def _follow(self, record: CommitRecord, branch: str) -> None:
        waiting = {each.num: each for each in self._branches.with_trigger(record.commit.repo)}
        moved = [branch]
        while moved:
            source = moved.pop()
            for each in list(waiting.values()):
                trigger = _trigger(each)
                if trigger.branch == source and self._is_due(trigger, each, record, record.started):
                    del waiting[each.num]
                    self._branches.move_head(each.num, record.num)
                    moved.append(each.branch.name)

    def waiting(self) -> list[BranchRecord]:
        """The branches whose trigger may wait for its time."""
        return self._branches.with_trigger(None)

    def fire_if_due(self, branch: BranchRecord) -> float | None:
        """Fires a trigger for which something waits, if it is time to; gives the seconds until then if it is not."""
        trigger = _trigger(branch)
        source = self._commits.head(Branch(branch.branch.repo, trigger.branch)) if trigger.cron_spec else None
        if source is None or source.finished is None or source.num == branch.head:
            return None
        head = self._commits.by_num(branch.head) if branch.head else None
        due = triggers.next_time(trigger.cron_spec, head.started if head else 0)
        moment = now()
        if due is not None and due > moment:
            return (due - moment) / 1_000_000
        if due is not None and self._is_due(trigger, branch, source, moment):
            with self._store.write():
                self._branches.move_head(branch.num, source.num)
                self._follow(source, branch.branch.name)
        return None

    def _is_due(self, trigger: pfs_pb2.Trigger, branch: BranchRecord, record: CommitRecord, moment: int) -> bool:
        head = self._commits.by_num(branch.head) if branch.head else None
        between = 0
        for each in (record, *self._commits.ancestors(record)):
            if head is not None and each.num == head.num:
                break
            between += 1
        if head is not None and between == 0:
            return False
        size = record.root.size - (head.root.size if head else 0)
        return triggers.fires(trigger, size, between, head.started if head else 0, moment)


def _trigger(branch: BranchRecord) -> pfs_pb2.Trigger:
    return pfs_pb2.Trigger.FromString(branch.trigger or b"")
