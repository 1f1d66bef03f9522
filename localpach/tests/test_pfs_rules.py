"""What Pachyderm refuses, and how it finds commits: rules that the recording is silent on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import grpc
import pytest
from python_pachyderm import Client
from python_pachyderm.service import pfs_grpc, pfs_proto

from tests.localpach.test_pfs import put

ID = "1" * 12 + "4" + "1" * 19


def branch(repo: str, name: str = "master") -> pfs_proto.Branch:
    return pfs_proto.Branch(repo=pfs_proto.Repo(name=repo, type="user"), name=name)


@pytest.fixture
def stub(client: Client) -> pfs_grpc.APIStub:
    return pfs_grpc.APIStub(client._channel)


def refused(call: Callable[[], object]) -> tuple[str, str]:
    """Code and text that a call, or the stream that it gives, ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call()
        list(answer)  # type: ignore[call-overload]
    return caught.value.code().name, str(caught.value.details())  # type: ignore[attr-defined]


def test_the_id_of_a_commit_set_finds_the_commits_that_it_builds_on(client: Client) -> None:
    for repo in ("a", "b", "both", "aside"):
        client.create_repo(repo)
    old = put(client, "a", {"/f": b"1"})
    put(client, "aside", {"/f": b"1"})
    client.create_branch("both", "master", provenance=[branch("a"), branch("b")])
    client.finish_commit(("both", "master"))
    new = put(client, "b", {"/f": b"2"})
    assert next(iter(client.inspect_commit(("a", new)))).commit.id == old
    assert client.get_file(("a", new), "/f").read() == b"1"
    assert client.get_file(("b", new), "/f").read() == b"2"
    assert refused(lambda: client.list_file(("aside", new), "/")) == (
        "NOT_FOUND",
        f"commit default/aside@{new} not found",
    )


def test_ancestors_are_counted_back_and_from_the_first(client: Client) -> None:
    client.create_repo("a")
    ids = [put(client, "a", {"/f": b"1"}) for _ in range(4)]

    def found(name: str) -> str:
        return next(iter(client.inspect_commit(("a", name)))).commit.id

    for name, id in (
        ("master^", 2),
        ("master^^", 1),
        ("master~3", 0),
        ("master^0", 3),
        ("master.1", 0),
        ("master.3", 2),
    ):
        assert found(name) == ids[id], name
    assert refused(lambda: found("master^4")) == ("NOT_FOUND", "commit default/a@master^4 not found")
    for name, characters in (("master^x", "^ and x"), ("master^2^", "^ and 2"), ("master.1^", ". and 1")):
        sentence = f'invalid ancestry syntax "{name}", cannot mix {characters} characters'
        assert refused(partial(found, name)) == ("UNKNOWN", sentence)


def test_two_branches_of_a_repo_cannot_meet(client: Client) -> None:
    for repo in ("a", "b", "c", "d"):
        client.create_repo(repo)
    client.create_branch("b", "master", provenance=[branch("a")])
    client.create_branch("c", "master", provenance=[branch("a", "dev")])
    sentence = 'validate DAG at end of transaction: multiple branches from the same repo, "default/a", cannot participate in a DAG'
    for provenance in ([branch("a"), branch("a", "dev")], [branch("b"), branch("c")]):
        assert refused(partial(client.create_branch, "d", "master", provenance=provenance)) == (
            "UNKNOWN",
            sentence,
        )
    assert not list(client.list_branch("d"))
    put(client, "a", {"/f": b"1"})
    client.finish_commit(("b", "master"))


def test_diff_of_two_paths_tells_each_side(client: Client) -> None:
    client.create_repo("a")
    old = ("a", put(client, "a", {"/1": b"old", "/2": b"old", "/d/x": b"x"}))
    new = ("a", put(client, "a", {"/1": b"new"}))

    def diff(path: str, old_path: str) -> list[tuple[str, str]]:
        return [(d.new_file.file.path, d.old_file.file.path) for d in client.diff_file(new, path, old, old_path)]

    assert diff("/1", "/2") == [("/1", ""), ("", "/2")]
    assert diff("/1", "/1") == [("/1", "/1")]
    assert diff("/d", "/") == [("", "/"), ("", "/1"), ("", "/2")]


