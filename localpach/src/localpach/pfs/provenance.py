"""Provenance: branches that depend on branches, and the commits that follow from it."""

from __future__ import annotations

from collections.abc import Iterable

from localpach.errors import LocalpachError, Refused
from localpach.names import USER, Branch, Commit, check_branch_name
from localpach.pfs import triggers
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.records import Gathered
from localpach.pfs.repos import Repos
from localpach.proto import pfs_pb2
from localpach.storage.store import Store, Transaction


class Provenance:
    """Makes branches, and at the end of each write the commits that its new heads call for."""

    def __init__(self, store: Store, repos: Repos, branches: Branches, commits: Commits) -> None:
        self._store = store
        self._repos = repos
        self._branches = branches
        self._commits = commits
        store.before_commit.append(self._propagate)

    def create_branch(
        self,
        branch: Branch,
        head: Commit | None = None,
        provenance: Iterable[Branch] = (),
        trigger: pfs_pb2.Trigger | None = None,
    ) -> None:
        """Makes or changes a branch: moves its head, and makes `provenance` all that it directly depends on.

        Branches of the provenance that are missing are made. A branch without head gets an empty, finished one.
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
            head_num = self._head_num(head) if head else None
            made = self._branches.ensure(branch)
            self._branches.set_provenance(made.num, [self._branches.get(upstream).num for upstream in provenance])
            if trigger is not None:
                self._branches.set_trigger(made.num, trigger.SerializeToString())
            if head_num is None and not provenance and made.head is None:
                head_num = self._commits.add_empty(branch)
            if head_num is not None:
                self._branches.move_head(made.num, head_num)
            self._branches.touch(made.num)

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

    def _head_num(self, head: Commit) -> int:
        try:
            return self._commits.get(head).num
        except LocalpachError as error:
            raise type(error)(f"unable to inspect {head}: {error.message}") from error

    def reset_head(self, branch: Branch, head: int | None) -> None:
        """Makes a commit the head of a branch whose head goes; without one, an empty commit where it depends on nothing."""
        num = self._branches.get(branch).num
        self._branches.move_head(num, None)
        if head is None and not self._branches.direct_provenance(num):
            head = self._commits.add_empty(branch)
        self._branches.move_head(num, head)

    def _check_graph(self, branches: Iterable[int]) -> None:
        """Refuses two branches of one repo that provenance connects: a commit set has one commit in a repo."""
        with self._store.read() as connection:
            for start in branches:
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
        """Gives every branch downstream of what was touched a commit on the new heads, in one commit set."""
        gathered = transaction.gathered(Gathered)
        self._check_graph(gathered.reordered)
        while gathered.touched:
            touched = set(gathered.touched)
            gathered.touched.clear()
            affected = touched | self._branches.subvenance(touched)
            for branch in sorted(affected, key=lambda num: (len(self._branches.provenance([num])), num)):
                self._follow(branch, gathered)

    def _follow(self, num: int, gathered: Gathered) -> None:
        upstreams = [self._branches.by_num(upstream) for upstream in self._branches.direct_provenance(num)]
        if not upstreams:
            return
        # The first commit names its provenance in the order in which the branch was given it, later ones by name.
        if num not in gathered.reordered:
            upstreams.sort(key=lambda upstream: str(upstream.branch))
        heads = list(dict.fromkeys(upstream.head for upstream in upstreams if upstream.head))
        branch = self._branches.by_num(num)
        if branch.head and set(heads) == {
            each.num for each in self._commits.provenance(self._commits.by_num(branch.head))
        }:
            return
        record = self._commits.start_output(branch, heads)
        if branch.branch.repo.type == USER and self._branches.is_pipeline_output(num):
            gathered.outputs.append(record)
