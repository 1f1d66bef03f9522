"""From a request to what a pipeline is: checks, and the defaults of Pachyderm 2.7."""

from __future__ import annotations

import hashlib
import json

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import Refused, Unimplemented
from localpach.names import DEFAULT_PROJECT, check_name, new_id
from localpach.pps import inputs, quantities, transforms
from localpach.proto import pps_pb2
from localpach.runtime.interface import PACHD_PORT

MAX_NAME = 51
MAX_PORT = 65535
DEFAULT_IMAGE = "ubuntu:20.04"
DEFAULT_TRIES = 3

# As Kubernetes has them.
SERVICE_TYPES = ("NodePort", "ClusterIP", "LoadBalancer")

# Fields that PipelineInfo.Details takes over from the request as they are.
_SAME = (
    "parallelism_spec",
    "egress",
    "output_branch",
    "resource_requests",
    "resource_limits",
    "sidecar_resource_limits",
    "sidecar_resource_requests",
    "description",
    "service",
    "spout",
    "datum_set_spec",
    "datum_timeout",
    "job_timeout",
    "datum_tries",
    "scheduling_spec",
    "pod_spec",
    "pod_patch",
    "s3_out",
    "metadata",
    "reprocess_spec",
    "autoscaling",
    "tolerations",
    "maximum_expected_uptime",
)


# Fields that JobInfo.Details takes over from those of its pipeline.
_IN_JOBS = (
    "parallelism_spec",
    "egress",
    "resource_requests",
    "resource_limits",
    "sidecar_resource_limits",
    "sidecar_resource_requests",
    "datum_set_spec",
    "datum_timeout",
    "job_timeout",
    "scheduling_spec",
    "pod_spec",
    "pod_patch",
)


def check(request: pps_pb2.CreatePipelineRequest) -> None:
    """Raises what Pachyderm raises for a spec that can't be, and Unimplemented for what needs a cluster."""
    if not request.HasField("pipeline"):
        raise Refused("request.Pipeline cannot be nil")
    _check_name(request.pipeline.name)
    if not request.HasField("transform"):
        raise Refused("pipeline must specify a transform")
    _check_resources(request)
    for field in ("pod_patch", "pod_spec"):
        if getattr(request, field):
            try:
                json.loads(getattr(request, field))
            except ValueError as error:
                raise Refused(f"malformed {'PodPatch' if field == 'pod_patch' else 'PodSpec'}") from error
    transforms.check(request.transform)
    for field, need in (
        ("determined", "trains on Determined"),
        ("tf_job", "is a TFJob"),
    ):
        if request.HasField(field):
            raise Unimplemented(f"{field}: a pipeline that {need} needs a Pachyderm cluster; leave the field out here")
    for name, service in _services(request).items():
        _check_service(request, name, service)
    if request.HasField("spout") and request.HasField("input"):
        if request.spout.HasField("service"):
            raise Unimplemented("spout.service: here a spout has no input, even where it has a port; leave that out")
        raise Refused("spout pipelines (without a service) must not have an input")
    if request.reprocess_spec not in ("", "until_success", "every_job"):
        raise Refused("invalid pipeline spec: ReprocessSpec must be one of 'until_success' or 'every_job'")
    if request.transform.datum_batching and (request.s3_out or _has_s3(request)):
        raise Unimplemented(
            "transform.datum_batching: here a command that asks for datums has no S3 gateway, which is one datum's; leave"
            " out s3 and s3_out, or the batching"
        )


def _services(
    spec: pps_pb2.CreatePipelineRequest | pps_pb2.PipelineInfo.Details,
) -> dict[str, pps_pb2.Service]:
    """What a spec says of services, by the fields that say it."""
    places = {"service": spec, "spout.service": spec.spout}
    return {name: place.service for name, place in places.items() if place.HasField("service")}


def _check_service(request: pps_pb2.CreatePipelineRequest, name: str, service: pps_pb2.Service) -> None:
    if request.HasField("parallelism_spec") and request.parallelism_spec.constant != 1:
        raise Refused("services can only be run with a constant parallelism of 1")
    if service.type not in ("", *SERVICE_TYPES):
        raise Refused(f"the following service type {service.type} is not allowed")
    for field, least in (("internal_port", 1), ("external_port", 1024)):
        port = getattr(service, field)
        if not least <= port <= MAX_PORT and (port or field == "internal_port"):
            raise Refused(f"{name}.{field}: {port} is no port from {least} to {MAX_PORT}")
    if request.HasField("spout") and service.internal_port == PACHD_PORT:
        raise Refused(f"{name}.internal_port: at {PACHD_PORT} a spout finds Pachyderm; choose another")
    if request.s3_out or request.transform.datum_batching or _has_s3(request):
        raise Unimplemented(f"{name}: here a service has neither S3 (s3, s3_out) nor datum_batching; leave that out")


def _has_s3(request: pps_pb2.CreatePipelineRequest) -> bool:
    return request.HasField("input") and any(leaf.pfs.s3 for leaf in inputs.leaves(request.input))


