"""One job as Prefect's `JobRun`: wait for its end, with its log as it comes; stop it; fetch what it has made.

A wait blocks in the API. It outlives a server that is gone for a while, and it can be taken up again by another run: a job
is known by its pipeline and its commit set.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import grpc
import python_pachyderm
from prefect.blocks import abstract
from prefect.exceptions import TerminationSignal
from python_pachyderm.service import pps_proto

from prefect_pachyderm import events
from prefect_pachyderm.calls import PrefectPachydermError, call_patiently, pps, readable, status_of
from prefect_pachyderm.commits import input_commits
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.events import OUTCOMES
from prefect_pachyderm.logs import LogFollower
from prefect_pachyderm.results import JobResult
from prefect_pachyderm.runs import note_job, when_cancelled
from prefect_pachyderm.twins import twin_of

# How long one call blocks: a connection that died without a word is noticed after this time.
CALL_SECONDS = 60.0
# How often a job that has not started yet is looked at, with its pipeline.
START_LOOK_SECONDS = 2.0
START_GRACE_SECONDS = 300.0
STARTING = (pps_proto.JOB_CREATED, pps_proto.JOB_STARTING)
BLOCKED = (pps_proto.PIPELINE_CRASHING, pps_proto.PIPELINE_FAILURE)

T = TypeVar("T")


class JobFailed(PrefectPachydermError):
    """A job ended in another state than success."""


class JobTimedOut(JobFailed):
    """A job took longer than it was given, and was stopped."""


class JobGone(JobFailed):
    """Somebody has deleted the job, or its pipeline."""


class _NotOverError(Exception):
    """A call has blocked as long as it may, and the job is not over."""


def job_of(pipeline: str, job_id: str) -> pps_proto.Job:
    """A job as requests name it."""
    job = pps_proto.Job(pipeline=pps_proto.Pipeline(name=pipeline), id=job_id)
    job.pipeline.project.name = "default"
    return job


class PachydermJob(abstract.JobRun[JobResult]):
    """One job of one pipeline, which may run, have run, or have been started by anyone.

    Each method has an asynchronous twin whose name begins with `a`; in asynchronous flows and tasks the method's own name gives
    it, too. A job that a flow run waits for is noted in the flow run, and its end is told by an event.

    Args:
        pipeline: Whose job.
        job_id: The job's commit set.
        credentials: The Pachyderm that runs it; by default the one that the environment names.
        timeout_seconds: How long a wait may take.
        stop_when_interrupted: Whether a wait that ends by Ctrl-C or by a cancelled flow run stops the job.
        on_line: Called with each line that the job says.
        start_grace_seconds: How long a wait goes on while the pipeline can't start, as without its image.
    """

    def __init__(
        self,
        pipeline: str,
        job_id: str,
        credentials: PachydermCredentials | None = None,
        timeout_seconds: float | None = None,
        stop_when_interrupted: bool = True,
        on_line: Callable[[str], None] = lambda line: None,
        start_grace_seconds: float = START_GRACE_SECONDS,
    ) -> None:
        self.pipeline = pipeline
        self.job_id = job_id
        # Without an address they find the embedded server anew when it has come back on another port.
        self._credentials = credentials or PachydermCredentials()
        self._timeout_seconds = timeout_seconds
        self._stop_when_interrupted = stop_when_interrupted
        self._on_line = on_line
        self._start_grace_seconds = start_grace_seconds
        self._logged_state: int | None = None
        self._logged_wait = ""
        self._logged_block: str | None = None
        self._job = job_of(pipeline, job_id)
        self._name = f"{pipeline}@{job_id}"

    def is_over(self) -> bool:
        """Whether the job has ended, well or not.

        Raises:
            JobGone: the job is not there, or no more.
            PachydermError: nobody has answered for two minutes.
        """
        return self._call(self._inspect).state in OUTCOMES

    async def await_for_completion(self) -> None:
        """As `wait_for_completion`; a cancelled await stops the job."""
        try:
            await asyncio.to_thread(self.wait_for_completion, _sync=True)
        except asyncio.CancelledError:
            await asyncio.to_thread(self.stop, "the wait for it was cancelled", _sync=True)
            raise

    @twin_of(await_for_completion)
    def wait_for_completion(self) -> None:  # type: ignore[override]
        """Blocks until the job is over, and logs what it says, each state that is seen, and what keeps it from starting.

        Raises:
            JobFailed: with the job's reason and the last lines of its log, or with why it could not start.
            JobTimedOut: after `timeout_seconds`, when the job has been stopped.
            JobGone: the job is not there, or no more.
            PachydermError: nobody has answered for two minutes.
        """
        info = self._call(self._inspect)
        if info.state == pps_proto.JOB_SUCCESS:
            self._tell("Job %s has succeeded before", self._name)
            self._tell_end(info)
            return
        if self._stop_when_interrupted and info.state not in OUTCOMES:
            note_job(self.pipeline, self.job_id, self._credentials, self.logger)
        self._log_state(info)
        follower = LogFollower(self._credentials, self._job, (self._log_line, self._hand_on), self.logger)
        try:
            with when_cancelled(self._stop_for_flow_run):
                info = self._until_over()
            lines = follower.finish()
        except (KeyboardInterrupt, TerminationSignal):
            self._stop_for_flow_run()
            raise
        except asyncio.CancelledError:
            # Prefect raises its own where a run has lost its turn, for example because the server was started anew.
            self._tell("Job %s goes on without this run; the next wait takes it up", self._name, level=logging.WARNING)
            raise
        finally:
            follower.stop()
        self._log_state(info)
        self._tell_end(info)
        if info.state != pps_proto.JOB_SUCCESS:
            state = pps_proto.JobState.Name(info.state)
            log = "\n  ".join(lines) or "(no log)"
            raise JobFailed(f"Job {self._name} ended as {state}: {info.reason}\nThe end of its log:\n  {log}")

    async def afetch_result(self) -> JobResult:
        """As `fetch_result`."""
        return await asyncio.to_thread(self.fetch_result, _sync=True)

    @twin_of(afetch_result)
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

    async def astop(self, reason: str) -> None:
        """As `stop`."""
        await asyncio.to_thread(self.stop, reason, _sync=True)

    @twin_of(astop)
    def stop(self, reason: str) -> None:
        """Stops the job; one that is over stays as it is.

        Raises:
            JobGone: it is not there.
            PachydermError: nobody has answered for two minutes.
        """
        if self.is_over():
            return
        request = pps_proto.StopJobRequest(job=self._job, reason=reason)
        self._call(lambda client: pps(client).StopJob(request))
        self._tell("Stopped job %s: %s", self._name, reason)
        self._tell_end(self._call(self._inspect))

    def _stop_for_flow_run(self) -> None:
        if self._stop_when_interrupted:
            try:
                self.stop("the flow run was cancelled", _sync=True)
            except PrefectPachydermError as error:
                self._tell("%s", error, level=logging.WARNING)

    def _tell_end(self, info: pps_proto.JobInfo) -> None:
        """Emits the event of the job's end, which Prefect keeps once."""
        if info.state in OUTCOMES:
            inputs = self._call(lambda client: input_commits(client, self.pipeline, self.job_id))
            events.job_ended(info, inputs)

    def _inspect(self, client: python_pachyderm.Client) -> pps_proto.JobInfo:
        request = pps_proto.InspectJobRequest(job=self._job, details=True)
        return self._answer(client, request, None)

    def _until_over(self) -> pps_proto.JobInfo:
        """The job once it is over."""
        end = time.monotonic() + self._timeout_seconds if self._timeout_seconds else float("inf")
        request = pps_proto.InspectJobRequest(job=self._job, wait=True, details=True)
        blocked_since: float | None = None
        while True:
            left = end - time.monotonic()
            if left <= 0:
                self.stop("it took longer than it was given", _sync=True)
                why = f"it could not start: {self._logged_block}" if blocked_since else "it was stopped."
                raise JobTimedOut(f"Job {self._name} was not over after {self._timeout_seconds:.0f} s; {why}")
            seconds = min(left, START_LOOK_SECONDS if self._logged_state in STARTING else CALL_SECONDS)
            try:
                return self._call(lambda client: self._answer(client, request, seconds))  # noqa: B023
            except _NotOverError:
                self._log_state(self._call(self._inspect))
            reason = self._what_blocks() if self._logged_state in STARTING else None
            now = time.monotonic()
            blocked_since = (blocked_since or now) if reason else None
            if blocked_since and now - blocked_since > self._start_grace_seconds:
                if self._stop_when_interrupted:
                    self.stop("it could not start", _sync=True)
                raise JobFailed(f"Job {self._name} could not start in {self._start_grace_seconds:.0f} s: {reason}")

    def _what_blocks(self) -> str | None:
        """Why the pipeline can't start this job, if so; logged when it is another reason than before."""
        info = self._call(lambda client: next(iter(client.inspect_pipeline(self.pipeline, details=True))))
        if info.state not in BLOCKED:
            return None
        state = pps_proto.PipelineState.Name(info.state)
        reason = f"{self.pipeline} is {state}{f': {info.reason}' if info.reason else ''}"
        if reason != self._logged_block:
            self._logged_block = reason
            self._tell("Job %s can't start: %s", self._name, reason, level=logging.WARNING)
        return reason

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

    def _tell(self, message: str, *arguments: object, level: int = logging.INFO) -> None:
        """Logs; a handler that fails, or gives up where the terminal is gone, is no reason to leave a job alone."""
        with suppress(Exception, SystemExit):
            self.logger.log(level, message, *arguments)

    def _log_state(self, info: pps_proto.JobInfo) -> None:
        """Logs the job's state, with its reason, when it is another one than before, and what it waits for, when that is."""
        waits_for = info.reason if info.state in STARTING else ""
        if (info.state, waits_for) != (self._logged_state, self._logged_wait):
            self._logged_state, self._logged_wait = info.state, waits_for
            state = pps_proto.JobState.Name(info.state)
            self._tell("Job %s is %s%s", self._name, state, f": {info.reason}" if info.reason else "")

    def _log_line(self, message: pps_proto.LogMessage) -> None:
        if self._logged_state in STARTING and not message.master:
            self._log_state(pps_proto.JobInfo(state=pps_proto.JOB_RUNNING))
        line = message.message.rstrip("\n")
        if message.user:
            self.logger.info("%s", line)
        elif line.startswith("errored"):
            self.logger.warning("%s", line)

    def _hand_on(self, message: pps_proto.LogMessage) -> None:
        if message.user:
            self._on_line(message.message.rstrip("\n"))
