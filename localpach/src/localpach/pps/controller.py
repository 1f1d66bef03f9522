"""Starting jobs when their time has come, making the ticks that are due, and telling how pipelines are."""

from __future__ import annotations

import logging
import threading

from localpach.errors import LocalpachError
from localpach.pps.crons import Crons
from localpach.pps.records import JobRecord, PipelineRecord
from localpach.pps.running import Running
from localpach.pps.tools import Tools
from localpach.pps.worker import Worker
from localpach.proto import pps_pb2
from localpach.waiting import Bulletin, Loop, Topic

# An image that a pipeline lacks is built by another process, which tells nobody.
LOOK_AGAIN_SECONDS = 1.0

# The states of pipelines whose jobs are started.
WORKING = (pps_pb2.PIPELINE_RUNNING, pps_pb2.PIPELINE_STANDBY)

log = logging.getLogger("localpach")


class Controller:
    """Works in a thread of its own, and does each job in another."""

    def __init__(self, bulletin: Bulletin, tools: Tools, crons: Crons, running: Running) -> None:
        self._bulletin = bulletin
        self._tools = tools
        self._crons = crons
        self._running = running
        self._threads: set[threading.Thread] = set()
        self._loop = Loop(bulletin, Topic.WORK, self._step, "controller")

    def start(self) -> None:
        """Takes up what was going on when the server ended, and starts to work."""
        for job in self._tools.jobs.unfinished():
            if job.state in (pps_pb2.JOB_STARTING, pps_pb2.JOB_RUNNING):
                with self._tools.store.write():
                    self._tools.datums.forget(job)
                    self._tools.jobs.begin_again(job)
        self._loop.start()

    def close(self) -> None:
        """Ends the thread and what runs; the next start takes it up."""
        self._loop.close()
        self._running.kill_all()
        for thread in list(self._threads):
            thread.join()

    def _step(self) -> float | None:
        states = {each: self._state(each) for each in self._tools.pipelines.all()}
        self._tools.pipelines.set_states(
            (each, *state) for each, state in states.items() if state != (each.state, each.reason)
        )
        seconds = self._crons.tick_due()
        self._start_jobs({each.num for each, (state, _) in states.items() if state in WORKING})
        if any(state == pps_pb2.PIPELINE_CRASHING for state, _ in states.values()):
            return min(seconds or LOOK_AGAIN_SECONDS, LOOK_AGAIN_SECONDS)
        return seconds

    def _state(self, pipeline: PipelineRecord) -> tuple[pps_pb2.PipelineState, str]:
        """The state that fits a pipeline, and its reason."""
        if pipeline.stopped:
            return pps_pb2.PIPELINE_PAUSED, ""
        details = self._tools.pipelines.newest_info(pipeline).details
        image = details.transform.image
        reason = self._tools.runtimes.of(image).crash_reason(image, details.resource_limits.gpu.number)
        if reason:
            return pps_pb2.PIPELINE_CRASHING, reason
        if details.autoscaling and not self._tools.jobs.unfinished(pipeline.num):
            return pps_pb2.PIPELINE_STANDBY, ""
        return pps_pb2.PIPELINE_RUNNING, ""

    def _start_jobs(self, pipelines: set[int]) -> None:
        """Starts the oldest job of each of these pipelines if its inputs are finished, unless it is being done."""
        oldest: dict[int, JobRecord] = {}
        for job in self._tools.jobs.unfinished():
            oldest.setdefault(job.pipeline, job)
        for job in oldest.values():
            if job.pipeline in pipelines and job.state == pps_pb2.JOB_CREATED and not self._running.has(job.num):
                self._start_if_ready(job)

    def _start_if_ready(self, job: JobRecord) -> None:
        try:
            if not all(record.finished is not None for record in self._tools.jobs.inputs(job)):
                return
        except LocalpachError as error:
            self._end(job, error.message)
            return
        worker = Worker(self._tools, job.num)
        if self._running.add(job.num, worker):
            thread = threading.Thread(target=self._work, args=(worker,), name=f"job {job.num}", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _end(self, job: JobRecord, problem: str) -> None:
        """Ends a job that can't be started, so that it does not hold up the others."""
        log.error("job %s can't be started: %s", job.output, problem)
        self._tools.jobs.change(job.num, lambda info: _fail(info, problem))

    def _work(self, worker: Worker) -> None:
        try:
            worker.run()
        except Exception:
            log.exception("unexpected error in a job")
            worker.fail("an unexpected error of the server; its log has more")
        finally:
            self._running.remove(worker.num)
            self._threads.discard(threading.current_thread())
            self._bulletin.tell(Topic.WORK)


def _fail(info: pps_pb2.JobInfo, problem: str) -> None:
    info.state = pps_pb2.JOB_FAILURE
    info.reason = problem