def _type(request: pps_pb2.CreatePipelineRequest) -> pps_pb2.PipelineInfo.PipelineType:
    if request.HasField("spout"):
        return pps_pb2.PipelineInfo.PIPELINE_TYPE_SPOUT
    if request.HasField("service"):
        return pps_pb2.PipelineInfo.PIPELINE_TYPE_SERVICE
    return pps_pb2.PipelineInfo.PIPELINE_TYPE_TRANSFORM


def _check_resources(request: pps_pb2.CreatePipelineRequest) -> None:
    for field in ("resource_requests", "resource_limits", "sidecar_resource_limits", "sidecar_resource_requests"):
        for kind in ("memory", "disk"):
            quantity = getattr(getattr(request, field), kind)
            try:
                quantities.whole(quantity or "0")
            except Refused as error:
                raise Refused(f"{field}.{kind}: {error.message}") from error


def _check_name(name: str) -> None:
    if not name:
        raise Refused("invalid pipeline spec: request.Pipeline.Name cannot be empty")
    for mark in ".^":
        if mark in name:
            following = name.partition(mark)[2][:1]
            raise Refused(f'invalid ancestry syntax "{name}", cannot mix {mark} and {following} characters')
    try:
        check_name(name)
    except Refused as error:
        raise Refused(f"invalid pipeline name: {error.message}") from error
    if not name[0].isalnum():
        raise Refused("pipeline names must start with an alphanumeric character")
    if len(name) > MAX_NAME:
        raise Refused(f'pipeline name "{name}" is {len(name) - MAX_NAME} characters longer than the {MAX_NAME} max')


def pipeline_info(
    request: pps_pb2.CreatePipelineRequest, version: int, old: pps_pb2.PipelineInfo | None, created: Timestamp
) -> pps_pb2.PipelineInfo:
    """The pipeline that a checked request asks for. The salt stays that of `old` unless it is to run everything again."""
    pipeline = pps_pb2.Pipeline()
    pipeline.CopyFrom(request.pipeline)
    pipeline.project.name = pipeline.project.name or DEFAULT_PROJECT
    details = pps_pb2.PipelineInfo.Details(created_at=created)
    details.transform.CopyFrom(request.transform)
    details.transform.image = details.transform.image or DEFAULT_IMAGE
    for field in _SAME:
        _copy_field(request, details, field)
    details.output_branch = details.output_branch or "master"
    details.datum_tries = details.datum_tries or DEFAULT_TRIES
    details.reprocess_spec = details.reprocess_spec or "until_success"
    keep = old is not None and not request.reprocess
    for service in _services(details).values():
        service.type = service.type or SERVICE_TYPES[0]
    details.salt = request.salt or (old.details.salt if keep and old else new_id())
    if request.HasField("input"):
        details.input.CopyFrom(request.input)
        inputs.complete(details.input, pipeline, created)
    return pps_pb2.PipelineInfo(
        pipeline=pipeline,
        version=version,
        parallelism=max(request.parallelism_spec.constant, 1),
        type=_type(request),
        details=details,
    )


def request_of(info: pps_pb2.PipelineInfo) -> pps_pb2.CreatePipelineRequest:
    """A request that asks for a version of a pipeline."""
    request = pps_pb2.CreatePipelineRequest(pipeline=info.pipeline, transform=info.details.transform)
    for field in (*_SAME, "input"):
        _copy_field(info.details, request, field)
    return request


def _copy_field(source: Message, target: Message, field: str) -> None:
    """Sets a field as it is in another message that has one of that name."""
    value, target_value = getattr(source, field), getattr(target, field)
    if isinstance(value, Message):
        if source.HasField(field):
            target_value.CopyFrom(value)
    elif isinstance(value, (str, int, float)):
        setattr(target, field, value)
    else:
        target_value.extend(value)


def job_details(info: pps_pb2.PipelineInfo, job_id: str) -> pps_pb2.JobInfo.Details:
    """What a job of that version of a pipeline shows of its spec."""
    source = info.details
    details = pps_pb2.JobInfo.Details(salt=source.salt, datum_tries=source.datum_tries)
    details.transform.CopyFrom(source.transform)
    for field in _IN_JOBS:
        _copy_field(source, details, field)
    if source.HasField("input"):
        details.input.CopyFrom(source.input)
        for leaf in inputs.leaves(details.input):
            (leaf.pfs if leaf.HasField("pfs") else leaf.cron).commit = job_id
    return details


def worker_id(info: pps_pb2.PipelineInfo) -> str:
    """The name of the one worker that a pipeline has here, in the form of Pachyderm's pods."""
    name = f"{info.pipeline.project.name}-{info.pipeline.name}".lower().replace("_", "-")
    mark = hashlib.sha256(info.spec_commit.id.encode()).hexdigest()
    return f"{name}-v{info.version}-{''.join('bcdfghjklmnpqrst'[int(digit, 16)] for digit in mark[:5])}"
