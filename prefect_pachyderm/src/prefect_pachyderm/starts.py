"""New jobs of pipelines that are there, whatever has run before."""

from __future__ import annotations

from collections.abc import Callable

import python_pachyderm
from google.protobuf import json_format
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import PachydermError, readable
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.jobs import PachydermJob
from prefect_pachyderm.names import split
from prefect_pachyderm.pipelines import send, starting


@task(name="run pipeline", task_run_name="run {name}", cache_policy=NO_CACHE)
def run_pipeline(
    name: str, credentials: PachydermCredentials | None = None, timeout_seconds: float | None = None
) -> PachydermJob:
    """Starts a job of a pipeline on its newest input, also where one has succeeded on it; one that is on is ended by it.

    It is an update to the same specification, as Pachyderm 2.7 has no other way. A task that is tried again starts another job.

    Raises:
        PachydermError: there is no such pipeline, it is stopped, or Pachyderm can't be reached.

    Example:
        Run what has run before:
        ```python
        from prefect import flow
        from prefect_pachyderm import run_pipeline


        @flow
        def again() -> None:
            run_pipeline("count").wait_for_completion()
        ```
    """

    def start(client: python_pachyderm.Client, info: pps_proto.PipelineInfo) -> None:
        send(client, [_again(info)])

    return _start(name, start, credentials, timeout_seconds)


@task(name="run cron", task_run_name="tick {name}", cache_policy=NO_CACHE)
def run_cron(
    name: str, credentials: PachydermCredentials | None = None, timeout_seconds: float | None = None
) -> PachydermJob:
    """Ticks all cron inputs of a pipeline now, and gives the job that begins by it. A task that is tried again ticks again.

    Raises:
        PachydermError: there is no such pipeline, it has no cron input or is stopped, or Pachyderm can't be reached.

    Example:
        Have a pipeline's next tick now:
        ```python
        from prefect import flow
        from prefect_pachyderm import run_cron


        @flow
        def now() -> None:
            run_cron("nightly").wait_for_completion()
        ```
    """

    def tick(client: python_pachyderm.Client, info: pps_proto.PipelineInfo) -> None:
        client.run_cron(info.pipeline.name, project_name=info.pipeline.project.name)

    return _start(name, tick, credentials, timeout_seconds)


def _start(
    name: str,
    start: Callable[[python_pachyderm.Client, pps_proto.PipelineInfo], None],
    credentials: PachydermCredentials | None,
    timeout_seconds: float | None,
) -> PachydermJob:
    """The job of a pipeline that begins by a call."""
    credentials = credentials or PachydermCredentials()
    logger = get_run_logger()
    with readable(f"Running pipeline {name}"):
        client = credentials.get_client()
        project, plain = split(name)
        info = next(iter(client.inspect_pipeline(plain, details=True, project_name=project)))
        if info.stopped:
            raise PachydermError(f"Pipeline {name} is stopped and runs no job; start it first.")
        with starting(client, credentials, [name], logger) as newest:
            start(client, info)
    logger.info("Started job %s@%s", name, newest[name])
    return PachydermJob(name, newest[name], credentials, timeout_seconds)


def _again(info: pps_proto.PipelineInfo) -> pps_proto.CreatePipelineRequest:
    """The request that makes a pipeline as it is run anew."""
    request = pps_proto.CreatePipelineRequest(pipeline=info.pipeline, update=True, reprocess=True)
    details = json_format.MessageToDict(info.details, preserving_proto_field_name=True)
    # With the old salt nothing would run again.
    kept = (details.keys() & request.DESCRIPTOR.fields_by_name.keys()) - {"salt"}
    return json_format.ParseDict({field: details[field] for field in kept}, request)
