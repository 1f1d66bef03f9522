"""Specs that can't be, each refused with a sentence that names what is wrong and with nothing made; and limits of lists."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client
from tests.helpers import pfs, pipeline, put, refused

IN = {"repo": "in", "glob": "/*"}
NAMES = "only alphanumeric characters, underscores, and dashes are allowed"


def transform(**fields: object) -> dict[str, Any]:
    return {"transform": {"cmd": ["true"], "image": "host", **fields}}


def of_in(**fields: object) -> dict[str, Any]:
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
    (of_in(glob=""), "UNKNOWN", "input must specify a glob"),
    (of_in(repo=""), "UNKNOWN", "input must specify a name"),
    (of_in(repo="", name="x"), "UNKNOWN", "input must specify a repo"),
    (of_in(repo="none"), "NOT_FOUND", "repo default/none not found"),
    (of_in(project="none"), "NOT_FOUND", "repo none/in not found"),
    (of_in(name="out"), "UNKNOWN", "input cannot be named out"),
    (of_in(name=".env"), "UNKNOWN", "input cannot be named .env"),
    (of_in(branch="a b"), "UNKNOWN", f"could not create/update output branch: name (a b) invalid: {NAMES}"),
    (
        of_in(commit="1" * 32),
        "UNKNOWN",
        "input cannot come from a commit; use a branch with head pointing to the commit",
    ),
    (
        of_in(branch="t", trigger={"branch": "master", "size": "big"}),
        "UNKNOWN",
        "invalid trigger size: invalid size: 'big'",
    ),
    (of_in(branch="master", trigger={"branch": "master", "commits": 1}), "UNKNOWN", "triggers cannot form a loop"),
    (
        of_in(s3=True),
        "UNKNOWN",
        "inputs that set 's3' to 'true' must also set 'glob', to \"/\", as the s3 gateway is only able to expose data"
        " at the commit level",
    ),
    (
        inputs(cross=[{"pfs": IN}, {"pfs": {**IN, "name": "b", "glob": "/", "s3": True, "lazy": True}}]),
        "UNKNOWN",
        "input cannot specify both 's3' and 'lazy', as 's3' requires input data to be accessed via S3",
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
    ({"output_branch": "a b"}, "UNKNOWN", f"could not create/update output branch: name (a b) invalid: {NAMES}"),
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
        transform(datum_batching=True) | {"s3_out": True},
        "UNIMPLEMENTED",
        "transform.datum_batching: here a command that asks for datums has no S3 gateway, which is one datum's; leave out s3"
        " and s3_out, or the batching",
    ),
    (
        {"egress": {"URL": "file:///folder"}},
        "UNKNOWN",
        "egress: this server may not write to file:///folder; who serves allows a folder with localpach serve --egress",
    ),
    (
        {"service": {"internal_port": 80, "external_port": 80}},
        "UNKNOWN",
        "service.external_port: 80 is no port from 1024 to 65535",
    ),
    ({"service": {}}, "UNKNOWN", "service.internal_port: 0 is no port from 1 to 65535"),
    (
        {"service": {"internal_port": 80, "type": "Ingress"}},
        "UNKNOWN",
        "the following service type Ingress is not allowed",
    ),
    (
        {"service": {"internal_port": 80}, "parallelism_spec": {"constant": 2}},
        "UNKNOWN",
        "services can only be run with a constant parallelism of 1",
    ),
    (
        {"service": {"internal_port": 80}, "s3_out": True},
        "UNIMPLEMENTED",
        "service: here a service has neither S3 (s3, s3_out) nor datum_batching; leave that out",
    ),
]


@pytest.fixture
def source(client: Client) -> Iterator[Client]:
    """A client of a server with one file in repo `in` and a secret."""
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    client.create_secret("known", {"key": "value"})
    yield client
    client.delete_secret("known")


def test_a_broken_spec_is_refused_whole(source: Client) -> None:
    for fields, code, sentence in BROKEN:
        spec = {**named("p"), **transform(), **of_in(), **fields}
        request = json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest())
        assert refused(partial(source.pps.CreatePipeline, request)) == (code, sentence), fields
    assert not source.list_pipeline()
    assert [info.repo.name for info in source.list_repo("")] == ["in"]
    assert [info.branch.name for info in source.list_branch("in")] == ["master"]


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
def test_a_template_that_gives_no_spec_says_where(source: Client, spec: dict[str, Any], part: str) -> None:
    request = pps_pb2.RenderTemplateRequest(template=json.dumps(spec))
    code, details = refused(lambda: source.pps.RenderTemplate(request))
    assert code == "UNKNOWN"
    assert part in details


def test_lists_of_fewer_than_no_things_are_refused(source: Client) -> None:
    for call in (
        lambda: source.pps.ListJob(pps_pb2.ListJobRequest(number=-1)),
        lambda: source.pps.ListJobSet(pps_pb2.ListJobSetRequest(number=-1)),
        lambda: source.pps.ListDatum(pps_pb2.ListDatumRequest(number=-1)),
    ):
        assert refused(call) == ("UNKNOWN", "number must be non-negative")


def start(client: Client, name: str, command: str = "true", project: str = "default") -> None:
    """A pipeline on `in`."""
    fields = pfs_pb2.Project(name=project)
    client.pps.CreatePipeline(
        pps_pb2.CreatePipelineRequest(
            pipeline=pps_pb2.Pipeline(name=name, project=fields),
            transform=pps_pb2.Transform(cmd=["sh", "-c", command], image="host"),
            input=pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", project="default", glob="/*")),
        )
    )


def test_job_sets_are_paged_and_filtered(source: Client) -> None:
    source.create_project("other")
    start(source, "p")
    start(source, "q", project="other")
    ids = [put(source, "in", {"/a": b"%d" % number}) for number in range(3)]
    for id in ids:
        source.wait_commit(id)

    def listed(**fields: Any) -> list[pps_pb2.JobSetInfo]:
        return list(source.pps.ListJobSet(pps_pb2.ListJobSetRequest(**fields)))

    def names(sets: list[pps_pb2.JobSetInfo]) -> list[str]:
        return [each.job_set.id for each in sets]

    assert names(listed(number=3)) == ids[::-1]
    assert names(listed(reverse=True))[-3:] == ids
    of_other = listed(projects=[pfs_pb2.Project(name="other")], number=1)
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


def test_a_wait_ends_when_what_it_waits_for_is_deleted(source: Client) -> None:
    start(source, "p", "sleep 600")
    job = source.list_job("p")[0].job
    wait = pps_pb2.InspectJobRequest(job=job, wait=True)
    ended = until_gone(lambda: source.pps.InspectJob(wait), lambda: source.delete_job(job.id, "p"))
    assert ended == ("UNKNOWN", f"job {job.id} was deleted")
    commit = source.start_commit("in", "aside")
    ended = until_gone(lambda: source.wait_commit(commit), lambda: source.drop_commit(commit.id))
    assert ended == ("UNKNOWN", f"commit default/in@{commit.id} was deleted")


def test_what_needs_a_cluster_says_so(source: Client) -> None:
    job = pps_pb2.UpdateJobStateRequest(job=pps_pb2.Job(id="1" * 32))
    for call, word in (
        (lambda: source.pps.UpdateJobState(job), "StopJob"),
        (lambda: source.pps.QueryLoki(_loki()), "GetLogs"),
    ):
        code, details = refused(call)
        assert code == grpc.StatusCode.UNIMPLEMENTED.name
        assert word in details


def _loki() -> pps_pb2.LokiRequest:
    return pps_pb2.LokiRequest(query="{}")


def test_a_job_ends_that_comes_after_one_that_waits(client: Client) -> None:
    """With something in its output, too, which has no base yet."""
    for repo in ("a", "b"):
        client.create_repo(repo)
    client.start_commit("a", "master")
    pipeline(client, "p", "true", pps_pb2.Input(cross=[pfs("a"), pfs("b")]))
    newest = put(client, "b", {"/f": b"1"})
    client.put_file_bytes(("p", newest), "/left", b"2")
    client.stop_job(newest, "p")
    client.delete_all()
    assert client.list_repo() == []
