"""Commits: begun, finished, cleared, found, waited for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest

from localpach.proto import pfs_pb2
from tests.client import Client, branch_of, commit_of
from tests.helpers import put, refused, until

ID = "1" * 12 + "4" + "1" * 19


def finish(client: Client, commit: pfs_pb2.Commit, **fields: Any) -> None:
    client.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit, **fields))
    client.wait_commit(commit)


def start(client: Client, branch: str = "master", **fields: Any) -> pfs_pb2.Commit:
    commit: pfs_pb2.Commit = client.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch_of("a", branch), **fields))
    return commit


@pytest.fixture
def a(client: Client) -> Client:
    """A client of a server with repo `a`."""
    client.create_repo("a")
    return client


def test_a_commit_keeps_its_description_unless_its_end_has_another(a: Client) -> None:
    first = start(a, description="begun")
    assert a.inspect_commit(first).description == "begun"
    finish(a, first)
    assert a.inspect_commit(first).description == "begun"
    second = start(a, description="begun")
    finish(a, second, description="ended")
    assert a.inspect_commit(second).description == "ended"


def test_times_of_a_commit_are_in_their_order(a: Client) -> None:
    commit = start(a)
    info = a.inspect_commit(commit)
    assert info.HasField("started")
    assert not info.HasField("finishing")
    assert not info.HasField("finished")
    finish(a, commit)
    info = a.inspect_commit(commit)
    moments = [moment.ToNanoseconds() for moment in (info.started, info.finishing, info.finished)]
    assert 10**18 < moments[0] <= moments[1] <= moments[2]


def test_where_a_commit_can_not_begin(a: Client) -> None:
    assert refused(lambda: start(a, "")) == ("UNKNOWN", "branch must be specified")
    assert refused(lambda: start(a, ID)) == ("UNKNOWN", "bad key: branch name cannot be a UUID V4")
    alphabet = "only alphanumeric characters, underscores, and dashes are allowed"
    assert refused(lambda: start(a, "x y")) == ("UNKNOWN", f"name (x y) invalid: {alphabet}")
    first = start(a)
    sentence = f"parent commit default/a@{first.id} has not been finished"
    assert refused(lambda: start(a)) == ("UNKNOWN", sentence)
    assert refused(lambda: start(a, "other", parent=first)) == ("UNKNOWN", sentence)
    assert [info.branch.name for info in a.list_branch("a")] == ["master"]
    a.create_repo("down")
    a.create_branch("down", "out", provenance=[branch_of("a", "master")])
    sentence = "cannot start a commit on an output branch: default/down@out"
    assert refused(lambda: a.start_commit("down", "out")) == ("UNKNOWN", sentence)


def test_a_commit_goes_on_from_the_nearest_one_without_error(a: Client) -> None:
    good = put(a, "a", {"/good": b"1"})
    bad = start(a)
    a.put_file_bytes(bad, "/bad", b"2")
    finish(a, bad, error="broken")
    clash = start(a)
    a.put_file_bytes(clash, "/x", b"3")
    a.put_file_bytes(clash, "/x/y", b"3")
    finish(a, clash)
    assert a.inspect_commit(clash).error == "file / directory path collision (/x/y)"
    assert [a.inspect_commit(each).details.size_bytes for each in (bad, clash)] == [0, 3]
    commit = start(a)
    assert [info.file.path for info in a.list_file(commit, "/")] == ["/good"]
    info = a.inspect_commit(commit)
    assert info.parent_commit.id == clash.id
    a.put_file_bytes(commit, "/more", b"4")
    a.delete_file(commit, "/good")
    a.pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit))
    assert [info.file.path for info in a.list_file(commit, "/")] == ["/good"]
    assert a.get_file(("a", good), "/good") == b"1"


def test_a_cleared_commit_has_no_collision_left(a: Client) -> None:
    commit = start(a)
    a.put_file_bytes(commit, "/x", b"3")
    a.put_file_bytes(commit, "/x/y", b"3")
    a.pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit))
    a.put_file_bytes(commit, "/x/y", b"3")
    finish(a, commit)
    assert a.inspect_commit(commit).error == ""
    request = pfs_pb2.ClearCommitRequest(commit=commit)
    assert refused(lambda: a.pfs.ClearCommit(request)) == ("UNKNOWN", "cannot clear finished commit")


def test_a_finished_commit_stays_as_it_is(a: Client) -> None:
    commit = start(a)
    a.put_file_bytes(commit, "/f", b"1")
    finish(a, commit)
    sentence = f"commit default/a@{commit.id} has already finished"
    for call in (
        lambda: finish(a, commit),
        lambda: a.put_file_bytes(commit, "/f", b"2"),
        lambda: a.delete_file(commit, "/f"),
    ):
        assert refused(call) == ("UNKNOWN", sentence)
    assert a.get_file(commit, "/f") == b"1"


def test_a_commit_may_go_on_from_another_repo_and_outlives_it(a: Client) -> None:
    """As 2.7.6 has it: see the recorded operations, seeds 2 and 23."""
    a.create_repo("b")
    parent = pfs_pb2.Commit(branch=branch_of("b", "master"), id=put(a, "b", {"/f": b"1"}))
    commits = [
        a.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch_of("a", name), parent=parent))
        for name in ("finished", "open")
    ]
    a.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commits[0]))
    a.pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commits[0], wait=pfs_pb2.FINISHED))
    a.delete_repo("b")
    a.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commits[1]))
    for commit in commits:
        found = a.pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commit, wait=pfs_pb2.FINISHED))
        assert not found.HasField("parent_commit")
        assert a.get_file(commit, "/f") == b"1"


def test_a_commit_is_finished_after_its_parent(a: Client) -> None:
    a.create_repo("down")
    put(a, "a", {"/f": b"1"})
    a.create_branch("down", "master", provenance=[branch_of("a", "master")])
    first = a.inspect_commit(("down", "master")).commit
    put_one = start(a)
    second = a.inspect_commit(("down", "master")).commit
    assert second.id == put_one.id != first.id
    a.finish_commit(second)
    finish(a, start(a, "aside"))
    assert not a.inspect_commit(second).HasField("finished")
    assert a.inspect_commit(second).HasField("finishing")
    chain = [first, second]
    finish(a, first)
    a.wait_commit(second)
    times = [a.inspect_commit(each).finished.ToNanoseconds() for each in chain]
    assert times == sorted(times)


def test_what_commits_are_called_by(a: Client) -> None:
    id = put(a, "a", {"/f": b"1"})
    assert refused(lambda: a.inspect_commit(("a", "none"))) == (
        "NOT_FOUND",
        'branch "none" not found in repo default/a',
    )
    other = "f" * 32
    assert refused(lambda: a.inspect_commit(("a", ID))) == ("NOT_FOUND", f"commit default/a@{ID} not found")
    assert refused(lambda: a.inspect_commit(("a", other)))[0] == "NOT_FOUND"
    with_branch = pfs_pb2.Commit(branch=branch_of("a", "master"), id=id)
    assert a.inspect_commit(with_branch).commit.id == id
    wrong = pfs_pb2.Commit(branch=branch_of("a", "master"), id="nonsense")
    code, details = refused(lambda: a.inspect_commit(wrong))
    sentence = "invalid commit ID given with a branch (default/a@master): nonsense\n"
    assert (code, details) == ("UNKNOWN", sentence)
    for name in ("master.0", "master.2", "master^1"):
        sentence = f"commit default/a@{name} not found"
        assert refused(partial(a.inspect_commit, ("a", name))) == ("NOT_FOUND", sentence)
    a.create_repo("empty")
    a.create_repo("down")
    a.create_branch("down", "master", provenance=[branch_of("a", "master")])
    a.delete_repo("empty")


def test_a_branch_that_lost_its_head_has_no_commit(a: Client) -> None:
    put(a, "a", {"/f": b"1"})
    a.create_repo("down")
    a.create_branch("down", "master", provenance=[branch_of("a", "master")])
    a.delete_repo("a", force=True)
    assert not a.list_branch("down")[0].provenance
    assert a.inspect_commit(("down", "master")).direct_provenance == []


def test_commits_are_paged(a: Client) -> None:
    ids = [put(a, "a", {"/f": b"%d" % number}) for number in range(4)]
    a.create_branch("a", "empty")

    def listed(**fields: Any) -> list[str]:
        request = pfs_pb2.ListCommitRequest(repo=branch_of("a", "").repo, **fields)
        return [info.commit.id for info in a.pfs.ListCommit(request)]

    empty = a.inspect_commit(("a", "empty")).commit.id
    assert listed(all=True) == [empty, *ids[::-1]]
    assert listed(origin_kind=pfs_pb2.AUTO) == [empty]
    assert listed(origin_kind=pfs_pb2.USER, number=2) == [ids[3], ids[2]]
    assert listed(origin_kind=pfs_pb2.USER, number=-1) == ids[::-1]
    assert listed(origin_kind=pfs_pb2.USER, reverse=True, number=3) == ids[:3]
    before = a.inspect_commit(("a", ids[2])).started
    assert listed(started_time=before) == [ids[1], ids[0]]
    to = commit_of(("a", ids[2]))
    assert listed(to=to, number=2) == [ids[2], ids[1]]
    assert listed(to=to, **{"from": commit_of(("a", ids[0]))}) == [ids[2], ids[1]]


def test_a_wait_is_for_a_state(a: Client) -> None:
    a.create_repo("down")
    a.create_branch("down", "master", provenance=[branch_of("a", "master")])
    up = start(a)
    down = a.inspect_commit(("down", "master")).commit

    def reached(commit: pfs_pb2.Commit, state: pfs_pb2.CommitState) -> bool:
        request = pfs_pb2.InspectCommitRequest(commit=commit, wait=state)
        found: list[pfs_pb2.CommitInfo] = []
        thread = threading.Thread(target=lambda: found.append(a.pfs.InspectCommit(request)), daemon=True)
        thread.start()
        thread.join(0.1)
        waiting.append(thread)
        return bool(found)

    waiting: list[threading.Thread] = []
    assert reached(down, pfs_pb2.STARTED)
    assert not reached(down, pfs_pb2.READY)
    assert reached(up, pfs_pb2.READY)
    assert not reached(up, pfs_pb2.FINISHING)
    assert not reached(up, pfs_pb2.FINISHED)
    finish(a, up)
    for state in (pfs_pb2.READY, pfs_pb2.FINISHING, pfs_pb2.FINISHED):
        until(lambda state=state: reached(up, state))  # type: ignore[misc]
    until(lambda: reached(down, pfs_pb2.READY))
    assert not reached(down, pfs_pb2.FINISHING)
    a.finish_commit(down)
    for thread in waiting:
        thread.join(20)
        assert not thread.is_alive()


def first(call: Any, count: int) -> list[str]:
    """The ids of so many answers of a stream that has no end."""
    ids = [info.commit.id for info in itertools.islice(call, count)]
    call.cancel()
    return ids


def test_a_subscription_brings_commits_in_their_order(a: Client) -> None:
    ids = [put(a, "a", {"/f": b"%d" % number}) for number in range(3)]
    aside = put(a, "a", {"/f": b"x"}, branch="aside")
    a.create_branch("a", "empty")
    empty = a.inspect_commit(("a", "empty")).commit.id
    repo = branch_of("a", "").repo

    def subscribe(**fields: Any) -> Any:
        return a.pfs.SubscribeCommit(pfs_pb2.SubscribeCommitRequest(repo=repo, **fields))

    assert first(subscribe(branch="master", origin_kind=pfs_pb2.USER), 3) == ids
    assert first(subscribe(all=True), 5) == [*ids, aside, empty]
    assert first(subscribe(origin_kind=pfs_pb2.AUTO), 1) == [empty]
    since = commit_of(("a", ids[0]))
    assert first(subscribe(branch="master", **{"from": since}), 2) == ids[1:]
    later = subscribe(branch="master", state=pfs_pb2.FINISHED, **{"from": commit_of(("a", ids[2]))})
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.extend(first(later, 1)), daemon=True)
    reader.start()
    commit = start(a)
    reader.join(0.1)
    assert found == []
    finish(a, commit)
    reader.join(20)
    assert found == [commit.id]
    a.create_repo("b")
    other = pfs_pb2.SubscribeCommitRequest(repo=branch_of("b", "").repo)
    getattr(other, "from").CopyFrom(since)
    sentence = "the `from` commit needs to be from repo default/b"
    assert refused(lambda: a.pfs.SubscribeCommit(other)) == ("UNKNOWN", sentence)


def test_a_subscription_may_come_before_the_repo(client: Client) -> None:
    call = client.pfs.SubscribeCommit(pfs_pb2.SubscribeCommitRequest(repo=branch_of("late", "").repo))
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.extend(first(call, 1)), daemon=True)
    reader.start()
    client.create_repo("late")
    id = put(client, "late", {"/f": b"1"})
    reader.join(20)
    assert found == [id]


def test_a_subscription_ends_when_its_client_goes(a: Client) -> None:
    call = a.pfs.SubscribeCommit(pfs_pb2.SubscribeCommitRequest(repo=branch_of("a", "").repo))
    call.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() == grpc.StatusCode.CANCELLED


def sets(client: Client, project: str = "") -> list[tuple[str, list[str]]]:
    request = pfs_pb2.ListCommitSetRequest(project=pfs_pb2.Project(name=project))
    answers = client.pfs.ListCommitSet(request)
    return [(info.commit_set.id, [each.commit.repo.name for each in info.commits]) for info in answers]


def test_commit_sets_are_listed_newest_first_with_what_they_build_on(a: Client) -> None:
    a.create_repo("b")
    a.create_repo("down")
    first_id = put(a, "a", {"/f": b"1"})
    a.create_branch("down", "master", provenance=[branch_of("a", "master"), branch_of("b", "master")])
    branch_set = a.inspect_commit(("down", "master")).commit.id
    a.finish_commit(("down", "master"))
    last = put(a, "b", {"/f": b"2"})
    found = sets(a)
    assert [id for id, _ in found] == [last, branch_set, first_id]
    assert [sorted(names) for _, names in found] == [["a", "b", "down"], ["a", "b", "down"], ["a"]]
    assert all(names[-1] == "down" for _, names in found[:2])
    assert sets(a, "default") == found
    assert sets(a, "none") == []


def test_a_set_goes_only_before_what_was_made_from_it(a: Client) -> None:
    a.create_repo("b")
    a.create_repo("down")
    ids = [put(a, "a", {"/f": b"1"})]
    a.create_branch("down", "master", provenance=[branch_of("a", "master"), branch_of("b", "master")])
    ids += [a.inspect_commit(("down", "master")).commit.id]
    a.finish_commit(("down", "master"))
    ids += [put(a, "b", {"/f": b"2"})]
    a.finish_commit(("down", "master"))
    shown = " ".join(f'id:"{id}"' for id in (ids[2], ids[1]))
    sentence = f'commit set "id:\\"{ids[0]}\\"" cannot be dropped because it has subvenant commit sets: [{shown}]'
    assert refused(lambda: a.drop_commit(ids[0])) == ("UNKNOWN", sentence)
    squash: Callable[[str], object] = lambda id: a.pfs.SquashCommitSet(  # noqa: E731
        pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=id))
    )
    assert refused(lambda: squash(ids[2])) == (
        "UNKNOWN",
        "cannot squash a commit that has no children as that would cause data loss,"
        f" use the drop operation instead: default/b@{ids[2]}",
    )
    a.drop_commit(ids[2])
    assert a.inspect_commit(("b", "master")).commit.id == ids[1]
    assert a.inspect_commit(("down", "master")).commit.id == ids[1]


def test_a_commit_that_heads_two_branches_can_be_dropped(a: Client) -> None:
    id = put(a, "a", {"/f": b"1"})
    a.create_branch("a", "other", head_commit=("a", id))
    a.drop_commit(id)
    heads = {info.branch.name: info.head.id for info in a.list_branch("a")}
    assert set(heads) == {"master", "other"}
    assert len(set(heads.values())) == 1
    assert a.list_file(("a", "other"), "/") == []


def test_a_branch_keeps_the_order_of_its_provenance_in_its_first_commit(a: Client) -> None:
    for repo in ("x", "y", "down"):
        a.create_repo(repo)
        put(a, repo, {"/f": b"1"})

    def made_from() -> list[str]:
        return [each.repo.name for each in a.inspect_commit(("down", "out")).direct_provenance]

    a.create_branch("down", "out", provenance=[branch_of("y", "master"), branch_of("x", "master")])
    assert made_from() == ["y", "x"]
    put(a, "x", {"/f": b"2"})
    assert made_from() == ["x", "y"]


def test_branches_are_listed_newest_first(a: Client) -> None:
    for name in ("x", "y", "z"):
        a.create_branch("a", name)
    names = [info.branch.name for info in a.list_branch("a")]
    assert names == ["z", "y", "x"]
    request = pfs_pb2.ListBranchRequest(repo=branch_of("a", "").repo, reverse=True)
    assert [info.branch.name for info in a.pfs.ListBranch(request)] == names[::-1]
    missing = pfs_pb2.InspectBranchRequest(branch=branch_of("a", "none"))
    sentence = 'branch "none" not found in repo default/a'
    assert refused(lambda: a.pfs.InspectBranch(missing)) == ("NOT_FOUND", sentence)


def test_a_branch_that_others_depend_on_names_them(a: Client) -> None:
    for repo in ("c", "b", "b-x"):
        a.create_repo(repo)
        a.create_branch(repo, "master", provenance=[branch_of("a", "master")])
    delete = pfs_pb2.DeleteBranchRequest(branch=branch_of("a", "master"))
    assert refused(lambda: a.pfs.DeleteBranch(delete)) == (
        "UNKNOWN",
        "branch master has [default/b-x@master default/b@master default/c@master] as subvenance,"
        " deleting it would break those branches",
    )
    cycle = partial(a.create_branch, "a", "master", provenance=[branch_of("b", "master")])
    sentence = 'branch "default/b@master" cannot be both in "default/a@master"\'s provenance and subvenance'
    assert refused(cycle) == ("UNKNOWN", sentence)


def test_the_head_of_a_branch_is_a_commit_of_its_repo(a: Client) -> None:
    first_id, second = (put(a, "a", {"/f": b"%d" % number}) for number in range(2))
    a.create_branch("a", "master", head_commit=("a", first_id))
    assert a.inspect_commit(("a", "master")).commit.id == first_id
    a.create_branch("a", "fresh", head_commit=("a", second))
    assert a.get_file(("a", "fresh"), "/f") == b"1"
    code, details = refused(partial(a.create_branch, "a", "x", head_commit=("a", ID)))
    sentence = f"unable to inspect default/a@{ID}: commit default/a@{ID} not found"
    assert (code, details) == ("NOT_FOUND", sentence)
    a.create_branch("a", "master")
    assert a.inspect_commit(("a", "master")).commit.id == first_id


def test_a_set_that_is_all_of_its_branches_can_be_dropped(a: Client) -> None:
    a.create_repo("down")
    a.create_branch("down", "out", provenance=[branch_of("a", "master")])
    id = a.inspect_commit(("down", "out")).commit.id
    a.drop_commit(id)
    head = a.inspect_commit(("down", "out"))
    assert head.commit.id != id
    assert [each.id for each in head.direct_provenance] == [a.inspect_commit(("a", "master")).commit.id]
    assert refused(lambda: a.inspect_commit_set(id)) == ("NOT_FOUND", f"no commits found for commitset {id}")


def test_a_wait_ends_when_its_commit_is_dropped(a: Client) -> None:
    commit = start(a)
    ended: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: ended.append(refused(lambda: a.wait_commit(commit))), daemon=True)
    thread.start()
    thread.join(0.2)
    assert not ended
    a.drop_commit(commit.id)
    thread.join(20)
    assert ended == [("UNKNOWN", f"commit default/a@{commit.id} was deleted")]
