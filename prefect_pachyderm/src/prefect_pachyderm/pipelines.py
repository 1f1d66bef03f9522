"""Pipelines, created or updated from their specs only when something differs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import python_pachyderm
from prefect import get_run_logger, task
from prefect.blocks import abstract
from prefect.exceptions import TerminationSignal
from pydantic import Field
from python_pachyderm.service import pps_proto

from prefect_pachyderm import events
from prefect_pachyderm.calls import LIVE, Logger, PachydermError, PrefectPachydermError, readable, status_of
from prefect_pachyderm.commits import NEW_SETS
from prefect_pachyderm.credentials import LOGO_URL, PachydermCredentials, connect
from prefect_pachyderm.jobs import START_GRACE_SECONDS, PachydermJob
from prefect_pachyderm.names import DEFAULT, split, written
from prefect_pachyderm.runs import note_job
from prefect_pachyderm.specs import SPEC_HASH, Template, read_spec, request_of
from prefect_pachyderm.twins import twin_of

ENDED_BADLY = (pps_proto.JOB_FAILURE, pps_proto.JOB_KILLED, pps_proto.JOB_UNRUNNABLE)
OVER = (*ENDED_BADLY, pps_proto.JOB_SUCCESS)


# Given its parameter, the base would make a block type of that name here, and Prefect would register it, too.
class PachydermPipeline(abstract.JobBlock):  # type: ignore[type-arg]
    """A Pachyderm pipeline that runs as its specification says.

    Triggering it creates the pipeline, or updates it when the specification has changed, and gives the job that works on
    the newest input, which may have begun or ended before. `trigger` has an asynchronous twin, `atrigger`; in asynchronous flows
    and tasks `await pipeline.trigger()` is the same.

    Example:
        Run a pipeline on the newest commit of its input and read what it has made:
        ```python
        from prefect_pachyderm import PachydermPipeline

        pipeline = PachydermPipeline.load("BLOCK_NAME")
        job = pipeline.trigger()
        job.wait_for_completion()
        print(job.fetch_result().files)
        ```
    """

    _block_type_name = "Pachyderm Pipeline"
    _block_type_slug = "pachyderm-pipeline"
    _logo_url = LOGO_URL
    _documentation_url = "https://github.com/pachyderm/pachyderm"  # type: ignore[assignment]

    credentials: PachydermCredentials = Field(
        default_factory=PachydermCredentials, title="Credentials", description="The Pachyderm that runs the pipeline."
    )
    spec: dict[str, Any] = Field(
        title="Specification", description="The pipeline's specification, as `pachctl create pipeline -f` takes it."
    )
    reprocess: bool = Field(
        default=False,
        title="Reprocess",
        description="Run again on the newest input, also when a job has succeeded on it.",
    )
    timeout_seconds: float | None = Field(
        default=None, gt=0, title="Timeout", description="Seconds after which a job is stopped; empty waits for ever."
    )

    start_grace_seconds: float = Field(
        default=START_GRACE_SECONDS,
        gt=0,
        title="Start grace",
        description="Seconds that a job is waited for while the pipeline can't start, as without its image; then it is stopped.",
    )

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        arguments: Mapping[str, str] | None = None,
        credentials: PachydermCredentials | None = None,
    ) -> PachydermPipeline:
        """A pipeline whose specification is in a file: JSON, YAML or, rendered by Pachyderm with the arguments, jsonnet.

        Raises:
            PachydermError: the file can't be read or rendered, or holds anything but one specification.

        Example:
            Run the pipeline of a template:
            ```python
            from prefect_pachyderm import PachydermPipeline

            job = PachydermPipeline.from_file("count.jsonnet", {"repo": "texts"}).trigger()
            ```
        """
        credentials = credentials or PachydermCredentials()
        with readable(f"Reading the specification {path}"):
            spec = read_spec(Path(path), arguments or {}, credentials.get_client)
        return cls(credentials=credentials, spec=spec)

    async def atrigger(self) -> PachydermJob:
        """As `trigger`."""
        return await asyncio.to_thread(self.trigger, _sync=True)

    @twin_of(atrigger)
    def trigger(self) -> PachydermJob:  # type: ignore[override]
        """Makes the pipeline run its specification on the newest input.

        Raises:
            PachydermError: the specification is refused, the pipeline is stopped, or Pachyderm can't be reached.
        """
        client = self.credentials.get_client()
        with readable("Creating the pipeline"):
            request = request_of(self.spec)
            name = written(request.pipeline)
            due = _is_due(client, request)
            if due or self.reprocess:
                request.reprocess = request.update and (request.reprocess or self.reprocess)
                _start(client, self.credentials, [request], self.logger)
            job_id = _newest_job(client, name)
        self.logger.info("Pipeline %s %s", name, "created or updated" if due else "is up to date")
        job = PachydermJob(
            name, job_id, self.credentials, self.timeout_seconds, start_grace_seconds=self.start_grace_seconds
        )
        if not job.is_over():
            note_job(name, job_id, self.credentials, self.logger)
        return job

    async def adelete_pipeline(self, keep_repo: bool = False) -> None:
        """As `delete_pipeline`."""
        await asyncio.to_thread(self.delete_pipeline, keep_repo, _sync=True)

    @twin_of(adelete_pipeline)
    def delete_pipeline(self, keep_repo: bool = False) -> None:
        """Deletes the pipeline with its jobs and, unless kept, its output; one that is not there is no error.

        The block stays: `delete`, which all blocks have, deletes that, and leaves the pipeline alone.

        Raises:
            PachydermError: another pipeline reads its output, or Pachyderm can't be reached.

        Example:
            Leave what a pipeline has made, and nothing else:
            ```python
            from prefect_pachyderm import PachydermPipeline

            PachydermPipeline.load("BLOCK_NAME").delete_pipeline(keep_repo=True)
            ```
        """
        name = written(request_of(self.spec).pipeline)
        with readable(f"Deleting pipeline {name}"):
            client = self.credentials.get_client()
            info = _inspect(client, name)
            if info is None:
                self.logger.info("Pipeline %s is not there", name)
                return
            project, plain = split(name)
            client.delete_pipeline(plain, keep_repo=keep_repo, project_name=project)
        events.pipeline_deleted(info)
        self.logger.info("Pipeline %s deleted", name)


@task(name="create pipelines", **LIVE)
def create_pipelines(templates: Iterable[Template]) -> dict[str, str]:
    """Makes each pipeline run its rendered specification on the newest input; returns pipeline → id of its newest job.

    A pipeline whose specification is unchanged is left alone, unless its newest job ended badly: that one is tried again.
    What changes, changes in one transaction, so in one job set.

    Raises:
        PachydermError: a specification is refused, a pipeline is stopped, or Pachyderm can't be reached.
    """
    logger = get_run_logger()
    client = connect()
    with readable("Creating the pipelines"):
        requests = [_request(client, template) for template in templates]
        due = [request for request in requests if _is_due(client, request)]
        if due:
            _start(client, PachydermCredentials.from_environment(), due, logger)
        for request in requests:
            what = "created or updated" if request in due else "is up to date"
            logger.info("Pipeline %s %s", written(request.pipeline), what)
        names = [written(request.pipeline) for request in requests]
        return {name: _newest_job(client, name) for name in names}


def are_up_to_date(client: python_pachyderm.Client, templates: Iterable[Template]) -> bool:
    """Whether all pipelines run just these specifications, and their newest jobs have not ended badly."""
    with readable("Looking at the pipelines"):
        return not any(_is_due(client, _request(client, template)) for template in templates)


def jobs_in_the_way(client: python_pachyderm.Client, templates: Iterable[Template]) -> list[tuple[str, str]]:
    """Pipeline and id of the jobs that are on and that an update to these specifications would end."""
    with readable("Looking at the pipelines"):
        requests = [_request(client, template) for template in templates]
        return [
            (written(info.job.pipeline), info.job.id)
            for request in requests
            if _has_other_spec(client, request)
            for info in client.list_job(request.pipeline.name, project_name=request.pipeline.project.name)
            if info.state not in OVER
        ]


def _request(client: python_pachyderm.Client, template: Template) -> pps_proto.CreatePipelineRequest:
    return request_of(read_spec(template.file, template.arguments, lambda: client))


def _start(
    client: python_pachyderm.Client,
    credentials: PachydermCredentials,
    requests: list[pps_proto.CreatePipelineRequest],
    logger: Logger,
) -> None:
    with starting(client, credentials, [written(request.pipeline) for request in requests], logger):
        send(client, requests)


@contextmanager
def starting(
    client: python_pachyderm.Client, credentials: PachydermCredentials, names: list[str], logger: Logger
) -> Iterator[dict[str, str]]:
    """Notes the jobs of these pipelines that begin in the block; gives pipeline → id of its newest job, filled in after it.

    An interruption meanwhile leaves no job that nobody knows of.
    """
    before = _newest_jobs(client, names)
    newest: dict[str, str] = {}
    try:
        yield newest
        newest.update(_newest_jobs(client, names))
        NEW_SETS.update({*newest.values()} - {*before.values()})
        for name, job_id in newest.items():
            note_job(name, job_id, credentials, logger)
    except (KeyboardInterrupt, TerminationSignal):
        for name, job_id in _newest_jobs(client, names).items():
            if job_id != before.get(name):
                with suppress(PrefectPachydermError):
                    PachydermJob(name, job_id, credentials).stop("the flow run was cancelled", _sync=True)
        raise


def _newest_jobs(client: python_pachyderm.Client, names: list[str]) -> dict[str, str]:
    """The id of the newest job of each pipeline that exists."""
    return {name: _newest_job(client, name) for name in names if _inspect(client, name)}


def _newest_job(client: python_pachyderm.Client, name: str) -> str:
    """The id of a pipeline's newest job, whose output is the head of the pipeline's branch."""
    project, plain = split(name)
    info = next(iter(client.inspect_pipeline(plain, details=True, project_name=project)))
    return str(client.inspect_branch(plain, info.details.output_branch, project_name=project).head.id)


def send(client: python_pachyderm.Client, requests: list[pps_proto.CreatePipelineRequest]) -> None:
    """Makes or updates these pipelines at once, and tells of each by an event."""
    with client.transaction():
        for request in requests:
            client.create_pipeline_from_request(request)
    for request in requests:
        info = _inspect(client, written(request.pipeline))
        if info is not None:
            events.pipeline_changed(info)


def _inspect(client: python_pachyderm.Client, name: str) -> pps_proto.PipelineInfo | None:
    project, plain = split(name)
    try:
        return next(iter(client.inspect_pipeline(plain, details=True, project_name=project)))
    except grpc.RpcError as error:
        if status_of(error)[0] == grpc.StatusCode.NOT_FOUND:
            return None
        raise


def _has_other_spec(client: python_pachyderm.Client, request: pps_proto.CreatePipelineRequest) -> bool:
    """Whether the pipeline is there with another spec."""
    info = _inspect(client, written(request.pipeline))
    return info is not None and not _same(info, request)


def _same(info: pps_proto.PipelineInfo, request: pps_proto.CreatePipelineRequest) -> bool:
    there, wanted = info.details.metadata.annotations, request.metadata.annotations
    return bool(there.get(SPEC_HASH) == wanted[SPEC_HASH])


def _is_due(client: python_pachyderm.Client, request: pps_proto.CreatePipelineRequest) -> bool:
    """Whether `request` has to be sent; marks it as an update that runs again what has run, if the pipeline exists."""
    info = _inspect(client, written(request.pipeline))
    if info is None:
        return True
    if info.stopped:
        project, name = split(written(request.pipeline))
        raise PachydermError(
            f"Pipeline {written(request.pipeline)} is stopped and runs no job; "
            f"start it with `pachctl start pipeline {name}{f' --project {project}' if project != DEFAULT else ''}`."
        )
    request.update = True
    if not _same(info, request):
        request.reprocess = True
        return True
    return info.last_job_state in ENDED_BADLY
