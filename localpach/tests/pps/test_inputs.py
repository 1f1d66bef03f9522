"""What inputs make of what is in PFS: which datums, and what each of them sees."""

from __future__ import annotations

import itertools
import time
from threading import Event

import grpc
import pytest

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import content, last_job, pfs, pipeline, put, refused


def seen(client: Client, input: pps_pb2.Input) -> list[list[str]]:
    """The `repo` and path of each datum's inputs, for an input that need not be in a pipeline."""
    datums = client.pps.ListDatum(pps_pb2.ListDatumRequest(input=input))
    return sorted([f"{each.file.commit.repo.name}{each.file.path}" for each in datum.data] for datum in datums)


@pytest.fixture
def three(client: Client) -> Client:
    """Repos `a`, `b` and `c`, each with a file of its own and one that the others have, too."""
    for repo in "abc":
        client.create_repo(repo)
        put(client, repo, {"/all.txt": b"x", f"/{repo}.txt": b"y"})
    put(client, "b", {"/a.txt": b"z"})
    return client


def test_a_join_brings_equal_keys_together(three: Client) -> None:
    sides = [pfs(repo, "/(*).txt", join_on="$1") for repo in "ab"]
    assert seen(three, pps_pb2.Input(join=sides)) == [["a/a.txt", "b/a.txt"], ["a/all.txt", "b/all.txt"]]


def test_an_outer_join_keeps_only_the_outer_sides_where_a_key_is_missing(three: Client) -> None:
    sides = [pfs(repo, "/(*).txt", join_on="$1", outer_join=repo == "a") for repo in "abc"]
    assert seen(three, pps_pb2.Input(join=sides)) == [["a/a.txt"], ["a/all.txt", "b/all.txt", "c/all.txt"]]


def test_a_group_gathers_all_that_share_a_key_even_below_other_inputs(three: Client) -> None:
    a, b, c = (pfs(repo, "/(*).txt", group_by="$1") for repo in "abc")
    expected = [
        ["a/a.txt", "b/a.txt"],
        ["a/all.txt", "b/all.txt", "c/all.txt"],
        ["b/b.txt"],
        ["c/c.txt"],
    ]
    assert seen(three, pps_pb2.Input(group=[a, b, c])) == expected
    assert seen(three, pps_pb2.Input(group=[a, pps_pb2.Input(union=[b, c])])) == expected


def test_a_cross_of_a_union_pairs_each_with_each(three: Client) -> None:
    either = pps_pb2.Input(union=[pfs("a", "/all.txt", name="u"), pfs("b", "/all.txt", name="u")])
    crossed = pps_pb2.Input(cross=[either, pfs("c", "/")])
    assert seen(three, crossed) == [["a/all.txt", "c/"], ["b/all.txt", "c/"]]


def test_the_environment_names_inputs_and_keys(three: Client) -> None:
    sides = [pfs(repo, "/(*).txt", join_on="$1") for repo in "ab"]
    pipeline(
        three,
        "env",
        'echo $a $PACH_DATUM_a_JOIN_ON $FOO > "/pfs/out/$PACH_DATUM_b_JOIN_ON"',
        pps_pb2.Input(join=sides),
    )
    last_job(three, "env")
    assert content(three, "env", "/all") == b"/pfs/a/all.txt all\n"


def test_empty_files_have_names_only_and_lazy_ones_all(three: Client) -> None:
    pipeline(three, "empty", "cat /pfs/a/* | wc -c > /pfs/out/n", pfs("a", "/", empty_files=True))
    pipeline(three, "lazy", "cat /pfs/a/* | wc -c > /pfs/out/n", pfs("a", "/", lazy=True))
    pipeline(three, "named", "ls /pfs/a > /pfs/out/names", pfs("a", "/all.txt", empty_files=True))
    for name in ("empty", "lazy", "named"):
        assert last_job(three, name).state == pps_pb2.JOB_SUCCESS
    assert int(content(three, "lazy", "/n")) == 2
    assert content(three, "named", "/names") == b"all.txt\n"


