"""Firing triggers: a branch's head moves onto a commit of another branch, when one finishes or when it is time."""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from google.protobuf.message import DecodeError

from localpach.clock import now
from localpach.errors import Corrupt
from localpach.names import Branch
from localpach.pfs import triggers
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.records import BranchRecord, CommitRecord, Gathered
from localpach.proto import pfs_pb2
from localpach.storage.store import Store, Transaction


class Counted(NamedTuple):
    """How many commits there were after a branch's head, up to the last one that was looked at."""

    head: int | None
    last: int
    commits: int


class Firing:
    """Moves the heads of branches that have a trigger."""

    def __init__(self, store: Store, branches: Branches, commits: Commits) -> None:
        self._store = store
        self._branches = branches
        self._commits = commits
        self._counted: dict[int, Counted] = {}
        store.before_commit.append(self._count_anew)

    def _count_anew(self, transaction: Transaction) -> None:
        """What was removed counts no more."""
        if transaction.gathered(Gathered).removed:
            self._counted.clear()

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
        if due is None:
            return None
        # Nothing may be removed between the count and its use.
        with self._store.write():
            if self._is_due(trigger, branch, source, moment):
                self._branches.move_head(branch.num, source.num)
                self._follow(source, branch.branch.name)
        return None

    def _is_due(self, trigger: pfs_pb2.Trigger, branch: BranchRecord, record: CommitRecord, moment: int) -> bool:
        if record.num == branch.head:
            return False
        head = self._commits.by_num(branch.head) if branch.head else None
        commits = self._commits_after_head(branch, record) if trigger.commits else 0
        size = record.root.size - (head.root.size if head else 0)
        return triggers.fires(trigger, size, commits, head.started if head else 0, moment)

    def _commits_after_head(self, branch: BranchRecord, record: CommitRecord) -> int:
        """How many commits lead from a branch's head to one, that one included; goes on from the last look."""
        counted = self._counted.get(branch.num)
        if counted is None or counted.head != branch.head:
            counted = Counted(branch.head, last=0, commits=0)
        commits = 0
        for each in chain((record,), self._commits.ancestors(record)):
            if each.num == counted.last:
                commits += counted.commits
                break
            if each.num == branch.head:
                break
            commits += 1
        self._counted[branch.num] = Counted(branch.head, record.num, commits)
        return commits


def _trigger(branch: BranchRecord) -> pfs_pb2.Trigger:
    try:
        return pfs_pb2.Trigger.FromString(branch.trigger or b"")
    except DecodeError as error:
        raise Corrupt(
            f"the trigger of branch {branch.branch} is damaged; create the branch again with its trigger"
        ) from error
