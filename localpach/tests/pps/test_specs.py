"""Specs: what each field of a request becomes, and the defaults where it is silent."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import LocalpachError
from localpach.pps import specs
from localpach.proto import pps_pb2

CREATED = Timestamp(seconds=1_700_000_000)
# What is no field of a spec's meaning but says what to do with it, and what is refused.
COMMANDS = {
    "pipeline",
    "update",
    "reprocess",
    "dry_run",
    "input",
    "transform",
    "salt",
    "spec_commit",
    "determined",
    "tf_job",
}


def request(**fields: Any) -> pps_pb2.CreatePipelineRequest:
    fields = {"pipeline": pps_pb2.Pipeline(name="p"), "transform": pps_pb2.Transform(cmd=["true"])} | fields
    return pps_pb2.CreatePipelineRequest(**fields)


def info(old: pps_pb2.PipelineInfo | None = None, **fields: Any) -> pps_pb2.PipelineInfo:
    return specs.pipeline_info(request(**fields), 3, old, CREATED)


def fill(message: Message, field: Any) -> None:
    """Gives a field a value that is no default."""
    value: Any
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        inner = field.message_type
        assert inner is not None
        if inner.GetOptions().map_entry:
            getattr(message, field.name)["k"] = "v"
            return
        target = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
        target.SetInParent()
        for each in inner.fields:
            if each.type not in (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_ENUM) and not each.is_repeated:
                fill(target, each)
        return
    value = {FieldDescriptor.CPPTYPE_STRING: "text", FieldDescriptor.CPPTYPE_BOOL: True}.get(field.cpp_type, 7)
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


DETAILS = pps_pb2.PipelineInfo.Details.DESCRIPTOR.fields_by_name
FIELDS = [
    field
    for field in pps_pb2.CreatePipelineRequest.DESCRIPTOR.fields
    if field.name in DETAILS and field.name not in COMMANDS
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_is_kept_as_it_was_given(field: FieldDescriptor) -> None:
    spec = request()
    fill(spec, field)
    details = specs.pipeline_info(spec, 1, None, CREATED).details
    assert getattr(details, field.name) == getattr(spec, field.name)
    bare = info().details
    if field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated:
        assert not bare.HasField(field.name)


def test_most_fields_are_kept() -> None:
    assert len(FIELDS) > 20


def test_what_is_left_out_has_a_default() -> None:
    made = info(input=pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/")))
    details = made.details
    assert (made.pipeline.project.name, made.pipeline.name, made.version, made.parallelism) == ("default", "p", 3, 1)
    assert made.type == pps_pb2.PipelineInfo.PIPELINE_TYPE_TRANSFORM
    assert (details.output_branch, details.datum_tries, details.reprocess_spec) == ("master", 3, "until_success")
    assert (details.transform.image, list(details.transform.cmd)) == ("ubuntu:20.04", ["true"])
    assert details.created_at == CREATED
    pfs = details.input.pfs
    assert (pfs.project, pfs.name, pfs.branch, pfs.repo_type) == ("default", "in", "master", "user")
    assert not info().details.HasField("input")


def test_what_is_said_stands() -> None:
    pfs = pps_pb2.PFSInput(project="x", repo="in", name="n", branch="b", repo_type="meta", glob="/")
    cron = pps_pb2.CronInput(name="t", repo="r", project="y", spec="@daily", start=Timestamp(seconds=5))
    both = pps_pb2.Input(cross=[pps_pb2.Input(pfs=pfs), pps_pb2.Input(cron=cron)])
    named = pps_pb2.Pipeline(name="p")
    named.project.name = "own"
    made = info(
        pipeline=named,
        input=both,
        parallelism_spec=pps_pb2.ParallelismSpec(constant=4),
        transform=pps_pb2.Transform(cmd=["x"], image="i"),
        output_branch="out",
        datum_tries=9,
        reprocess_spec="every_job",
    )
    assert made.details.input == both
    assert (made.pipeline.project.name, made.parallelism, made.details.transform.image) == ("own", 4, "i")
    assert (made.details.output_branch, made.details.datum_tries) == ("out", 9)
    assert made.details.reprocess_spec == "every_job"


def test_inputs_are_of_the_pipelines_project() -> None:
    named = pps_pb2.Pipeline(name="p")
    named.project.name = "own"
    leaves = [
        pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/")),
        pps_pb2.Input(cron=pps_pb2.CronInput(name="t", spec="@daily")),
    ]
    pfs, cron = info(pipeline=named, input=pps_pb2.Input(cross=leaves)).details.input.cross
    assert pfs.pfs.project == cron.cron.project == "own"
    assert (cron.cron.repo, cron.cron.start) == ("p_t", CREATED)


def test_the_salt_stays_until_all_is_to_run_again() -> None:
    first = info()
    assert len(first.details.salt) == 32
    assert info(first).details.salt == first.details.salt
    assert info(first, reprocess=True).details.salt != first.details.salt
    assert info().details.salt != first.details.salt
    assert info(first, salt="own").details.salt == "own"


IN_JOBS = {field.name for field in pps_pb2.JobInfo.Details.DESCRIPTOR.fields} & {field.name for field in FIELDS}


@pytest.mark.parametrize("field", [field for field in FIELDS if field.name in IN_JOBS], ids=lambda field: field.name)
def test_a_job_shows_what_its_pipeline_had(field: FieldDescriptor) -> None:
    made = info()
    fill(made.details, next(each for each in made.details.DESCRIPTOR.fields if each.name == field.name))
    shown = specs.job_details(made, "id")
    if field.name not in ("service", "spout"):
        assert getattr(shown, field.name) == getattr(made.details, field.name)


def test_a_job_shows_its_inputs_at_its_commit() -> None:
    leaves = [
        pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/")),
        pps_pb2.Input(cron=pps_pb2.CronInput(name="t", spec="@daily")),
    ]
    made = info(input=pps_pb2.Input(cross=leaves), salt="s", datum_tries=5)
    shown = specs.job_details(made, "id")
    pfs, cron = shown.input.cross
    assert pfs.pfs.commit == cron.cron.commit == "id"
    assert (shown.salt, shown.datum_tries, shown.transform) == ("s", 5, made.details.transform)
    assert made.details.input.cross[0].pfs.commit == ""
    assert not specs.job_details(info(), "id").HasField("input")


def test_a_worker_is_named_like_a_pod() -> None:
    made = info(pipeline=pps_pb2.Pipeline(name="Big_one"))
    made.spec_commit.id = "0" * 32
    name = specs.worker_id(made)
    assert name == "default-big-one-v3-" + name[-5:]
    assert set(name[-5:]) <= set("bcdfghjklmnpqrst")
    made.spec_commit.id = "1" * 32
    assert specs.worker_id(made) != name


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"pipeline": None}, "request.Pipeline cannot be nil"),
        ({"transform": None}, "pipeline must specify a transform"),
        ({"pipeline": pps_pb2.Pipeline(name="a.b")}, 'invalid ancestry syntax "a.b", cannot mix . and b characters'),
        ({"pipeline": pps_pb2.Pipeline(name="a^b")}, 'invalid ancestry syntax "a^b", cannot mix ^ and b characters'),
        (
            {"pipeline": pps_pb2.Pipeline(name="a" * 53)},
            f'pipeline name "{"a" * 53}" is 2 characters longer than the 51 max',
        ),
        ({"service": pps_pb2.Service()}, "service.internal_port: 0 is no port from 1 to 65535"),
        (
            {"tf_job": pps_pb2.TFJob()},
            "tf_job: a pipeline that is a TFJob needs a Pachyderm cluster; leave the field out here",
        ),
        (
            {"determined": pps_pb2.Determined()},
            "determined: a pipeline that trains on Determined needs a Pachyderm cluster; leave the field out here",
        ),
        *(
            (
                {"transform": pps_pb2.Transform(cmd=["true"], env={name: "x"})},
                f"transform.env: {name!r} can't be a variable's name: write one without = and NUL",
            )
            for name in ("", "A=B", "A\0")
        ),
        (
            {"transform": pps_pb2.Transform(secrets=[pps_pb2.SecretMount(name="s", env_var="A=")])},
            "transform.secrets[0].env_var: 'A=' can't be a variable's name: write one without = and NUL",
        ),
        (
            {"transform": pps_pb2.Transform(cmd=["sh", "-c", "a\0"])},
            "transform.cmd[2]: there is a NUL character in it; leave it out",
        ),
        (
            {"transform": pps_pb2.Transform(err_cmd=["é" * (1 << 16)])},
            "transform.err_cmd[0]: 131,072 bytes are more than the 131,071 that Linux hands to a command in one piece;"
            " put them into transform.stdin or a file",
        ),
        (
            {"transform": pps_pb2.Transform(env={"A": "x" * ((1 << 17) - 2)})},
            "transform.env.A: 131,072 bytes are more than the 131,071 that Linux hands to a command in one piece;"
            " put them into transform.stdin or a file",
        ),
    ],
)
def test_what_can_not_be_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LocalpachError) as caught:
        specs.check(request(**fields))
    assert caught.value.message == sentence


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pipeline": pps_pb2.Pipeline(name="a" * 51)},
        {"pod_patch": "[]", "pod_spec": "{}"},
        {"reprocess_spec": "until_success"},
        {"reprocess_spec": "every_job"},
        {"transform": pps_pb2.Transform(cmd=["x" * ((1 << 17) - 1)], env={"A": "x" * ((1 << 17) - 3), "é": "="})},
    ],
)
def test_what_can_be_is_taken(fields: dict[str, Any]) -> None:
    specs.check(request(**fields))