def test_links_to_empty_files_bring_what_is_in_them(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/d/a": b"1", "/d/b": b"22", "/e": b"333", "/none": b""})
    script = """
      cd /pfs/out && ln -s ../in/d all && ln -s /pfs/in/e e && ln -s /pfs/in/none none && cp /pfs/in/e copy
      echo mine > /pfs/in/mine && ln -s /pfs/in/mine mine
    """
    pipeline(client, "shuffle", script, pfs("in", "/", empty_files=True), datum_tries=1)
    assert last_job(client, "shuffle").state == pps_pb2.JOB_SUCCESS
    files = {"/all/a": b"1", "/all/b": b"22", "/e": b"333", "/none": b"", "/copy": b"", "/mine": b"mine\n"}
    assert {path: content(client, "shuffle", path) for path in files} == files


def test_each_tick_of_a_cron_is_a_datum(client: Client) -> None:
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@never"))
    pipeline(client, "clock", "cp /pfs/tick/* /pfs/out/", cron)
    client.run_cron("clock")
    last_job(client, "clock")
    time.sleep(1.1)
    client.run_cron("clock")
    job = last_job(client, "clock")
    assert (job.data_total, job.data_processed, job.data_skipped) == (2, 1, 1)


def test_a_cron_that_overwrites_has_one_tick(client: Client) -> None:
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@never", overwrite=True))
    pipeline(client, "clock", "ls /pfs/tick > /pfs/out/seen", cron)
    client.run_cron("clock")
    time.sleep(1.1)
    client.run_cron("clock")
    job = last_job(client, "clock")
    assert (job.data_total, job.data_processed) == (1, 1)


def test_datums_of_a_job_are_listed_by_state_and_inspected(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/good": b"1", "/bad": b"2"})
    pipeline(client, "picky", "test -e /pfs/in/good", pfs("in"), datum_tries=1)
    job = last_job(client, "picky")
    failed = list(
        client.list_datum("picky", job.job.id, filter=pps_pb2.ListDatumRequest.Filter(state=[pps_pb2.FAILED]))
    )
    assert [[each.file.path for each in datum.data] for datum in failed] == [["/bad"]]
    assert job.reason == f"datum {failed[0].datum.id} failed"
    shown = client.pps.InspectDatum(pps_pb2.InspectDatumRequest(datum=failed[0].datum))
    assert shown.state == pps_pb2.FAILED


@pytest.mark.parametrize(
    ("input", "code", "text"),
    [
        (pfs("in", "/*", s3=True), grpc.StatusCode.UNKNOWN, "inputs that set 's3' to 'true' must also set 'glob'"),
        (pfs("in", "/", commit="1" * 32), grpc.StatusCode.UNKNOWN, "input cannot come from a commit"),
        (pfs("in", "/", name=".env"), grpc.StatusCode.UNKNOWN, "input cannot be named .env"),
        (pfs("in", ""), grpc.StatusCode.UNKNOWN, "input must specify a glob"),
        (pps_pb2.Input(), grpc.StatusCode.UNKNOWN, "no input set"),
    ],
)
def test_an_input_that_can_not_be_is_refused(
    client: Client, input: pps_pb2.Input, code: grpc.StatusCode, text: str
) -> None:
    client.create_repo("in")
    with pytest.raises(grpc.RpcError, match=text) as caught:
        pipeline(client, "wrong", "true", input)
    assert caught.value.code() == code
    assert not client.list_pipeline()


def test_datums_of_an_input_are_made_as_many_as_are_asked_for(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {f"/{number}": b"1" for number in range(7)})
    start = pps_pb2.CreateDatumRequest(start=pps_pb2.StartCreateDatumRequest(input=pfs("in"), number=3))
    more, rest = pps_pb2.CreateDatumRequest(), pps_pb2.CreateDatumRequest()
    getattr(more, "continue").number = 2
    getattr(rest, "continue").SetInParent()
    assert len(list(client.pps.CreateDatum(iter([start])))) == 3
    assert len(list(client.pps.CreateDatum(iter([start, more])))) == 5
    # All that there is ends the stream, though the client has not ended its own.
    sent = iter([start, more, rest])
    found = list(client.pps.CreateDatum(itertools.chain(sent, iter(Event().wait, True))))
    assert sorted(path for info in found for path in (each.file.path for each in info.data)) == [
        f"/{number}" for number in range(7)
    ]
    assert refused(lambda: client.pps.CreateDatum(iter([more])))[0] == "UNKNOWN"
    assert refused(lambda: client.pps.CreateDatum(iter([start, start])))[0] == "UNKNOWN"
