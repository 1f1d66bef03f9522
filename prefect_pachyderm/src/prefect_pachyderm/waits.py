"""Waiting for jobs in a flow, and the hook by which a flow run stops its jobs when it can't do so itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Flow, State, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun
from prefect.context import TaskRunContext
from prefect.logging.loggers import flow_run_logger
from prefect.states import Running
from prefect.utilities.engine import emit_task_run_state_change_event

from prefect_pachyderm.calls import PrefectPachydermError
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.jobs import START_GRACE_SECONDS, PachydermJob
from prefect_pachyderm.runs import noted_jobs

WAITING = "Waiting for Pachyderm"


@task(name="wait for job", task_run_name="wait for {pipeline}@{job_id:.7}", cache_policy=NO_CACHE)
def wait_for_job(
    pipeline: str,
    job_id: str,
    timeout_seconds: float | None = None,
    stop_when_interrupted: bool = True,
    on_line: Callable[[str], None] = lambda line: None,
    start_grace_seconds: float = START_GRACE_SECONDS,
) -> None:
    """Blocks until the job is over and logs what it says; the task run is "Waiting for Pachyderm". For the rest see `PachydermJob`.

    Raises:
        JobFailed: with the job's reason and the last lines of its log.
        PachydermError: nobody has answered for two minutes.
    """
    job = PachydermJob(pipeline, job_id, None, timeout_seconds, stop_when_interrupted, on_line, start_grace_seconds)
    if not job.is_over():
        _show_waiting()
    job.wait_for_completion(_sync=True)


def _show_waiting() -> None:
    """Names the state of this task run, for the server alone: to the engine it is running, and its next state takes over."""
    context = TaskRunContext.get()
    if context:
        emit_task_run_state_change_event(context.task_run, context.task_run.state, Running(name=WAITING))


def stop_jobs(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """`on_cancellation` of a flow, and `on_crashed` where nobody takes up its jobs: stops all that it has started or waited for.

    Prefect calls this in the worker when the flow run's process is gone, whatever has become of it.
    """
    logger = flow_run_logger(flow_run, flow)
    for pipeline, job_id, place in noted_jobs(flow_run.id):
        try:
            reason = f"the flow run was {'cancelled' if state.is_cancelling() or state.is_cancelled() else 'ended'}"
            PachydermJob(pipeline, job_id, PachydermCredentials.at(place)).stop(reason, _sync=True)
        except PrefectPachydermError as error:
            logger.warning("%s", error)
