"""The two pipelines, created or updated from their specs only when something differs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import grpc
import python_pachyderm
from google.protobuf import json_format
from prefect import get_run_logger, task
from python_pachyderm.service import pps_grpc, pps_proto

from tasks.pachyderm import connect, readable

PIPELINES = ("GoT_train", "GoT_generate")
SPECS = Path(__file__).parent.parent / "pipeline_specs"
SPEC_HASH = "scriptwright/spec-sha256"
ENDED_BADLY = (pps_proto.JOB_FAILURE, pps_proto.JOB_KILLED, pps_proto.JOB_UNRUNNABLE)


@task(name="create pipelines")
def create_pipelines(arguments: dict[str, dict[str, str]]) -> dict[str, str]:
    """Makes each pipeline run its rendered spec on the newest input; returns pipeline → id of its newest job.

    `arguments` are the jsonnet top-level arguments by pipeline. A pipeline whose spec is unchanged is left alone, unless
    its newest job ended badly: that one is tried again. What changes, changes in one transaction, so in one job set.
    """
    logger = get_run_logger()
    client = connect()
    with readable("Creating the pipelines"):
        requests = {name: _render(client, name, arguments[name]) for name in PIPELINES}
        due = [name for name, request in requests.items() if _is_due(client, name, request)]
        if due:
            with client.transaction():
                for name in due:
                    client.create_pipeline_from_request(requests[name])
        for name in PIPELINES:
            logger.info("Pipeline %s %s", name, "created or updated" if name in due else "is up to date")
        return {name: client.inspect_branch(name, "master").head.id for name in PIPELINES}


def _render(client: python_pachyderm.Client, name: str, arguments: dict[str, str]) -> pps_proto.CreatePipelineRequest:
    template = (SPECS / f"{name}.jsonnet").read_text()
    stub = pps_grpc.APIStub(client._channel)
    rendered = stub.RenderTemplate(pps_proto.RenderTemplateRequest(template=template, args=arguments))
    spec = json.loads(rendered.json)
    request = json_format.ParseDict(spec, pps_proto.CreatePipelineRequest())
    canonical = json.dumps(spec, sort_keys=True).encode()
    request.metadata.annotations[SPEC_HASH] = hashlib.sha256(canonical).hexdigest()
    return request


def _is_due(client: python_pachyderm.Client, name: str, request: pps_proto.CreatePipelineRequest) -> bool:
    """Whether `request` has to be sent; marks it as an update that runs again what has run, if the pipeline exists."""
    try:
        info = next(iter(client.inspect_pipeline(name, details=True)))
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:  # type: ignore[attr-defined]
            return True
        raise
    request.update = True
    if info.details.metadata.annotations.get(SPEC_HASH) != request.metadata.annotations[SPEC_HASH]:
        request.reprocess = True
        return True
    return info.last_job_state in ENDED_BADLY
