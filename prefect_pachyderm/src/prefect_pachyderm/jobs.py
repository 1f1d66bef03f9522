"""One job as Prefect's `JobRun`: wait for its end, with its log as it comes; stop it; fetch what it has made.

A wait blocks in the API. It outlives a server that is gone for a while, and it can be taken up again by another run: a job
is known by its pipeline and its commit set.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import python_pachyderm
from prefect.blocks.abstract import JobRun
from prefect.exceptions import TerminationSignal
from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import (
    PrefectPachydermError,
    call_patiently,
    pps,
    readable,
    status_of,
)
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.events import OUTCOMES
from prefect_pachyderm.logs import LogFollower

# How long one call blocks: a connection that died without a word is noticed after this time.
CALL_SECONDS = 60.0

T = TypeVar("T")


class JobFailed(PrefectPachydermError):
    """A job ended in another state than success."""


class JobTimedOut(JobFailed):
    """A job took longer than it was given, and was stopped."""


class JobGone(JobFailed):
    """Somebody has deleted the job, or its pipeline."""


class _NotOverError(Exception):
    """A call has blocked as long as it may, and the job is not over."""


@dataclass(frozen=True)
class JobResult:
    """What a job that succeeded has made."""

    pipeline: str
    job_id: str
    files: list[str]
    credentials: PachydermCredentials = field(repr=False, compare=False)

    def read(self, path: str) -> bytes:
        """The content of one file of the output commit."""
        with readable(f"Reading {self.pipeline}@{self.job_id}:{path}"):
            content: bytes = self.credentials.get_client().get_file((self.pipeline, self.job_id), path).read()
            return content


def job_of(pipeline: str, job_id: str) -> pps_proto.Job:
    """A job as requests name it."""
    job = pps_proto.Job(pipeline=pps_proto.Pipeline(name=pipeline), id=job_id)
    job.pipeline.project.name = "default"
    return job


class PachydermJob(JobRun[JobResult]):
    """One job of one pipeline, which may run, have run, or have been started by anyone.

    Each method has an asynchronous twin whose name begins with `a`.

    Args:
        pipeline: Whose job.
        job_id: The job's commit set.
        credentials: The Pachyderm that runs it; by default the one that the environment names.
        timeout_seconds: How long a wait may take.
        stop_when_interrupted: Whether a wait that ends by Ctrl-C or by a cancelled flow run stops the job.
        on_line: Called with each line that the job says.
    """

    def __init__(
        self,
        pipeline: str,
        job_id: str,
        credentials: PachydermCredentials | None = None,
        timeout_seconds: float | None = None,
        stop_when_interrupted: bool = True,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.pipeline = pipeline
        self.job_id = job_id
        self.info: pps_proto.JobInfo | None = None
        # Without an address they find the embedded server anew when it has come back on another port.
        self._credentials = credentials or PachydermCredentials()
        self._timeout_seconds = timeout_seconds
        self._stop_when_interrupted = stop_when_interrupted
        self._on_line = on_line
        self._logged_state: int | None = None
        self._job = job_of(pipeline, job_id)
        self._name = f"{pipeline}@{job_id}"

    def is_over(self) -> bool:
        """Whether the job has ended, well or not.

        Raises:
            JobGone: the job is not there, or no more.
            PachydermError: nobody has answered for two minutes.
        """
        return self._call(self._inspect).state in OUTCOMES

    def wait_for_completion(self) -> None:  # type: ignore[override]
        """Blocks until the job is over, and logs what it says and each state that is seen.

        Raises:
            JobFailed: with the job's reason and the last lines of its log.
            JobTimedOut: after `timeout_seconds`, when the job has been stopped.
            JobGone: the job is not there, or no more.
            PachydermError: nobody has answered for two minutes.
        """
        info = self._call(self._inspect)
        if info.state == pps_proto.JOB_SUCCESS:
            self.info = info
            self.logger.info("Job %s has succeeded before", self._name)
            return
        self._log_state(info)
        follower = LogFollower(self._credentials, self._job, self._log_line)
        try:
            info = self._until_over()
            lines = follower.finish()
        except JobTimedOut:
            self.stop("it took longer than it was given")
            raise
        except (KeyboardInterrupt, TerminationSignal):
            if self._stop_when_interrupted:
                with suppress(JobGone):
                    self.stop("the flow run was cancelled")
            raise
        finally:
            follower.stop()
        self._log_state(info)
        self.info = info
        if info.state != pps_proto.JOB_SUCCESS:
            state = pps_proto.JobState.Name(info.state)
            log = "\n  ".join(lines) or "(no log)"
            raise JobFailed(f"Job {self._name} ended as {state}: {info.reason}\nThe end of its log:\n  {log}")

    async def await_for_completion(self) -> None:
        """As `wait_for_completion`; a cancelled await stops the job."""
        try:
            await asyncio.to_thread(self.wait_for_completion)
        except asyncio.CancelledError:
            await asyncio.to_thread(self.stop, "the wait for it was cancelled")
            raise

    def fetch_result(self) -> JobResult:  # type: ignore[override]
        """The output commit of a job that has succeeded.

        Raises:
            JobFailed: it has not.
        """
        info = self._call(self._inspect)
        if info.state != pps_proto.JOB_SUCCESS:
            state = pps_proto.JobState.Name(info.state)
            raise JobFailed(f"Job {self._name} is {state} and has no result; wait for its completion first.")

        def list_files(client: python_pachyderm.Client) -> list[str]:
            paths = [each.file.path for each in client.walk_file((self.pipeline, self.job_id), "/")]
            return [path for path in paths if not path.endswith("/")]

        return JobResult(self.pipeline, self.job_id, self._call(list_files), self._credentials)

    async def afetch_result(self) -> JobResult:
        """As `fetch_result`."""
        return await asyncio.to_thread(self.fetch_result)

    def stop(self, reason: str) -> None:
        """Stops the job; one that is over stays as it is.

        Raises:
            JobGone: it is not there.
            PachydermError: nobody has answered for two minutes.
        """
        request = pps_proto.StopJobRequest(job=self._job, reason=reason)
        self._call(self._inspect)
        self._call(lambda client: pps(client).StopJob(request))
        self.info = self._call(self._inspect)
        self.logger.info("Stopped job %s: %s", self._name, reason)

    async def astop(self, reason: str) -> None:
        """As `stop`."""
        await asyncio.to_thread(self.stop, reason)

    def _inspect(self, client: python_pachyderm.Client) -> pps_proto.JobInfo:
        request = pps_proto.InspectJobRequest(job=self._job, details=True)
        return self._answer(client, request, None)

    def _until_over(self) -> pps_proto.JobInfo:
        """The job once it is over."""
        end = time.monotonic() + self._timeout_seconds if self._timeout_seconds else float("inf")
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise JobTimedOut(f"Job {self._name} was not over after {self._timeout_seconds:.0f} s; it was stopped.")
            request = pps_proto.InspectJobRequest(job=self._job, wait=True, details=True)
            try:
                return self._call(lambda client: self._answer(client, request, min(CALL_SECONDS, left)))  # noqa: B023
            except _NotOverError:
                continue

    def _answer(
        self, client: python_pachyderm.Client, request: pps_proto.InspectJobRequest, seconds: float | None
    ) -> pps_proto.JobInfo:
        """What Pachyderm says of the job within this time."""
        try:
            return pps(client).InspectJob(request, timeout=seconds)
        except grpc.RpcError as error:
            code, details = status_of(error)
            if code == grpc.StatusCode.NOT_FOUND or "was deleted" in details:
                raise JobGone(
                    f"Job {self._name} is not found: somebody has deleted it or its pipeline; run again to make it anew."
                ) from error
            if request.wait and code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _NotOverError from error
            raise

    def _call(self, call: Callable[[python_pachyderm.Client], T]) -> T:
        """The call's answer, asked for again as long as it fails transiently."""

        def ask() -> T:
            with readable(f"Asking for job {self._name}"):
                return call(self._credentials.get_client())

        return call_patiently(ask, self.logger)

    def _log_state(self, info: pps_proto.JobInfo) -> None:
        """Logs the job's state when it is another one than before."""
        if info.state != self._logged_state:
            self._logged_state = info.state
            state = pps_proto.JobState.Name(info.state)
            self.logger.info("Job %s is %s%s", self._name, state, f": {info.reason}" if info.reason else "")

    def _log_line(self, message: pps_proto.LogMessage) -> None:
        if self._logged_state is not None and self._logged_state < pps_proto.JOB_RUNNING and not message.master:
            self._log_state(pps_proto.JobInfo(state=pps_proto.JOB_RUNNING))
        line = message.message.rstrip("\n")
        if message.user:
            self.logger.info("%s", line)
            self._on_line(line)
        elif line.startswith("errored"):
            self.logger.warning("%s", line)
