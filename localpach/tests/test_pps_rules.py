"""Specs that can't be, each refused with a sentence that names what is wrong and with nothing made; and limits of lists."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from python_pachyderm import Client
from python_pachyderm.service import pfs_proto, pps_grpc, pps_proto

from tests.localpach.conftest import Server
from tests.localpach.test_pfs import put
from tests.localpach.test_pfs_rules import refused

IN = {"repo": "in", "glob": "/*"}
NAMES = "only alphanumeric characters, underscores, and dashes are allowed"


def transform(**fields: object) -> dict[str, Any]:
    return {"transform": {"cmd": ["true"], "image": "host", **fields}}


def source(**fields: object) -> dict[str, Any]:
    return {"input": {"pfs": {**IN, **fields}}}


def named(name: str) -> dict[str, Any]:
    return {"pipeline": {"name": name}}


def inputs(**kinds: object) -> dict[str, Any]:
    return {"input": kinds}


BROKEN: list[tuple[dict[str, Any], str, str]] = [
    (named(""), "UNKNOWN", "invalid pipeline spec: request.Pipeline.Name cannot be empty"),
    (named("a b"), "UNKNOWN", f"invalid pipeline name: name (a b) invalid: {NAMES}"),
    (named("_a"), "UNKNOWN", "pipeline names must start with an alphanumeric character"),
    (named("a" * 52), "UNKNOWN", f'pipeline name "{"a" * 52}" is 1 characters longer than the 51 max'),
    (named("in"), "UNKNOWN", 'pipeline "in" cannot be created because a repo with the same name already exists'),
    ({**named("q"), **inputs(pfs={"repo": "q", "glob": "/"})}, "NOT_FOUND", "repo default/q not found"),
    (source(glob=""), "UNKNOWN", "input must specify a glob"),
    (source(repo=""), "UNKNOWN", "input must specify a name"),
    (source(repo="", name="x"), "UNKNOWN", "input must specify a repo"),
    (source(repo="none"), "NOT_FOUND", "repo default/none not found"),
    (source(project="none"), "NOT_FOUND", "repo none/in not found"),
    (source(name="out"), "UNKNOWN", "input cannot be named out"),
    (source(name=".env"), "UNKNOWN", "input cannot be named .env"),
    (source(branch="a b"), "UNKNOWN", f"name (a b) invalid: {NAMES}"),
    (
        source(commit="1" * 32),
        "UNKNOWN",
        "input cannot come from a commit; use a branch with head pointing to the commit",
    ),
    (
        source(branch="t", trigger={"branch": "master", "size": "big"}),
        "UNKNOWN",
        "invalid trigger size: invalid size: 'big'",
    ),
    (source(trigger={"branch": "master", "commits": 1}), "UNKNOWN", "triggers cannot form a loop"),
    (
        source(s3=True),
        "UNIMPLEMENTED",
        "input.pfs.s3: localpach gives no S3 gateway; leave it out and read /pfs/in",
    ),
    (
        inputs(cross=[{"pfs": IN}, {"pfs": {**IN, "name": "b", "s3": True}}]),
        "UNIMPLEMENTED",
        "input.cross[1].pfs.s3: localpach gives no S3 gateway; leave it out and read /pfs/b",
    ),
    (inputs(), "UNKNOWN", "no input set"),
    (inputs(cross=[{}]), "UNKNOWN", "no input set"),
    (inputs(pfs=IN, cron={"name": "t", "spec": "@daily"}), "UNKNOWN", "multiple input types set"),
    (inputs(cross=[{"pfs": IN}, {"pfs": {**IN, "glob": "/"}}]), "UNKNOWN", 'name "in" was used more than once'),
    (inputs(cross=[{"pfs": IN}, {"pfs": {**IN, "repo": "none"}}]), "NOT_FOUND", "repo default/none not found"),
    (
        inputs(cross=[{"pfs": IN}, {"pfs": {**IN, "name": "b", "branch": "dev"}}]),
        "UNKNOWN",
        'validate DAG at end of transaction: multiple branches from the same repo, "default/in", cannot participate in a DAG',
    ),
    (inputs(cron={"spec": "@daily"}), "UNKNOWN", "input must specify a name"),
    (
        inputs(cron={"name": "t", "spec": "each day"}),
        "UNKNOWN",
        "error parsing cron-spec: Expected exactly 5 fields, found 2: each day",
    ),
    (
        inputs(cron={"name": "t", "spec": "@sometimes"}),
        "UNKNOWN",
        "error parsing cron-spec: Unrecognized descriptor: @sometimes",
    ),
    ({"output_branch": "a b"}, "UNKNOWN", f"name (a b) invalid: {NAMES}"),
    ({"pod_patch": "{"}, "UNKNOWN", "malformed PodPatch"),
    ({"pod_spec": "{"}, "UNKNOWN", "malformed PodSpec"),
    (
        {"reprocess_spec": "never"},
        "UNKNOWN",
        "invalid pipeline spec: ReprocessSpec must be one of 'until_success' or 'every_job'",
    ),
    (transform(secrets=[{"name": "none", "mount_path": "/s"}]), "UNKNOWN", "missing Kubernetes secret none"),
    (
        transform(secrets=[{"name": "none", "env_var": "S"}]),
        "UNKNOWN",
        "secret none has env_var set but is missing key",
    ),
    (
        transform(secrets=[{"name": "known", "env_var": "S", "key": "none"}]),
        "UNKNOWN",
        "Kubernetes secret known missing key none",
    ),
    (
        transform(datum_batching=True),
        "UNIMPLEMENTED",
        "transform.datum_batching: localpach starts the command once a datum; leave it out, and the loop over datums",
    ),
    ({"s3_out": True}, "UNIMPLEMENTED", "s3_out: localpach gives no S3 gateway; leave it out and write to /pfs/out"),
    (
        {"egress": {"URL": "s3://bucket"}},
        "UNIMPLEMENTED",
        "egress: a pipeline that sends files to an object store needs a Pachyderm cluster; leave the field out here",
    ),
    (
        {"spout": {}},
        "UNIMPLEMENTED",
        "spout: a pipeline that is a spout needs a Pachyderm cluster; leave the field out here",
    ),
]


@pytest.fixture
def stub(client: Client) -> pps_grpc.APIStub:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    client.create_secret("known", {"key": "value"})
    yield pps_grpc.APIStub(client._channel)
    client.delete_secret("known")


def test_a_broken_spec_is_refused_whole(client: Client, stub: pps_grpc.APIStub) -> None:
    for fields, code, sentence in BROKEN:
        spec = {**named("p"), **transform(), **source(), **fields}
        request = json_format.ParseDict(spec, pps_proto.CreatePipelineRequest())
        assert refused(partial(stub.CreatePipeline, request)) == (code, sentence), fields
    assert not list(client.list_pipeline())
    assert [info.repo.name for info in client.list_repo("")] == ["in"]
    assert [info.branch.name for info in client.list_branch("in")] == ["master"]


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({"transform": {"stdin": "not a list"}}, "transform"),
        ({"inputs": {}}, "inputs"),
        ({"datum_timeout": "soon"}, "datum_timeout"),
        ({"parallelism_spec": {"constant": -1}}, "parallelism_spec"),
        ({"input": {"pfs": {"glob": 1}}}, "input"),
    ],
)
def test_a_template_that_gives_no_spec_says_where(stub: pps_grpc.APIStub, spec: dict[str, Any], part: str) -> None:
    request = pps_proto.RenderTemplateRequest(template=json.dumps(spec))
    code, details = refused(lambda: stub.RenderTemplate(request))
    assert code == "UNKNOWN"
    assert part in details


def test_lists_of_fewer_than_no_things_are_refused(stub: pps_grpc.APIStub) -> None:
    for call in (
        lambda: stub.ListJob(pps_proto.ListJobRequest(number=-1)),
        lambda: stub.ListJobSet(pps_proto.ListJobSetRequest(number=-1)),
        lambda: stub.ListDatum(pps_proto.ListDatumRequest(number=-1)),
    ):
        assert refused(call) == ("UNKNOWN", "number must be non-negative")


def start(client: Client, name: str, command: str = "true", project: str = "default") -> None:
    """A pipeline on `in`."""
    fields = pfs_proto.Project(name=project)
    client.create_pipeline_from_request(
        pps_proto.CreatePipelineRequest(
            pipeline=pps_proto.Pipeline(name=name, project=fields),
            transform=pps_proto.Transform(cmd=["sh", "-c", command], image="host"),
            input=pps_proto.Input(pfs=pps_proto.PFSInput(repo="in", project="default", glob="/*")),
        )
    )


def test_job_sets_are_paged_and_filtered(client: Client, stub: pps_grpc.APIStub) -> None:
    client.create_project("other")
    start(client, "p")
    start(client, "q", project="other")
    ids = [put(client, "in", {"/a": b"%d" % number}) for number in range(3)]
    for id in ids:
        list(client.wait_commit(id))

    def listed(**fields: Any) -> list[pps_proto.JobSetInfo]:
        return list(stub.ListJobSet(pps_proto.ListJobSetRequest(**fields)))

    def names(sets: list[pps_proto.JobSetInfo]) -> list[str]:
        return [each.job_set.id for each in sets]

    assert names(listed(number=3)) == ids[::-1]
    assert names(listed(reverse=True))[-3:] == ids
    of_other = listed(projects=[pfs_proto.Project(name="other")], number=1)
    assert [[job.job.pipeline.name for job in each.jobs] for each in of_other] == [["q"]]
    middle = max((job.created for job in listed(number=2)[1].jobs), key=lambda moment: moment.ToNanoseconds())
    assert names(listed(paginationMarker=middle, number=1)) == [ids[0]]
    kept = listed(jqFilter='select(.job.pipeline.name == "p")', number=1)
    assert [job.job.pipeline.name for job in kept[0].jobs] == ["p"]


def until_gone(call: Callable[[], object], then: Callable[[], object]) -> tuple[str, str]:
    """What a call that waits ends with when what it waits for is deleted."""
    ended: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: ended.append(refused(call)))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    then()
    thread.join(20)
    return ended[0]


def test_a_wait_ends_when_what_it_waits_for_is_deleted(client: Client, stub: pps_grpc.APIStub, server: Server) -> None:
    start(client, "p", f"until test -e {server.root / 'gone'}; do sleep 0.02; done")
    job = next(iter(client.list_job("p"))).job
    wait = pps_proto.InspectJobRequest(job=job, wait=True)
    ended = until_gone(lambda: stub.InspectJob(wait), lambda: client.delete_job(job.id, "p"))
    assert ended == ("UNKNOWN", f"job {job.id} was deleted")
    (server.root / "gone").touch()
    commit = client.start_commit("in", "aside")
    ended = until_gone(lambda: client.wait_commit(commit), lambda: client.drop_commit(commit.id))
    assert ended == ("UNKNOWN", f"commit default/in@{commit.id} was deleted")


def test_what_needs_a_cluster_says_so(stub: pps_grpc.APIStub) -> None:
    job = pps_proto.UpdateJobStateRequest(job=pps_proto.Job(id="1" * 32))
    for call, word in ((lambda: stub.UpdateJobState(job), "StopJob"), (lambda: stub.QueryLoki(_loki()), "GetLogs")):
        code, details = refused(call)
        assert code == grpc.StatusCode.UNIMPLEMENTED.name
        assert word in details


def _loki() -> pps_proto.LokiRequest:
    return pps_proto.LokiRequest(query="{}")
