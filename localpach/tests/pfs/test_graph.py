"""Walks along provenance from what is picked, and commits that are removed one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client, branch_of, commit_of
from tests.helpers import content, last_job, pfs, pipeline, put, refused


def picked_repo(name: str) -> pfs_pb2.RepoPicker:
    return pfs_pb2.RepoPicker(name=pfs_pb2.RepoPicker.RepoName(name=name))


def picked_branch(repo: str, name: str = "master") -> pfs_pb2.BranchPicker:
    return pfs_pb2.BranchPicker(name=pfs_pb2.BranchPicker.BranchName(repo=picked_repo(repo), name=name))


def picked_head(repo: str) -> pfs_pb2.CommitPicker:
    return pfs_pb2.CommitPicker(branch_head=picked_branch(repo))


def make(client: Client, graph: dict[str, list[str]]) -> None:
    """Repos with a branch `master` each, and what these are made from."""
    for name, upstreams in graph.items():
        client.create_repo(name)
        client.create_branch(name, "master", provenance=[branch_of(each, "master") for each in upstreams])


def put_once(client: Client, repo: str, path: str) -> str:
    """A commit of one file, whose set waits for nothing: its id."""
    with client.commit(repo, "master") as commit:
        client.put_file_bytes(commit, path, path.encode())
    return commit.id


def walked(client: Client, name: str, *repos: str, **limits: int) -> list[str]:
    """The repos of what a walk finds, in order."""
    kind = name.removeprefix("Walk")
    if kind.startswith("Commit"):
        request: Any = getattr(pfs_pb2, f"{name}Request")(start=map(picked_head, repos), **limits)
        return [info.commit.repo.name for info in getattr(client.pfs, name)(request)]
    request = getattr(pfs_pb2, f"{name}Request")(start=map(picked_branch, repos), **limits)
    return [info.branch.repo.name for info in getattr(client.pfs, name)(request)]


LINE: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}


@pytest.mark.parametrize("kind", ["Commit", "Branch"])
def test_walks_go_up_and_down_nearest_first(client: Client, kind: str) -> None:
    make(client, LINE)
    maximum = "max_commits" if kind == "Commit" else "max_branches"
    assert walked(client, f"Walk{kind}Provenance", "d") == ["c", "b", "a"]
    assert walked(client, f"Walk{kind}Subvenance", "a") == ["b", "c", "d"]
    assert walked(client, f"Walk{kind}Subvenance", "a", max_depth=2) == ["b", "c"]
    assert walked(client, f"Walk{kind}Provenance", "d", **{maximum: 1}) == ["c"]
    assert walked(client, f"Walk{kind}Provenance", "d", "b") == ["c", "a"]
    assert walked(client, f"Walk{kind}Subvenance", "d") == []


def test_commits_know_what_was_made_from_them(client: Client) -> None:
    make(client, LINE)
    info = client.inspect_commit(("b", "master"))
    assert [each.repo.name for each in info.direct_provenance] == ["a"]
    assert [each.repo.name for each in info.direct_subvenance] == ["c"]
    assert info.created_at == info.started


GRAPHS = st.lists(st.sets(st.integers(0, 4)), min_size=5, max_size=5).map(
    lambda sets: {f"r{num}": sorted(f"r{each}" for each in chosen if each < num) for num, chosen in enumerate(sets)}
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GRAPHS, st.integers(0, 3))
def test_walks_find_what_a_search_in_breadth_finds(client: Client, graph: dict[str, list[str]], depth: int) -> None:
    client.delete_all()
    make(client, graph)
    for start in graph:
        rings = [{start}]
        while rings[-1]:
            rings.append({up for each in rings[-1] for up in graph[each]} - set().union(*rings))
        expected = set().union(*rings[1 : depth + 1 if depth else None])
        found = walked(client, "WalkBranchProvenance", start, max_depth=depth)
        assert (set(found), len(found)) == (expected, len(expected))


def test_commits_are_picked_by_what_clients_say(client: Client) -> None:
    make(client, {"a": [], "b": ["a"]})
    first = client.inspect_commit(("a", "master")).commit.id
    second = put_once(client, "a", "/x")
    by_id = pfs_pb2.CommitPicker(id=pfs_pb2.CommitPicker.CommitByGlobalId(repo=picked_repo("a"), id=first))
    before = pfs_pb2.CommitPicker(ancestor=pfs_pb2.CommitPicker.AncestorOf(offset=1, start=picked_head("a")))
    root = pfs_pb2.CommitPicker(branch_root=pfs_pb2.CommitPicker.BranchRoot(offset=1, branch=picked_branch("a")))

    def below(picker: pfs_pb2.CommitPicker) -> list[str]:
        request = pfs_pb2.WalkCommitSubvenanceRequest(start=[picker])
        return [info.commit.id for info in client.pfs.WalkCommitSubvenance(request)]

    old = below(by_id)
    assert second not in old
    assert below(before) == below(root) == old
    assert below(picked_head("a")) == [second]
    assert refused(lambda: below(pfs_pb2.CommitPicker()))[0] == "UNKNOWN"
    assert refused(lambda: below(picked_head("missing")))[0] == "NOT_FOUND"
    assert refused(lambda: walked(client, "WalkBranchProvenance", ""))[0] == "NOT_FOUND"


def squash(client: Client, repo: str, id: str, recursive: bool = False) -> None:
    client.pfs.SquashCommit(pfs_pb2.SquashCommitRequest(commit=commit_of((repo, id)), recursive=recursive))


def drop(client: Client, repo: str, id: str, recursive: bool = False) -> None:
    client.pfs.DropCommit(pfs_pb2.DropCommitRequest(commit=commit_of((repo, id)), recursive=recursive))


def test_a_squashed_commit_lives_on_in_its_child(client: Client) -> None:
    client.create_repo("a")
    first, second = put(client, "a", {"/1": b"1"}), put(client, "a", {"/2": b"2"})
    _, text = refused(lambda: squash(client, "a", second))
    assert text.startswith("cannot squash a commit that has no children")
    squash(client, "a", first)
    assert [info.commit.id for info in client.list_commit("a")] == [second]
    assert content(client, "a", "/1") == b"1"
    assert refused(lambda: squash(client, "a", first))[0] == "NOT_FOUND"


def test_a_dropped_commit_is_gone_with_its_content(client: Client) -> None:
    client.create_repo("a")
    first, second = put(client, "a", {"/1": b"1"}), put(client, "a", {"/2": b"2"})
    _, text = refused(lambda: drop(client, "a", first))
    assert text.startswith("cannot drop a commit that has children")
    drop(client, "a", second)
    assert client.inspect_commit(("a", "master")).commit.id == first
    assert [info.file.path for info in client.list_file(("a", "master"), "/")] == ["/1"]


def forget(client: Client, repo: str, id: str) -> None:
    picker = pfs_pb2.CommitPicker(id=pfs_pb2.CommitPicker.CommitByGlobalId(repo=picked_repo(repo), id=id))
    client.pfs.ForgetCommit(pfs_pb2.ForgetCommitRequest(commit=picker))


def test_a_forgotten_commit_is_known_without_its_files(client: Client) -> None:
    client.create_repo("a")
    first, second = put(client, "a", {"/1": b"1"}), put(client, "a", {"/2": b"2"})
    head = refused(lambda: forget(client, "a", second))
    assert head == ("UNKNOWN", f"the branch head cannot be a forgotten commit: default/a@{second}")
    before = client.inspect_commit(("a", first))
    forget(client, "a", first)
    forget(client, "a", first)
    assert client.inspect_commit(("a", first)) == before
    assert [info.commit.id for info in client.list_commit("a")] == [second, first]
    for read in (
        lambda: client.get_file(("a", first), "/1"),
        lambda: client.list_file(("a", first), "/"),
        lambda: client.start_commit("a", "more", parent=first),
    ):
        assert refused(read) == ("UNKNOWN", f"the commit is forgotten: default/a@{first}")
    assert (content(client, "a", "/1"), content(client, "a", "/2")) == (b"1", b"2")
    # No branch gets it for its head: neither one that is asked for, nor one whose own head goes.
    sentence = "the branch head cannot be a forgotten commit: default/a@"
    assert refused(lambda: client.create_branch("a", "old", ("a", first))) == ("UNKNOWN", f"{sentence}old")
    assert refused(lambda: drop(client, "a", second)) == ("UNKNOWN", f"{sentence}master")
    assert not list(client.pfs.Fsck(pfs_pb2.FsckRequest()))
    squash(client, "a", first)
    assert content(client, "a", "/1") == b"1"


def test_a_commit_is_not_forgotten_whose_files_another_one_has(client: Client) -> None:
    client.create_repo("a")
    first = put(client, "a", {"/1": b"1"})
    second = client.start_commit("a", "master")
    assert refused(lambda: forget(client, "a", second.id))[1].startswith("only a finished commit can be forgotten")
    for finish in (False, True):
        if finish:
            client.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=second, error="bad"))
            client.wait_commit(second)
        sentence = f"commit default/a@{first} cannot be forgotten: default/a@{second.id}, open or failed, has its files"
        assert refused(lambda: forget(client, "a", first)) == ("UNKNOWN", sentence)
        assert content(client, "a", "/1") == b"1"


def test_a_job_on_a_forgotten_commit_fails(client: Client) -> None:
    for repo in ("a", "b"):
        client.create_repo(repo)
    first = put(client, "a", {"/1": b"1"})
    waited_for = client.start_commit("b", "master")
    client.put_file_bytes(waited_for, "/f", b"f")
    pipeline(client, "c", "cp /pfs/a/* /pfs/out/", pps_pb2.Input(cross=[pfs("a"), pfs("b")]))
    put(client, "a", {"/2": b"2"})
    forget(client, "a", first)
    client.finish_commit(waited_for)
    good, failed = (client.inspect_job(job.job.id, "c", wait=True) for job in client.list_job("c"))
    assert (failed.state, failed.reason) == (pps_pb2.JOB_FAILURE, f"the commit is forgotten: default/a@{first}")
    assert good.state == pps_pb2.JOB_SUCCESS


def test_a_job_goes_on_from_no_forgotten_output(client: Client) -> None:
    client.create_repo("a")
    put(client, "a", {"/1": b"1"})
    pipeline(client, "b", "cp /pfs/a/* /pfs/out/", pfs("a"))
    done = last_job(client, "b").job.id
    put(client, "a", {"/2": b"2"})
    client.delete_job(last_job(client, "b").job.id, "b")
    forget(client, "b", done)
    put(client, "a", {"/3": b"3"})
    job = last_job(client, "b")
    assert (job.state, job.data_processed, job.data_skipped) == (pps_pb2.JOB_SUCCESS, 3, 0)
    assert [content(client, "b", f"/{number}") for number in range(1, 4)] == [b"1", b"2", b"3"]


def test_what_was_made_from_a_commit_goes_with_it_only_if_asked(client: Client) -> None:
    make(client, {"a": [], "other": [], "b": ["a", "other"]})
    kept = {repo: client.inspect_commit((repo, "master")).commit.id for repo in "ab"}
    doomed = put_once(client, "a", "/1")
    # A second commit downstream that was made from the first one upstream, too.
    put_once(client, "other", "/2")
    code, text = refused(lambda: drop(client, "a", doomed))
    assert (code, "recursively" in text) == ("UNKNOWN", True)
    drop(client, "a", doomed, recursive=True)
    assert kept == {repo: client.inspect_commit((repo, "master")).commit.id for repo in "ab"}
    assert not list(client.pfs.Fsck(pfs_pb2.FsckRequest()))


def test_a_deletion_tells_whether_there_was_a_repo(client: Client) -> None:
    client.create_repo("a")
    request = pfs_pb2.DeleteRepoRequest(repo=pfs_pb2.Repo(name="a", type="user"))
    assert client.pfs.DeleteRepo(request).deleted
    assert not client.pfs.DeleteRepo(request).deleted


def test_repos_come_in_pages_by_name(client: Client) -> None:
    for name in "cabd":
        client.create_repo(name)

    def page(size: int, index: int) -> list[str]:
        request = pfs_pb2.ListRepoRequest(page=pfs_pb2.RepoPage(page_size=size, page_index=index))
        return [info.repo.name for info in client.pfs.ListRepo(request)]

    assert (page(3, 0), page(3, 1), page(3, 2), page(0, 0)) == (["a", "b", "c"], ["d"], [], ["a", "b", "c", "d"])
