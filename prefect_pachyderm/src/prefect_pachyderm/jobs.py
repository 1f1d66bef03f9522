"""One job as Prefect's `JobRun`: wait for its end, with its log as it comes; stop it; fetch what it has made.

A wait blocks in the API. It outlives a server that is gone for a while, and it can be taken up again by another run: a job
is known by its pipeline and its commit set.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TypeVar

import grpc
import python_pachyderm
from prefect.blocks import abstract
from prefect.exceptions import TerminationSignal
from python_pachyderm.service import pps_proto

from prefect_pachyderm import events
from prefect_pachyderm.calls import (
    ANSWER_SECONDS,
    PachydermError,
    PrefectPachydermError,
    call_patiently,
    pps,
    readable,
    status_of,
)
from prefect_pachyderm.commits import NEW_SETS, input_commits
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.events import OUTCOMES
from prefect_pachyderm.logs import LogFollower
from prefect_pachyderm.names import commit_of, job_of
from prefect_pachyderm.patience import GivenUpError, NotOverError, TimeIsUpError, Wait, inspect_job
from prefect_pachyderm.progress import Progress
from prefect_pachyderm.results import JobResult
from prefect_pachyderm.runs import CANCELLED, TIMED_OUT, has_lost_turn, has_timed_out, note_job, when_interrupted
from prefect_pachyderm.twins import twin_of

# How long one call blocks: a connection that died without a word is noticed after this time.
CALL_SECONDS = 60.0
# How often a job that has not started yet is looked at, with its pipeline.
START_LOOK_SECONDS = 2.0
START_GRACE_SECONDS = 300.0
BLOCKED = (pps_proto.PIPELINE_CRASHING, pps_proto.PIPELINE_FAILURE)

# Pipeline and id of the jobs that this process has waited for to their end.
WAITED: set[tuple[str, str]] = set()

T = TypeVar("T")


class JobFailed(PrefectPachydermError):
    """A job ended in another state than success."""


class JobTimedOut(JobFailed):
    """A job took longer than it was given, and was stopped."""


class JobGone(JobFailed):
    """Somebody has deleted the job, or its pipeline."""


class PachydermJob(abstract.JobRun[JobResult]):
    """One job of one pipeline, which may run, have run, or have been started by anyone.

    Each method has an asynchronous twin whose name begins with `a`; in asynchronous flows and tasks the method's own name gives
    it, too. A job that a flow run waits for is noted in the flow run, and its end is told by an event.

    Args:
        pipeline: Whose job; PROJECT/NAME in another project than `default`.
        job_id: The job's commit set.
        credentials: The Pachyderm that runs it; by default the one that the environment names.
        timeout_seconds: How long a wait may take; then the job is stopped.
        stop_when_interrupted: Whether a wait that ends by Ctrl-C, or as its flow run or task run is cancelled or times out,
            stops the job.
        on_line: Called with each line that the job says.
        start_grace_seconds: How long a wait goes on while the pipeline can't start, as without its image.

    Raises:
        PrefectPachydermError: `timeout_seconds` is not positive.
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
        if timeout_seconds is not None and timeout_seconds <= 0:
            raise PrefectPachydermError(
                f"timeout_seconds of job {pipeline}@{job_id} is {timeout_seconds}; give more than 0 s, or None to wait for ever."
            )
        self.pipeline = pipeline
        self.job_id = job_id
        # Without an address they find the embedded server anew when it has come back on another port.
        self._credentials = credentials or PachydermCredentials()
        self._timeout_seconds = timeout_seconds
        self._stop_when_interrupted = stop_when_interrupted
        self._on_line = on_line
        self._start_grace_seconds = start_grace_seconds
        self._job = job_of(pipeline, job_id)
        self._name = f"{pipeline}@{job_id}"
        self._progress = Progress(self._name, lambda: self.logger)

    def is_over(self) -> bool:
        """Whether the job has ended, well or not.

        Raises:
            JobGone: the job is not there, or no more.
            PachydermError: nobody has answered for two minutes.
        """
        return self._call(self._inspect).state in OUTCOMES

    async def await_for_completion(self) -> None:
        """As `wait_for_completion`; a cancelled await stops the job as an interrupted wait does."""
        wait = Wait(self._timeout_seconds)
        waiting = asyncio.ensure_future(asyncio.to_thread(self._wait, wait))
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError as error:
            cancelled = TIMED_OUT if has_timed_out() else "the wait for it was cancelled"
            wait.give_up(None if has_lost_turn(error) else cancelled)
            # A scope of anyio cancels each await in it, this one, too; the thread ends its work all the same.
            await asyncio.wait([waiting])
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
        self._wait(Wait(self._timeout_seconds))

    def _wait(self, wait: Wait) -> None:
        try:
            try:
                self._follow_to_end(wait)
            except TimeIsUpError:
                raise self._timed_out() from None
        except (KeyboardInterrupt, TerminationSignal):
            self._leave(CANCELLED)
            raise
        except asyncio.CancelledError:
            # Prefect raises its own after `timeout_seconds` of a run, and where a run has lost its turn, for example because
            # the server was started anew.
            self._leave(TIMED_OUT if has_timed_out() else None)
            raise
        except GivenUpError as given_up:
            self._leave(given_up.reason)

    def _follow_to_end(self, wait: Wait) -> None:
        info = self._call(lambda client: self._inspect(client, wait), wait)
        # A quick job of ours may be over before its wait begins, and has its log all the same.
        is_ours = self.job_id in NEW_SETS and (self.pipeline, self.job_id) not in WAITED
        if info.state == pps_proto.JOB_SUCCESS and not is_ours:
            self._progress.tell("Job %s has succeeded before", self._name)
            self._tell_end(info)
            return
        if self._stop_when_interrupted and info.state not in OUTCOMES:
            note_job(self.pipeline, self.job_id, self._credentials, self.logger)
        self._progress.state(info)
        follower = LogFollower(self._credentials, self._job, (self._progress.line, self._hand_on), self.logger)
        try:
            with when_interrupted(self._leave):
                info = self._until_over(wait)
            lines = follower.finish()
            WAITED.add((self.pipeline, self.job_id))
        finally:
            follower.stop()
        self._progress.state(info)
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
            paths = [each.file.path for each in client.walk_file(commit_of(self.pipeline, self.job_id), "/")]
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
        self._call(lambda client: pps(client).StopJob(request, timeout=ANSWER_SECONDS))
        self._progress.tell("Stopped job %s: %s", self._name, reason)
        self._tell_end(self._call(self._inspect))

    def _leave(self, reason: str | None) -> None:
        """Stops the job for this reason, if it is to be stopped; without a reason it goes on."""
        if reason is None:
            self._progress.tell(
                "Job %s goes on without this run; the next wait takes it up", self._name, level=logging.WARNING
            )
        elif self._stop_when_interrupted:
            try:
                self.stop(reason, _sync=True)
            except PrefectPachydermError as error:
                self._progress.tell("%s", error, level=logging.WARNING)

    def _timed_out(self) -> JobTimedOut:
        """Stops the job that has taken too long, and tells what has come of it."""
        try:
            self._progress.state(self._call(self._inspect))
            reason = self._what_blocks() if self._progress.is_starting else None
            self.stop("it took longer than it was given", _sync=True)
            outcome = f"it could not start: {reason}" if reason else "it was stopped."
        except PachydermError as error:
            outcome = f"it could not be stopped: {error}"
        return JobTimedOut(f"Job {self._name} was not over after {self._timeout_seconds:.0f} s; {outcome}")

    def _tell_end(self, info: pps_proto.JobInfo) -> None:
        """Emits the event of the job's end, which Prefect keeps once."""
        if info.state in OUTCOMES:
            inputs = self._call(lambda client: input_commits(client, self.pipeline, self.job_id))
            events.job_ended(info, inputs)

    def _inspect(self, client: python_pachyderm.Client, wait: Wait | None = None) -> pps_proto.JobInfo:
        request = pps_proto.InspectJobRequest(job=self._job, details=True)
        return inspect_job(client, request, ANSWER_SECONDS, wait or Wait(None))

    def _until_over(self, wait: Wait) -> pps_proto.JobInfo:
        """The job once it is over."""
        request = pps_proto.InspectJobRequest(job=self._job, wait=True, details=True)
        blocked_since: float | None = None
        while True:
            seconds = min(wait.seconds_left(), START_LOOK_SECONDS if self._progress.is_starting else CALL_SECONDS)
            try:
                return self._call(lambda client: inspect_job(client, request, seconds, wait), wait)  # noqa: B023
            except NotOverError:
                self._progress.state(self._call(lambda client: self._inspect(client, wait), wait))
            reason = self._what_blocks(wait) if self._progress.is_starting else None
            now = time.monotonic()
            blocked_since = (blocked_since or now) if reason else None
            if blocked_since and now - blocked_since > self._start_grace_seconds:
                if self._stop_when_interrupted:
                    self.stop("it could not start", _sync=True)
                raise JobFailed(f"Job {self._name} could not start in {self._start_grace_seconds:.0f} s: {reason}")

    def _what_blocks(self, wait: Wait | None = None) -> str | None:
        """Why the pipeline can't start this job, if so; logged when it is another reason than before."""
        request = pps_proto.InspectPipelineRequest(pipeline=self._job.pipeline, details=True)
        info = self._call(lambda client: pps(client).InspectPipeline(request, timeout=ANSWER_SECONDS), wait)
        if info.state not in BLOCKED:
            return None
        state = pps_proto.PipelineState.Name(info.state)
        reason = f"{self.pipeline} is {state}{f': {info.reason}' if info.reason else ''}"
        self._progress.block(reason)
        return reason

    def _call(self, call: Callable[[python_pachyderm.Client], T], wait: Wait | None = None) -> T:
        """The call's answer, asked for again as long as it fails transiently and is waited for."""

        def ask() -> T:
            if wait:
                wait.seconds_left()
            with readable(f"Asking for job {self._name}"):
                try:
                    return call(self._credentials.get_client())
                except grpc.RpcError as error:
                    code, details = status_of(error)
                    if code == grpc.StatusCode.NOT_FOUND or "was deleted" in details:
                        raise JobGone(
                            f"Job {self._name} is not found: somebody has deleted it or its pipeline; run again to make it anew."
                        ) from error
                    raise

        return call_patiently(ask, self.logger)

    def _hand_on(self, message: pps_proto.LogMessage) -> None:
        if message.user:
            self._on_line(message.message.rstrip("\n"))