def test_all_commits_are_listed_whatever_made_them(client: Client, stub: pfs_grpc.APIStub) -> None:
    for repo in ("a", "b"):
        client.create_repo(repo)
    client.create_branch("a", "empty")
    put(client, "a", {"/f": b"1"})
    put(client, "b", {"/f": b"1"})
    assert len(list(client.list_commit("a"))) == 1
    assert len(list(client.list_commit("a", all=True))) == 2
    everywhere = stub.ListCommit(pfs_proto.ListCommitRequest(repo=pfs_proto.Repo(type="user"), all=True))
    assert [info.commit.repo.name for info in everywhere] == ["b", "a", "a"]
    assert [info.branch.name for info in stub.ListBranch(pfs_proto.ListBranchRequest())] == [
        "master",
        "master",
        "empty",
    ]


def test_what_a_request_lacks_is_named(client: Client, stub: pfs_grpc.APIStub) -> None:
    client.create_repo("a")
    put(client, "a", {"/f": b"1"})
    nowhere = pfs_proto.Branch(name="x")
    trigger = pfs_proto.Trigger(branch="master")
    commit = pfs_proto.Commit(repo=pfs_proto.Repo(name="a", type="user"))
    delete = pfs_proto.ModifyFileRequest(delete_file=pfs_proto.DeleteFile(path="/f"))
    start = pfs_proto.ModifyFileRequest(set_commit=pfs_proto.Commit(branch=branch("a")))
    both = pfs_proto.CreateBranchRequest(branch=branch("a", "t"), provenance=[branch("b")], trigger=trigger)
    client.create_repo("b")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: stub.CreateBranch(pfs_proto.CreateBranchRequest()), "branch cannot be nil"),
        (lambda: stub.CreateBranch(pfs_proto.CreateBranchRequest(branch=nowhere)), "branch repo cannot be nil"),
        (lambda: stub.CreateBranch(both), "a branch cannot have both provenance and a trigger"),
        (lambda: stub.DeleteBranch(pfs_proto.DeleteBranchRequest()), "branch cannot be nil"),
        (lambda: stub.InspectBranch(pfs_proto.InspectBranchRequest(branch=nowhere)), "branch repo cannot be nil"),
        (lambda: stub.ListCommit(pfs_proto.ListCommitRequest()), "repo cannot be nil"),
        (
            lambda: stub.FinishCommit(pfs_proto.FinishCommitRequest(commit=commit)),
            "cannot resolve commit with no ID or branch",
        ),
        (lambda: stub.ModifyFile(iter([delete])), "first message must be a commit"),
        (lambda: stub.FinishCommit(pfs_proto.FinishCommitRequest()), "commit cannot be nil"),
        (lambda: stub.ClearCommit(pfs_proto.ClearCommitRequest()), "commit cannot be nil"),
        (lambda: stub.InspectCommit(pfs_proto.InspectCommitRequest()), "commit cannot be nil"),
        (
            lambda: stub.InspectCommit(pfs_proto.InspectCommitRequest(commit=pfs_proto.Commit(id=ID))),
            "cannot resolve commit with no repo",
        ),
        (lambda: stub.InspectCommitSet(pfs_proto.InspectCommitSetRequest()), "commitset cannot be nil"),
        (lambda: stub.SquashCommitSet(pfs_proto.SquashCommitSetRequest()), "commitset cannot be nil"),
        (lambda: stub.DeleteRepo(pfs_proto.DeleteRepoRequest()), "must specify repo"),
        (lambda: stub.GlobFile(pfs_proto.GlobFileRequest(pattern="/")), "commit cannot be nil"),
        (lambda: stub.ListFile(pfs_proto.ListFileRequest()), "file cannot be nil"),
        (lambda: stub.GetFile(pfs_proto.GetFileRequest(file=pfs_proto.File(path="/f"))), "file commit cannot be nil"),
        (lambda: stub.DiffFile(pfs_proto.DiffFileRequest()), "file cannot be nil"),
        (
            lambda: client.create_branch("b", "x", head_commit=("a", "master")),
            "branch and head commit must belong to the same repo",
        ),
        (lambda: stub.ModifyFile(iter([start, start])), "cannot set commit"),
    ]
    for call, sentence in calls:
        assert refused(call) == ("UNKNOWN", sentence)


