"""What specs may leave out, what they may not say, and how pipelines made of them are listed and deleted."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from localpach.errors import Refused
from localpach.pps.quantities import MOST, whole
from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client, commit_of, job_of
from tests.helpers import last_job, pfs, pipeline, put, refused, shell

UNITS = {
    **{f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
    **{letter: Fraction(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    "": Fraction(1),
    "m": Fraction(1, 1000),
    "e3": Fraction(1000),
    "E-1": Fraction(1, 10),
}


@pytest.fixture
def source(client: Client) -> Client:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    return client


def shown(client: Client, name: str) -> pps_pb2.Input:
    request = pps_pb2.InspectPipelineRequest(pipeline=pps_pb2.Pipeline(name=name), details=True)
    input: pps_pb2.Input = client.pps.InspectPipeline(request).details.input
    return input


def test_an_input_with_a_trigger_reads_a_branch_of_its_own(source: Client) -> None:
    one = pfs("in", trigger=pfs_pb2.Trigger(commits=2))
    source.create_repo("other")
    other = pfs("other", trigger=pfs_pb2.Trigger(branch="staging", commits=1))
    named = pfs("in", name="named", branch="mine", trigger=pfs_pb2.Trigger(branch="master", commits=1))
    pipeline(source, "p", "true", pps_pb2.Input(union=[one, other]))
    assert [(each.pfs.branch, each.pfs.trigger.branch) for each in shown(source, "p").union] == [
        ("p-trigger-1", "master"),
        ("p-trigger-2", "staging"),
    ]
    pipeline(source, "q", "true", named)
    assert (shown(source, "q").pfs.branch, shown(source, "q").pfs.trigger.branch) == ("mine", "master")
    totals = []
    for number in range(3):
        put(source, "in", {f"/{number}": b"1"})
        totals.append(last_job(source, "p").data_total)
    # Of each two commits one is seen; the one that was there before the branch is the first.
    assert totals == [2, 2, 4]


@pytest.mark.parametrize("kind", ["cross", "join", "group"])
def test_inputs_that_are_seen_together_have_different_names(source: Client, kind: str) -> None:
    keys = {"join_on": "$1", "group_by": "$1"}
    same = [pfs("in", "/(*)", name="x", **keys), pfs("in", "/(*)", name="x", **keys)]
    inside = pps_pb2.Input(union=[pfs("in", "/(*)", name="y", **keys), same[0]])
    for parts in (same, [inside, same[1]]):
        call = partial(pipeline, source, "p", "true", pps_pb2.Input(**{kind: parts}))  # type: ignore[arg-type]
        assert refused(call) == ("UNKNOWN", 'name "x" was used more than once')


def test_a_pipeline_that_is_there_is_told_before_its_inputs_are_looked_at(source: Client) -> None:
    pipeline(source, "p", "true", pfs("in"))
    twice = pps_pb2.Input(cross=[pfs("in"), pfs("in")])
    assert refused(partial(pipeline, source, "p", "true", twice)) == (
        "ALREADY_EXISTS",
        'pipeline "default/p" already exists',
    )


def test_a_pipeline_does_not_read_itself(source: Client) -> None:
    pipeline(source, "p", "true", pfs("in"))
    assert refused(partial(pipeline, source, "p", "true", pfs("p"), update=True)) == (
        "UNKNOWN",
        "could not create/update output branch: repo default/p cannot be in the provenance of its own branch",
    )


@given(st.decimals(0, 10**6, places=2), st.sampled_from(sorted(UNITS)))
def test_a_quantity_is_its_number_times_its_unit(number: object, unit: str) -> None:
    exact = Fraction(str(number)) * UNITS[unit]
    assert whole(f"{number}{unit}") == min(-(-exact.numerator // exact.denominator), MOST)


@pytest.mark.parametrize("quantity", ["lots", "1 Gi", "1K", "1Kib", "Gi", "-1", "1e", "1.2.3", "0x10", "1e9999", "١"])
def test_what_is_no_quantity_is_named_with_its_field(source: Client, quantity: str) -> None:
    with pytest.raises(Refused):
        whole(quantity)
    for field in ("resource_limits", "resource_requests", "sidecar_resource_limits", "sidecar_resource_requests"):
        resources = {field: pps_pb2.ResourceSpec(memory=quantity)}
        code, sentence = refused(partial(pipeline, source, "p", "true", pfs("in"), **resources))
        assert code == "UNKNOWN"
        assert sentence.startswith(f"{field}.memory: {quantity!r} is no quantity: ")
    disk = pps_pb2.ResourceSpec(disk=quantity)
    assert refused(partial(pipeline, source, "p", "true", pfs("in"), resource_limits=disk))[1].startswith(
        "resource_limits.disk: "
    )


@pytest.mark.parametrize("quantity", ["1Pi", "1E", "128974848000m", "1e9"])
def test_kubernetes_quantities_are_limits(source: Client, quantity: str) -> None:
    pipeline(source, "p", "true", pfs("in"), resource_limits=pps_pb2.ResourceSpec(memory=quantity))
    assert last_job(source, "p").state == pps_pb2.JOB_SUCCESS


def test_a_pipeline_that_is_not_there_can_not_be_listed(source: Client) -> None:
    request = pps_pb2.ListPipelineRequest(pipeline=pps_pb2.Pipeline(name="nope"))
    assert refused(lambda: source.pps.ListPipeline(request)) == ("NOT_FOUND", 'pipeline "default/nope" not found')


def test_a_commit_set_lists_pipelines_as_they_were_for_it(source: Client) -> None:
    pipeline(source, "p", "true", pfs("in"))
    early = put(source, "in", {"/b": b"1"})
    pipeline(source, "p", "false", pfs("in"), update=True)
    pipeline(source, "q", "true", pfs("in"))
    late = put(source, "in", {"/c": b"1"})

    def listed(id: str, history: int = 0) -> list[tuple[str, int]]:
        request = pps_pb2.ListPipelineRequest(commit_set=pfs_pb2.CommitSet(id=id), history=history)
        return [(info.pipeline.name, info.version) for info in source.pps.ListPipeline(request)]

    assert listed(early) == [("p", 1)]
    assert listed(late) == [("q", 1), ("p", 2)]
    assert listed(late, -1) == [("q", 1), ("p", 2), ("p", 1)]


@pytest.mark.parametrize(
    ("program", "kept"),
    [
        ('.version == "1"', ["p"]),
        ('select(.pipeline.name == "q")', ["q"]),
        (".nope", []),
        ("false", []),
        ("0", ["q", "p"]),
    ],
)
def test_a_filter_keeps_what_its_first_result_is_true_for(source: Client, program: str, kept: list[str]) -> None:
    pipeline(source, "p", "true", pfs("in"))
    for update in (False, True):
        pipeline(source, "q", "true", pfs("in"), update=update)
    found = source.pps.ListPipeline(pps_pb2.ListPipelineRequest(jqFilter=program))
    assert [info.pipeline.name for info in found] == kept


def test_logs_since_no_time_at_all_are_all_logs(source: Client) -> None:
    pipeline(source, "p", "echo hello", pfs("in"))
    job = last_job(source, "p").job
    request = pps_pb2.GetLogsRequest(job=job_of(job.id, "p"), since=Duration())
    assert "hello" in [message.message for message in source.pps.GetLogs(request)]


def test_files_are_sent_to_no_url(source: Client) -> None:
    file = pfs_pb2.File(commit=commit_of(("in", "master")), path="/a")
    for method in ("GetFile", "GetFileTAR"):
        call = partial(getattr(source.pfs, method), pfs_pb2.GetFileRequest(file=file, URL="gs://bucket/a"))
        assert refused(call)[0] == "UNIMPLEMENTED"


def test_everything_is_deleted_whoever_reads_whose_ticks(client: Client) -> None:
    tick = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@never"))
    pipeline(client, "c", "true", tick)
    pipeline(client, "p", "true", pps_pb2.Input(cross=[pfs("c_tick"), pfs("c")]))
    client.create_pipeline("q", transform=shell("true"), input=pfs("p"))
    client.delete_all()
    assert not client.list_pipeline()
    assert not client.list_repo()


def test_pipelines_that_read_each_other_in_a_circle_are_deleted_too(source: Client) -> None:
    pipeline(source, "p", "true", pfs("in"))
    pipeline(source, "q", "true", pfs("p"))
    for name in ("q", "p"):
        source.stop_pipeline(name)
    pipeline(source, "p", "true", pps_pb2.Input(cross=[pfs("q"), pfs("p", name="own")]), update=True)
    source.delete_all()
    assert not source.list_pipeline()
