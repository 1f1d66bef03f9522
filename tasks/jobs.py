"""Jobs: wait for their end, with their log as it comes."""

from __future__ import annotations

import threading
from collections import deque

import grpc
from prefect import get_run_logger, task
from prefect.exceptions import TerminationSignal
from python_pachyderm.service import pps_grpc, pps_proto

from tasks.errors import ScriptwrightError
from tasks.pachyderm import connect, readable

LAST_LINES = 20


class JobFailed(ScriptwrightError):
    """A job ended in another state than success."""


@task(name="wait for job", task_run_name="wait for {pipeline}@{job_id}")
def wait_for_job(pipeline: str, job_id: str) -> None:
    """Blocks until the job has ended, forwarding its log. An interrupted wait stops the job.

    Raises:
        JobFailed: with the job's reason and the last lines of its log.
    """
    client = connect()
    job = pps_proto.Job(pipeline=pps_proto.Pipeline(name=pipeline), id=job_id)
    job.pipeline.project.name = "default"
    stub = pps_grpc.APIStub(client._channel)
    with readable(f"Waiting for job {pipeline}@{job_id}"):
        if stub.InspectJob(pps_proto.InspectJobRequest(job=job)).state == pps_proto.JOB_SUCCESS:
            get_run_logger().info("Job %s@%s has succeeded before", pipeline, job_id)
            return
        follower = _LogFollower(stub, job)
        try:
            info = stub.InspectJob(pps_proto.InspectJobRequest(job=job, wait=True))
        except (KeyboardInterrupt, TerminationSignal):
            stub.StopJob(pps_proto.StopJobRequest(job=job, reason="the flow run was cancelled"))
            raise
        lines = follower.finish()
    if info.state != pps_proto.JOB_SUCCESS:
        state = pps_proto.JobState.Name(info.state)
        log = "\n  ".join(lines) or "(no log)"
        raise JobFailed(f"Job {pipeline}@{job_id} ended as {state}: {info.reason}\nThe end of its log:\n  {log}")


class _LogFollower:
    """Forwards a job's user lines to the run's log from a thread of its own, each once."""

    def __init__(self, stub: pps_grpc.APIStub, job: pps_proto.Job) -> None:
        self._logger = get_run_logger()
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._stream = stub.GetLogs(pps_proto.GetLogsRequest(job=job, follow=True))
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for message in self._stream:
                line = message.message.rstrip("\n")
                if message.user:
                    self._last.append(line)
                    self._logger.info("%s", line)
                elif line.startswith("errored"):
                    self._last.append(line)
                    self._logger.warning("%s", line)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:  # type: ignore[attr-defined]
                self._logger.warning("The job's log broke off: %s", error.details())  # type: ignore[attr-defined]

    def finish(self) -> list[str]:
        """The last lines, once the log of the ended job has been read."""
        self._thread.join(timeout=2)
        self._stream.cancel()
        self._thread.join()
        return list(self._last)
