"""Waiting for jobs in a flow: log, progress and events in Prefect, and a cancelled flow run stops its job."""

from __future__ import annotations

import contextvars
import re
import threading
import time
from typing import Any, cast
from uuid import UUID

from prefect import Flow, State, runtime, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger

from tasks import events
from tasks.job_runs import JobFailed, PachydermJob
from tasks.pachyderm import PachydermError, connect
from tasks.repos import input_commits

__all__ = ["JobFailed", "stop_jobs", "wait_for_job"]

LABEL = "pachyderm.job."
EPOCH = re.compile(r"Epoch: (\d+) of (\d+) Learning rate")
STEP = re.compile(r"(0\.\d+|1\.0+) perplexity: (\S+)")
PROGRESS_SECONDS = 1.0


@task(name="wait for job", task_run_name="wait for {pipeline}@{job_id:.7}", cache_policy=NO_CACHE)
def wait_for_job(pipeline: str, job_id: str, timeout_minutes: int | None = None, ours: bool = True) -> None:
    """Blocks until the job is over; shows its log and its progress, and emits an event about its end.

    Args:
        pipeline: Whose job.
        job_id: The job's commit set.
        timeout_minutes: After this time the job is stopped.
        ours: A wait that is interrupted stops the job.

    Raises:
        JobFailed: with the job's reason and the last lines of its log.
    """
    seconds = timeout_minutes * 60 if timeout_minutes else None
    progress = Progress(pipeline, job_id)
    job = PachydermJob(pipeline, job_id, timeout_seconds=seconds, ours=ours, on_line=progress.read)
    try:
        if ours and not job.is_over():
            _remember(pipeline, job_id)
        job.wait_for_completion()
    finally:
        progress.close()
        _tell(job)


class Progress:
    """A progress artifact made of what a training job says, updated at most once a second.

    Prefect is told from a thread of its own, so that a slow answer does not hold up the log.
    """

    def __init__(self, pipeline: str, job_id: str) -> None:
        self._key = f"progress-{pipeline}".lower().replace("_", "-")
        self._what = f"{pipeline}@{job_id[:7]}"
        self._epoch, self._epochs = 1, 1
        self._newest: tuple[float, str] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._publish,), daemon=True)
        self._thread.start()

    def read(self, line: str) -> None:
        """Takes a line of the log."""
        if match := EPOCH.match(line):
            self._epoch, self._epochs = int(match[1]), int(match[2])
        elif match := STEP.match(line):
            percent = 100 * (self._epoch - 1 + float(match[1])) / self._epochs
            told = f"{self._what}: epoch {self._epoch} of {self._epochs}, perplexity {match[2]}"
            self._newest = percent, told

    def close(self) -> None:
        """Publishes what is newest and ends."""
        self._over.set()
        self._thread.join()

    def _publish(self) -> None:
        artifact: UUID | None = None
        shown, shown_at = None, 0.0
        last = False
        while not last:
            last = self._over.wait(PROGRESS_SECONDS)
            newest = self._newest
            if newest is None or newest == shown:
                continue
            time.sleep(max(0.0, shown_at + PROGRESS_SECONDS - time.monotonic()))
            percent, told = shown = newest
            if artifact is None:
                artifact = cast(UUID, create_progress_artifact(percent, key=self._key, description=told))
            else:
                update_progress_artifact(artifact, percent, description=told)
            shown_at = time.monotonic()


def _tell(job: PachydermJob) -> None:
    """Emits the event of a job that is known to be over."""
    if job.info is not None and job.info.state in events.OUTCOMES:
        events.job_over(job.info, input_commits(connect(), job.pipeline, job.job_id))


def _remember(pipeline: str, job_id: str) -> None:
    """Writes the job into the labels of the outermost flow run, where `stop_jobs` finds it."""
    root = runtime.flow_run.root_flow_run_id
    if root:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(UUID(root), {f"{LABEL}{pipeline}": job_id})


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
            _tell(job)
        except (PachydermError, JobFailed) as error:
            logger.warning("%s", error)
