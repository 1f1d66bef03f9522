"""Random writes to branches and commits, each compared with what the model says."""

from __future__ import annotations

import copy
from collections.abc import Callable

import grpc
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from localpach.proto import pfs_pb2
from tests.client import Client, branch_of
from tests.helpers import refused
from tests.pfs.model import Commit, Key, Model, Refusal

REPOS = ["a", "b", "c"]
KEYS = st.tuples(st.sampled_from(REPOS), st.sampled_from(["master", "dev"]))
PATHS = st.sampled_from(["/f", "/d/g", "/d/h"])


class Graph(RuleBasedStateMachine):
    """A server and the model, side by side; `ids` has the commit set of the server for each of the model's."""

    client: Client

    @initialize()
    def begin(self) -> None:
        self.client.delete_all()
        self.model = Model()
        self.ids: dict[int, str] = {}
        for repo in REPOS:
            self.client.create_repo(repo)
            self.model.repos.add(repo)

    def same(self, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
        """Both do it, or both refuse it for the same reason."""
        before = copy.deepcopy(self.model)
        try:
            ours()
        except Refusal as refusal:
            self.model = before
            code, details = refused(theirs)
            assert str(refusal) in details
            assert code == "UNKNOWN"
        else:
            theirs()
        self.learn()

    def learn(self) -> None:
        """Takes the ids of commits that have been made since, and waits for what is to finish."""
        self.model.settle()
        for (repo, name), branch in self.model.branches.items():
            if branch.head is not None:
                id = self.client.inspect_commit((repo, name)).commit.id
                assert self.ids.setdefault(branch.head.set, id) == id
        for commit in self.model.commits:
            if commit.is_settled:
                self.client.wait_commit(self.named(commit))

    def pick(self, data: st.DataObject, commits: list[Commit]) -> Commit:
        return data.draw(st.sampled_from(commits))

    def named(self, commit: Commit) -> tuple[str, str]:
        return commit.repo, self.ids[commit.set]

    @rule(key=KEYS, data=st.data(), with_parent=st.booleans())
    def start(self, key: Key, data: st.DataObject, with_parent: bool) -> None:
        if key[0] not in self.model.repos:
            return
        others = [each for each in self.model.commits if each.repo == key[0]]
        parent = self.pick(data, others) if others and with_parent else None
        id = self.ids[parent.set] if parent else ""
        self.same(lambda: self.model.start(key, parent), lambda: self.client.start_commit(*key, parent=id))

    @precondition(lambda self: any(each.is_open for each in self.model.commits))
    @rule(data=st.data(), path=PATHS)
    def put(self, data: st.DataObject, path: str) -> None:
        commit = self.pick(data, [each for each in self.model.commits if each.is_open])
        content = b"%d" % len(self.ids)

        def put() -> None:
            commit.tree = {**self.model.readable(commit), path: content}

        self.same(put, lambda: self.client.put_file_bytes(self.named(commit), path, content))

    @precondition(lambda self: self.model.commits)
    @rule(data=st.data(), error=st.sampled_from(["", "", "bad"]))
    def finish(self, data: st.DataObject, error: str) -> None:
        commit = self.pick(data, sorted(self.model.commits, key=lambda each: not each.is_open)[:3])
        named = pfs_pb2.Commit(repo=branch_of(commit.repo, "").repo, id=self.ids[commit.set])
        request = pfs_pb2.FinishCommitRequest(commit=named, error=error)
        self.same(lambda: self.model.finish(commit, error), lambda: self.client.pfs.FinishCommit(request))

    @precondition(lambda self: self.model.commits)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        commit = self.pick(data, self.model.commits)
        named = pfs_pb2.Commit(repo=branch_of(commit.repo, "").repo, id=self.ids[commit.set])
        request = pfs_pb2.ClearCommitRequest(commit=named)
        self.same(lambda: self.model.clear(commit), lambda: self.client.pfs.ClearCommit(request))

    @rule(key=KEYS, upstreams=st.lists(KEYS, max_size=2, unique=True), data=st.data(), moves=st.booleans())
    def create_branch(self, key: Key, upstreams: list[Key], data: st.DataObject, moves: bool) -> None:
        if not self.model.repos.issuperset(repo for repo, _ in (key, *upstreams)):
            return
        others = [each for each in self.model.commits if each.repo == key[0]]
        head = self.pick(data, others) if others and moves and not upstreams else None
        provenance = [branch_of(*each) for each in upstreams]
        named = self.named(head) if head else None
        self.same(
            lambda: self.model.create_branch(key, head, upstreams),
            lambda: self.client.create_branch(*key, head_commit=named, provenance=provenance),
        )

    @rule(key=KEYS, force=st.booleans())
    def delete_branch(self, key: Key, force: bool) -> None:
        if key[0] not in self.model.repos:
            return
        request = pfs_pb2.DeleteBranchRequest(branch=branch_of(*key), force=force)
        self.same(lambda: self.model.delete_branch(key, force), lambda: self.client.pfs.DeleteBranch(request))

    @precondition(lambda self: self.model.commits)
    @rule(data=st.data(), squash=st.booleans())
    def remove(self, data: st.DataObject, squash: bool) -> None:
        set = self.pick(data, self.model.commits).set
        named = pfs_pb2.CommitSet(id=self.ids[set])
        if squash:
            request = pfs_pb2.SquashCommitSetRequest(commit_set=named)
            self.same(lambda: self.model.squash(set), lambda: self.client.pfs.SquashCommitSet(request))
        else:
            self.same(lambda: self.model.drop(set), lambda: self.client.drop_commit(named.id))

    @rule(repo=st.sampled_from(REPOS), again=st.booleans())
    def delete_repo(self, repo: str, again: bool) -> None:
        self.same(lambda: self.model.delete_repo(repo), lambda: self.client.delete_repo(repo))
        if again and repo not in self.model.repos:
            self.client.create_repo(repo)
            self.model.repos.add(repo)

    @invariant()
    def branches_are_as_the_model_says(self) -> None:
        found = list(self.client.pfs.ListBranch(pfs_pb2.ListBranchRequest()))
        assert {(info.branch.repo.name, info.branch.name) for info in found} == {*self.model.branches}
        for info in found:
            branch = self.model.branches[info.branch.repo.name, info.branch.name]
            assert info.head.id == (self.ids[branch.head.set] if branch.head else "")
            for ours, theirs in (
                (branch.upstreams, info.direct_provenance),
                (self.model.provenance(branch), info.provenance),
                (self.model.subvenance(branch), info.subvenance),
            ):
                names = [(each.repo.name, each.name) for each in theirs]
                assert sorted(names) == sorted((each.repo, each.name) for each in ours)

    @invariant()
    def commits_are_as_the_model_says(self) -> None:
        repo = pfs_pb2.Repo(type="user")
        found = list(self.client.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo, all=True)))
        infos = {(info.commit.repo.name, info.commit.id): info for info in found}
        assert len(infos) == len(found) == len(self.model.commits)
        for commit in self.model.commits:
            info = infos[self.named(commit)]
            assert info.commit.branch.name == commit.branch
            assert info.HasField("finishing") != commit.is_open
            assert info.error == (commit.error if info.HasField("finished") else "")
            assert info.origin.kind == (pfs_pb2.AUTO if commit.is_auto else pfs_pb2.USER)
            assert info.parent_commit.id == (self.ids[commit.parent.set] if commit.parent else "")
            children = [each.id for each in info.child_commits]
            assert sorted(children) == sorted(self.ids[each.set] for each in self.model.children(commit))
            upstreams = [(each.repo.name, each.id) for each in info.direct_provenance]
            assert sorted(upstreams) == sorted(map(self.named, dict.fromkeys(commit.upstreams)))

    @precondition(lambda self: self.model.commits)
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """At one commit's files and at its set."""
        commit = self.pick(data, self.model.commits)
        self.look_at_set(commit.set)
        try:
            tree = self.model.readable(commit)
        except Refusal as refusal:
            assert str(refusal) in refused(lambda: self.client.list_file(self.named(commit), "/"))[1]
            return
        found = [info for info in self.client.glob_file(self.named(commit), "/**") if info.file_type == pfs_pb2.FILE]
        assert [info.file.path for info in found] == sorted(tree)
        for path, content in tree.items():
            assert self.client.get_file(self.named(commit), path) == content

    def look_at_set(self, set: int) -> None:
        """It has what it was made from, each commit after its own."""
        wanted = self.model.of_set(set)
        for each in wanted:
            wanted += [up for up in each.upstreams if up not in wanted]
        infos = self.client.inspect_commit_set(self.ids[set])
        order = [(info.commit.repo.name, info.commit.id) for info in infos]
        assert sorted(order) == sorted(map(self.named, wanted))
        for each in wanted:
            assert all(order.index(self.named(up)) < order.index(self.named(each)) for up in each.upstreams)

    def teardown(self) -> None:
        assert not list(self.client.pfs.Fsck(pfs_pb2.FsckRequest()))


def test_writes_do_what_the_model_says(client: Client) -> None:
    run_state_machine_as_test(
        type("Writes", (Graph,), {"client": client}), settings=settings(max_examples=25, stateful_step_count=25)
    )


def test_the_ids_of_nothing_are_refused(client: Client) -> None:
    id = "1" * 12 + "4" + "1" * 19
    assert refused(lambda: client.inspect_commit_set(id)) == ("NOT_FOUND", f"no commits found for commitset {id}")
    client.drop_commit(id)
    with pytest.raises(grpc.RpcError, match="repo default/none not found"):
        client.start_commit("none", "master")