def test_names_of_projects_and_system_repos_are_checked(client: Client, stub: pfs_grpc.APIStub) -> None:
    alphabet = "only alphanumeric characters, underscores, and dashes are allowed"
    for name, why in (
        ("a b", f"name (a b) invalid: {alphabet}"),
        ("", f"name () invalid: {alphabet}"),
        ("-a", "project names must start with an alphanumeric character"),
        ("a" * 53, f'project name "{"a" * 53}" is 2 characters longer than the 51 max'),
    ):
        sentence = f"invalid project name: {why}"
        assert refused(partial(client.create_project, name)) == ("UNKNOWN", sentence)
    meta = pfs_proto.CreateRepoRequest(repo=pfs_proto.Repo(name="none", type="meta"))
    code, details = refused(lambda: stub.CreateRepo(meta))
    assert (code, details.partition(":")[0]) == (
        "NOT_FOUND",
        "cannot create a system repo without a corresponding 'user' repo",
    )


def test_parents_and_history_must_be_there(client: Client, stub: pfs_grpc.APIStub) -> None:
    client.create_repo("a")
    assert refused(lambda: client.start_commit("a", "master", parent=ID)) == (
        "NOT_FOUND",
        f"parent commit not found: commit default/a@{ID} not found",
    )
    assert not list(client.list_branch("a"))
    commit = client.start_commit("a", "master")
    request = pfs_proto.FindCommitsRequest(start=commit, file_path="/f")
    sentence = f"commit default/a@{commit.id} not finished"
    assert refused(lambda: stub.FindCommits(request)) == ("UNAVAILABLE", sentence)


def test_cached_values_are_kept_until_their_tag_is_cleared(stub: pfs_grpc.APIStub) -> None:
    request = pfs_proto.PutCacheRequest(key="k", tag="mine")
    request.value.type_url = "type"
    stub.PutCache(request)
    assert stub.GetCache(pfs_proto.GetCacheRequest(key="k")).value.type_url == "type"
    stub.ClearCache(pfs_proto.ClearCacheRequest(tag_prefix="other"))
    stub.GetCache(pfs_proto.GetCacheRequest(key="k"))
    stub.ClearCache(pfs_proto.ClearCacheRequest(tag_prefix="mi"))
    assert refused(lambda: stub.GetCache(pfs_proto.GetCacheRequest(key="k")))[0] == "NOT_FOUND"


def test_a_branch_named_in_place_of_an_id_is_written_to(client: Client, stub: pfs_grpc.APIStub) -> None:
    client.create_repo("a")
    put(client, "a", {"/f": b"1"})
    for name in ("master", "fresh"):
        commit = pfs_proto.Commit(branch=pfs_proto.Branch(repo=branch("a").repo), id=name)
        add = pfs_proto.AddFile(path="/g")
        add.raw.value = b"2"
        changes = [pfs_proto.ModifyFileRequest(set_commit=commit), pfs_proto.ModifyFileRequest(add_file=add)]
        stub.ModifyFile(iter(changes))
        assert client.get_file(("a", name), "/g").read() == b"2"
    assert client.get_file(("a", "master"), "/f").read() == b"1"
