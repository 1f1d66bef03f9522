"""What Pachyderm refuses, and how it finds commits: rules that the recording is silent on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from localpach.proto import pfs_pb2
from tests.client import Client, branch_of
from tests.helpers import put, refused

ID = "1" * 12 + "4" + "1" * 19


def test_the_id_of_a_commit_set_finds_the_commits_that_it_builds_on(client: Client) -> None:
    for repo in ("a", "b", "both", "aside"):
        client.create_repo(repo)
    old = put(client, "a", {"/f": b"1"})
    put(client, "aside", {"/f": b"1"})
    client.create_branch("both", "master", provenance=[branch_of("a", "master"), branch_of("b", "master")])
    client.finish_commit(("both", "master"))
    new = put(client, "b", {"/f": b"2"})
    assert client.inspect_commit(("a", new)).commit.id == old
    assert client.get_file(("a", new), "/f") == b"1"
    assert client.get_file(("b", new), "/f") == b"2"
    assert refused(lambda: client.list_file(("aside", new), "/")) == (
        "NOT_FOUND",
        f"commit default/aside@{new} not found",
    )


def test_ancestors_are_counted_back_and_from_the_first(client: Client) -> None:
    client.create_repo("a")
    ids = [put(client, "a", {"/f": b"1"}) for _ in range(4)]

    def found(name: str) -> str:
        return client.inspect_commit(("a", name)).commit.id

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
    client.create_branch("b", "master", provenance=[branch_of("a", "master")])
    client.create_branch("c", "master", provenance=[branch_of("a", "dev")])
    sentence = 'validate DAG at end of transaction: multiple branches from the same repo, "default/a", cannot participate in a DAG'
    for provenance in (
        [branch_of("a", "master"), branch_of("a", "dev")],
        [branch_of("b", "master"), branch_of("c", "master")],
    ):
        assert refused(partial(client.create_branch, "d", "master", provenance=provenance)) == (
            "UNKNOWN",
            sentence,
        )
    assert not client.list_branch("d")
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


def test_all_commits_are_listed_whatever_made_them(client: Client) -> None:
    for repo in ("a", "b"):
        client.create_repo(repo)
    client.create_branch("a", "empty")
    put(client, "a", {"/f": b"1"})
    put(client, "b", {"/f": b"1"})
    assert len(client.list_commit("a")) == 1
    assert len(client.list_commit("a", all=True)) == 2
    everywhere = client.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=pfs_pb2.Repo(type="user"), all=True))
    assert [info.commit.repo.name for info in everywhere] == ["b", "a", "a"]
    assert [info.branch.name for info in client.pfs.ListBranch(pfs_pb2.ListBranchRequest())] == [
        "master",
        "master",
        "empty",
    ]


def test_what_a_request_lacks_is_named(client: Client) -> None:
    client.create_repo("a")
    put(client, "a", {"/f": b"1"})
    nowhere = pfs_pb2.Branch(name="x")
    trigger = pfs_pb2.Trigger(branch="master")
    commit = pfs_pb2.Commit(repo=pfs_pb2.Repo(name="a", type="user"))
    delete = pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path="/f"))
    start = pfs_pb2.ModifyFileRequest(set_commit=pfs_pb2.Commit(branch=branch_of("a", "master")))
    both = pfs_pb2.CreateBranchRequest(
        branch=branch_of("a", "t"), provenance=[branch_of("b", "master")], trigger=trigger
    )
    client.create_repo("b")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: client.pfs.CreateBranch(pfs_pb2.CreateBranchRequest()), "branch cannot be nil"),
        (lambda: client.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=nowhere)), "branch repo cannot be nil"),
        (lambda: client.pfs.CreateBranch(both), "a branch cannot have both provenance and a trigger"),
        (lambda: client.pfs.DeleteBranch(pfs_pb2.DeleteBranchRequest()), "branch cannot be nil"),
        (lambda: client.pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=nowhere)), "branch repo cannot be nil"),
        (lambda: client.pfs.ListCommit(pfs_pb2.ListCommitRequest()), "repo cannot be nil"),
        (
            lambda: client.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit)),
            "cannot resolve commit with no ID or branch",
        ),
        (lambda: client.pfs.ModifyFile(iter([delete])), "first message must be a commit"),
        (lambda: client.pfs.FinishCommit(pfs_pb2.FinishCommitRequest()), "commit cannot be nil"),
        (lambda: client.pfs.ClearCommit(pfs_pb2.ClearCommitRequest()), "commit cannot be nil"),
        (lambda: client.pfs.InspectCommit(pfs_pb2.InspectCommitRequest()), "commit cannot be nil"),
        (
            lambda: client.pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=pfs_pb2.Commit(id=ID))),
            "cannot resolve commit with no repo",
        ),
        (lambda: client.pfs.InspectCommitSet(pfs_pb2.InspectCommitSetRequest()), "commitset cannot be nil"),
        (lambda: client.pfs.SquashCommitSet(pfs_pb2.SquashCommitSetRequest()), "commitset cannot be nil"),
        (lambda: client.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest()), "must specify repo"),
        (lambda: client.pfs.GlobFile(pfs_pb2.GlobFileRequest(pattern="/")), "commit cannot be nil"),
        (lambda: client.pfs.ListFile(pfs_pb2.ListFileRequest()), "file cannot be nil"),
        (lambda: client.pfs.GetFile(pfs_pb2.GetFileRequest(file=pfs_pb2.File(path="/f"))), "file commit cannot be nil"),
        (lambda: client.pfs.DiffFile(pfs_pb2.DiffFileRequest()), "file cannot be nil"),
        (
            lambda: client.create_branch("b", "x", head_commit=("a", "master")),
            "branch and head commit must belong to the same repo",
        ),
        (lambda: client.pfs.ModifyFile(iter([start, start])), "cannot set commit"),
    ]
    for call, sentence in calls:
        assert refused(call) == ("UNKNOWN", sentence)


def test_names_of_projects_and_system_repos_are_checked(client: Client) -> None:
    alphabet = "only alphanumeric characters, underscores, and dashes are allowed"
    for name, why in (
        ("a b", f"name (a b) invalid: {alphabet}"),
        ("", f"name () invalid: {alphabet}"),
        ("-a", "project names must start with an alphanumeric character"),
        ("a" * 53, f'project name "{"a" * 53}" is 2 characters longer than the 51 max'),
    ):
        sentence = f"invalid project name: {why}"
        assert refused(partial(client.create_project, name)) == ("UNKNOWN", sentence)
    meta = pfs_pb2.CreateRepoRequest(repo=pfs_pb2.Repo(name="none", type="meta"))
    code, details = refused(lambda: client.pfs.CreateRepo(meta))
    assert (code, details.partition(":")[0]) == (
        "NOT_FOUND",
        "cannot create a system repo without a corresponding 'user' repo",
    )


def test_parents_and_history_must_be_there(client: Client) -> None:
    client.create_repo("a")
    assert refused(lambda: client.start_commit("a", "master", parent=ID)) == (
        "NOT_FOUND",
        f"parent commit not found: commit default/a@{ID} not found",
    )
    assert not client.list_branch("a")
    commit = client.start_commit("a", "master")
    request = pfs_pb2.FindCommitsRequest(start=commit, file_path="/f")
    sentence = f"commit default/a@{commit.id} not finished"
    assert refused(lambda: client.pfs.FindCommits(request)) == ("UNAVAILABLE", sentence)


def test_cached_values_are_kept_until_their_tag_is_cleared(client: Client) -> None:
    request = pfs_pb2.PutCacheRequest(key="k", tag="mine")
    request.value.type_url = "type"
    client.pfs.PutCache(request)
    assert client.pfs.GetCache(pfs_pb2.GetCacheRequest(key="k")).value.type_url == "type"
    client.pfs.ClearCache(pfs_pb2.ClearCacheRequest(tag_prefix="other"))
    client.pfs.GetCache(pfs_pb2.GetCacheRequest(key="k"))
    client.pfs.ClearCache(pfs_pb2.ClearCacheRequest(tag_prefix="mi"))
    assert refused(lambda: client.pfs.GetCache(pfs_pb2.GetCacheRequest(key="k")))[0] == "NOT_FOUND"


def test_a_branch_named_in_place_of_an_id_is_written_to(client: Client) -> None:
    client.create_repo("a")
    put(client, "a", {"/f": b"1"})
    for name in ("master", "fresh"):
        commit = pfs_pb2.Commit(branch=pfs_pb2.Branch(repo=branch_of("a", "master").repo), id=name)
        add = pfs_pb2.AddFile(path="/g")
        add.raw.value = b"2"
        changes = [pfs_pb2.ModifyFileRequest(set_commit=commit), pfs_pb2.ModifyFileRequest(add_file=add)]
        client.pfs.ModifyFile(iter(changes))
        assert client.get_file(("a", name), "/g") == b"2"
    assert client.get_file(("a", "master"), "/f") == b"1"
