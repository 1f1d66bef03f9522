"""Provenance: branches that depend on branches, and the commits that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from localpach.errors import Refused
from localpach.names import USER, Branch, check_branch_name
from localpach.pfs import triggers
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.records import BranchRecord, CommitRecord, Gathered
from localpach.pfs.repos import Repos
from localpach.proto import pfs_pb2
from localpach.storage.store import Store, Transaction
from localpach.waiting import Bulletin, Topic


class Provenance:
    """Makes branches, and at the end of each write the commits that its new heads call for."""

    def __init__(self, store: Store, bulletin: Bulletin, repos: Repos, branches: Branches, commits: Commits) -> None:
        self._store = store
        self._bulletin = bulletin
        self._repos = repos
        self._branches = branches
        self._commits = commits
        store.before_commit.append(self._propagate)

    def create_branch(
        self,
        branch: Branch,
        head: Callable[[], CommitRecord] | None = None,
        provenance: Iterable[Branch] = (),
        trigger: pfs_pb2.Trigger | None = None,
    ) -> None:
        """Makes or changes a branch: moves its head, and makes `provenance` all that it directly depends on.

        Branches of the provenance that are missing are made. A branch without head, or with another provenance than
        before, gets a new one; but one whose provenance is taken away keeps its head.
        """
        provenance = list(provenance)
        with self._store.write():
            self._repos.num_of(branch.repo)
            check_branch_name(branch.name)
            for upstream in provenance:
                self._ensure(branch, upstream)
            if trigger is not None:
                self._check_trigger(branch, trigger)
                if provenance:
                    raise Refused("a branch cannot have both provenance and a trigger")
            head_num = head().num if head else None
            made = self._branches.ensure(branch)
            upstreams = [self._branches.get(upstream).num for upstream in provenance]
            is_changed = bool(upstreams) and set(upstreams) != set(self._branches.direct_provenance(made.num))
            self._branches.set_provenance(made.num, upstreams)
            if trigger is not None:
                self._branches.set_trigger(made.num, trigger.SerializeToString())
                self._bulletin.tell(Topic.FINISHING)
            if head_num is not None:
                self._branches.move_head(made.num, head_num)
            if is_changed or (made.head is None and head_num is None):
                self._begin(self._branches.by_num(made.num), upstreams)

    def _begin(self, branch: BranchRecord, upstreams: list[int]) -> None:
        """Gives a branch a new head: an open one that follows from others, or an empty, finished one."""
        if not upstreams:
            self._branches.move_head(branch.num, self._commits.add_empty(branch.branch))
            return
        self._follow(branch, upstreams)
        self._branches.touch(branch.num)

    def _ensure(self, branch: Branch, upstream: Branch) -> None:
        if upstream.repo == branch.repo:
            raise Refused(f"repo {branch.repo} cannot be in the provenance of its own branch")
        if not self._branches.exists(upstream):
            self.create_branch(upstream)

    def _check_trigger(self, branch: Branch, trigger: pfs_pb2.Trigger) -> None:
        triggers.check(trigger)
        seen = {branch.name}
        following: str | None = trigger.branch
        while following:
            if following in seen:
                raise Refused("triggers cannot form a loop")
            seen.add(following)
            found = self._branches.find(Branch(branch.repo, following))
            following = pfs_pb2.Trigger.FromString(found.trigger).branch if found and found.trigger else None

    def reset_heads(self, branches: list[BranchRecord], head: int | None) -> None:
        """Makes a commit the head of branches whose head goes; without one, a new commit, which they share. Nothing follows
        from it."""
        if head is None and branches:
            upstreams = self._branches.direct_provenance(branches[0].num)
            if upstreams:
                head = self._commits.start_output(branches[0]._replace(head=None), self._heads(upstreams)).num
            else:
                head = self._commits.add_empty(branches[0].branch)
        for branch in branches:
            self._branches.set_head(branch.num, head)

    def _check_graph(self, branches: Iterable[int]) -> None:
        """Refuses two branches of one repo that provenance connects: a commit set has one commit in a repo."""
        with self._store.read() as connection:
            # What is connected may be all that there is; it is looked at only where a repo has two branches in provenance.
            may_meet = connection.execute(
                "SELECT 1 FROM (SELECT repo FROM branches GROUP BY repo HAVING count(*) > 1) JOIN branches b USING (repo)"
                " WHERE EXISTS (SELECT 1 FROM branch_provenance WHERE branch = b.num)"
                " OR EXISTS (SELECT 1 FROM branch_provenance WHERE upstream = b.num)"
                " GROUP BY repo HAVING count(*) > 1"
            ).fetchone()
            for start in branches if may_meet else ():
                repo = connection.execute(
                    "WITH RECURSIVE near (num) AS (SELECT ? UNION"
                    " SELECT p.upstream FROM near JOIN branch_provenance p ON p.branch = near.num UNION"
                    " SELECT p.branch FROM near JOIN branch_provenance p ON p.upstream = near.num)"
                    " SELECT b.repo FROM near JOIN branches b USING (num) GROUP BY b.repo HAVING count(*) > 1",
                    (start,),
                ).fetchone()
                if repo:
                    raise Refused(
                        "validate DAG at end of transaction: multiple branches from the same repo,"
                        f' "{self._repos.named(repo[0])}", cannot participate in a DAG'
                    )

    def _propagate(self, transaction: Transaction) -> None:
        """Gives every branch downstream of what was touched a commit on its heads, in one commit set."""
        gathered = transaction.gathered(Gathered)
        if gathered.reordered:
            self._check_graph(gathered.reordered)
        while gathered.touched:
            touched = set(gathered.touched)
            gathered.touched.clear()
            below = self._branches.subvenance(touched)
            for num in sorted(below, key=lambda num: (len(self._branches.provenance([num])), num)):
                branch = self._branches.by_num(num)
                if branch.head is None or self._commits.by_num(branch.head).commit.id != gathered.commit_set:
                    # The first commit names its provenance in the order in which the branch was given it, these by name.
                    upstreams = map(self._branches.by_num, self._branches.direct_provenance(num))
                    self._follow(branch, [each.num for each in sorted(upstreams, key=lambda each: str(each.branch))])

    def _follow(self, branch: BranchRecord, upstreams: list[int]) -> None:
        record = self._commits.start_output(branch, self._heads(upstreams))
        if branch.branch.repo.type == USER and self._branches.is_pipeline_output(branch.num):
            self._store.transaction.gathered(Gathered).outputs.append(record)

    def _heads(self, upstreams: list[int]) -> list[int]:
        heads = (self._branches.by_num(upstream).head for upstream in upstreams)
        return list(dict.fromkeys(head for head in heads if head is not None))
