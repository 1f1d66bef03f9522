"""Waiting for jobs in a flow: log and events in Prefect, and a cancelled flow run stops its jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect import Flow, State, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger

from prefect_pachyderm import events
from prefect_pachyderm.calls import PrefectPachydermError
from prefect_pachyderm.commits import input_commits
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.jobs import PachydermJob

# What `wait_for_job` writes into a flow run's labels, with the pipeline's name after it.
LABEL = "pachyderm.job."


@task(name="wait for job", task_run_name="wait for {pipeline}@{job_id:.7}", cache_policy=NO_CACHE)
def wait_for_job(
    pipeline: str,
    job_id: str,
    timeout_seconds: float | None = None,
    stop_when_interrupted: bool = True,
    on_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Blocks until the job is over, logs what it says, and emits an event about its end. For the rest see `PachydermJob`.

    Raises:
        JobFailed: with the job's reason and the last lines of its log.
        PachydermError: nobody has answered for two minutes.
    """
    job = PachydermJob(pipeline, job_id, None, timeout_seconds, stop_when_interrupted, on_line)
    try:
        if stop_when_interrupted and not job.is_over():
            _label_flow_run(pipeline, job_id)
        job.wait_for_completion()
    finally:
        _emit_event(job)


def stop_jobs(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """`on_cancellation` of a flow: stops its jobs where the flow run has not been able to do it itself.

    Prefect calls this in the worker, when the flow run's process is gone.
    """
    logger = flow_run_logger(flow_run, flow)
    with get_client(sync_client=True) as client:
        labels = client.read_flow_run(flow_run.id).labels
    for label, job_id in labels.items():
        if not label.startswith(LABEL):
            continue
        job = PachydermJob(label.removeprefix(LABEL), str(job_id))
        try:
            job.stop("the flow run was cancelled")
            _emit_event(job)
        except PrefectPachydermError as error:
            logger.warning("%s", error)


def _emit_event(job: PachydermJob) -> None:
    """Emits the event of a job that is known to be over."""
    if job.info is not None and job.info.state in events.OUTCOMES:
        events.job_ended(job.info, input_commits(connect(), job.pipeline, job.job_id))


def _label_flow_run(pipeline: str, job_id: str) -> None:
    """Writes the job into the labels of the outermost flow run, where `stop_jobs` finds it."""
    root = runtime.flow_run.root_flow_run_id
    if root:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(UUID(root), {f"{LABEL}{pipeline}": job_id})
