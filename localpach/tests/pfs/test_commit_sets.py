"""Commit sets: what follows from new heads, what may be removed, and what goes along with it."""

from __future__ import annotations

from functools import partial

import pytest

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client, branch_of
from tests.helpers import last_job, pfs, pipeline, put, refused, until


@pytest.fixture
def chain(client: Client) -> Client:
    """A repo `a`, and pipelines `p` and `q` in a row behind it."""
    client.create_repo("a")
    pipeline(client, "p", "cp /pfs/a/* /pfs/out/", pfs("a"))
    pipeline(client, "q", "cp /pfs/p/* /pfs/out/", pfs("p"))
    return client


def squash(client: Client, id: str) -> None:
    client.pfs.SquashCommitSet(pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=id)))


def newest(client: Client, repo: str) -> str:
    return client.inspect_commit((repo, "master")).commit.id


def test_a_set_with_children_is_not_dropped_and_one_without_is_not_squashed(client: Client) -> None:
    client.create_repo("a")
    ids = [put(client, "a", {f"/{number}": b"1"}) for number in range(3)]
    for id in ids[:2]:
        sentence = f"cannot drop a commit that has children: default/a@{id}"
        assert refused(partial(client.drop_commit, id)) == ("UNKNOWN", sentence)
    assert refused(partial(squash, client, ids[2]))[1].startswith("cannot squash a commit that has no children")
    squash(client, ids[1])
    assert [info.commit.id for info in client.list_commit("a")] == [ids[2], ids[0]]
    assert [info.file.path for info in client.list_file(("a", "master"), "/")] == ["/0", "/1", "/2"]
    client.drop_commit(ids[2])
    assert newest(client, "a") == ids[0]


def test_a_set_that_others_build_on_however_far_is_not_removed(chain: Client) -> None:
    first = put(chain, "a", {"/f": b"1"})
    chain.wait_commit(first)
    chain.create_repo("b")
    chain.create_branch("b", "master", provenance=[branch_of("q", "master")])
    last = newest(chain, "b")
    for remove in (chain.drop_commit, partial(squash, chain)):
        assert refused(partial(remove, first)) == (
            "UNKNOWN",
            f'commit set "id:\\"{first}\\"" cannot be dropped because it has subvenant commit sets: [id:"{last}"]',
        )
    of_spec = chain.list_commit("p", all=True)[-1].commit.id
    assert last in refused(partial(chain.drop_commit, of_spec))[1]


def test_a_set_that_made_a_pipeline_stays(client: Client) -> None:
    client.create_repo("a")
    put(client, "a", {"/f": b"1"})
    pipeline(client, "p", "true", pfs("a"))
    last_job(client, "p")
    id = newest(client, "p")
    for remove in (client.drop_commit, partial(squash, client)):
        sentence = f"cannot squash commit default/p.spec@{id} because it updated a pipeline"
        assert refused(partial(remove, id)) == ("UNKNOWN", sentence)


def test_a_job_goes_with_its_commit_and_holds_up_no_other(client: Client) -> None:
    client.create_repo("a")
    pipeline(client, "p", "test ! -e /pfs/a/slow || sleep 60", pfs("a", "/"))
    last_job(client, "p")
    running, waiting = put(client, "a", {"/slow": b"1"}), put(client, "a", {"/b": b"1"})
    until(lambda: client.inspect_job(running, "p").state == pps_pb2.JOB_RUNNING)
    client.drop_commit(waiting)
    assert refused(partial(client.inspect_job, waiting, "p"))[0] == "NOT_FOUND"
    client.drop_commit(running)
    assert [job.job.id for job in client.list_job("p")] == [newest(client, "p")]
    client.create_repo("b")
    pipeline(client, "other", "true", pfs("b"))
    assert last_job(client, "other").state == pps_pb2.JOB_SUCCESS
    client.delete_file(("a", "master"), "/slow")
    assert last_job(client, "p").state == pps_pb2.JOB_SUCCESS
    assert list(client.pfs.Fsck(pfs_pb2.FsckRequest())) == []


def test_a_set_is_told_with_what_others_hold_of_it_first_and_each_commit_after_its_sources(chain: Client) -> None:
    id = put(chain, "a", {"/f": b"1"})
    chain.wait_commit(id)
    repos = [info.commit.repo for info in chain.inspect_commit_set(id)]
    assert [f"{repo.name}.{repo.type}" for repo in repos] == [
        *("p.spec", "q.spec"),
        *("a.user", "p.meta", "p.user", "q.meta", "q.user"),
    ]


def test_a_pipeline_that_starts_again_gets_a_commit_and_what_is_downstream_too(chain: Client) -> None:
    chain.wait_commit(newest(chain, "q"))
    before = newest(chain, "p"), newest(chain, "q")
    chain.stop_pipeline("p")
    assert (newest(chain, "p"), newest(chain, "q")) == before
    chain.start_pipeline("p")
    after = newest(chain, "p")
    assert after not in before
    assert newest(chain, "q") == after
    chain.start_pipeline("p")
    assert newest(chain, "p") == after


def test_a_head_set_again_is_followed_and_a_branch_named_again_is_not(chain: Client) -> None:
    id = put(chain, "a", {"/f": b"1"})
    chain.wait_commit(id)
    chain.create_branch("a", "master")
    assert newest(chain, "p") == id
    chain.create_branch("a", "master", head_commit=("a", "master"))
    assert newest(chain, "p") == newest(chain, "q") != id


def test_projects_are_listed_oldest_first(client: Client) -> None:
    for name in ("z", "m", "a"):
        client.create_project(name)
    names = [info.project.name for info in client.pfs.ListProject(pfs_pb2.ListProjectRequest())]
    assert names == ["default", "z", "m", "a"]


def test_a_trigger_by_cron_fires_when_its_time_comes(client: Client) -> None:
    client.create_repo("a")
    trigger = pfs_pb2.Trigger(branch="staging", cron_spec="@every 1s")
    put(client, "a", {"/f": b"1"}, "staging")
    client.create_branch("a", "master", trigger=trigger)
    client.create_branch("a", "last", trigger=pfs_pb2.Trigger(branch="master", commits=1))
    first = newest(client, "a")
    head = put(client, "a", {"/g": b"1"}, "staging")
    assert head != first
    until(lambda: newest(client, "a") == head)
    assert client.inspect_commit(("a", "last")).commit.id == head


def test_a_trigger_that_also_asks_for_more_waits_for_that(client: Client) -> None:
    client.create_repo("a")
    both = pfs_pb2.Trigger(branch="staging", cron_spec="@every 1s", commits=2, all=True)
    put(client, "a", {"/f": b"1"}, "staging")
    client.create_branch("a", "master", head_commit=("a", "staging"))
    client.create_branch("a", "master", trigger=both)
    first = newest(client, "a")
    put(client, "a", {"/g": b"1"}, "staging")
    timer = pfs_pb2.Trigger(branch="staging", cron_spec="@every 2s")
    client.create_branch("a", "timer", head_commit=("a", "master"))
    client.create_branch("a", "timer", trigger=timer)
    # By the time that this one has fired the other one had the time to.
    until(lambda: client.inspect_commit(("a", "timer")).commit.id != first)
    assert newest(client, "a") == first
    head = put(client, "a", {"/h": b"1"}, "staging")
    until(lambda: newest(client, "a") == head)
