"""Starting jobs when their time has come, making the ticks that are due, and telling how pipelines are."""

from __future__ import annotations

import logging
from threading import Thread, current_thread

from localpach.disk import remove_tree
from localpach.errors import LocalpachError
from localpach.faults import fault_of_disk, may_pass
from localpach.pps.changes import Changes
from localpach.pps.crons import Crons
from localpach.pps.records import JobRecord
from localpach.pps.running import Running
from localpach.pps.spouts import SPOUT, Spouts
from localpach.pps.states import States
from localpach.pps.tools import Tools
from localpach.pps.worker import Worker
from localpach.proto import pps_pb2
from localpach.waiting import RETRY_SECONDS, Bulletin, Loop, Topic

# An image that a pipeline lacks is built by another process, which tells nobody.
LOOK_AGAIN_SECONDS = 1.0

log = logging.getLogger("localpach")


class Controller:
    """Works in a thread of its own, and does each job in another."""

    def __init__(self, bulletin: Bulletin, changes: Changes, tools: Tools, crons: Crons, running: Running) -> None:
        self._changes = changes
        self._to_look_at: set[int] = set()
        self._tools = tools
        self._crons = crons
        self._running = running
        self._spouts = Spouts(tools)
        self._threads: set[Thread] = set()
        self._states = States(tools.pipelines, tools.jobs, tools.runtimes)
        self.loop = Loop(bulletin, Topic.WORK, self._step, "controller")

    def start(self) -> None:
        """Starts to work; what was going on when the server ended is begun again."""
        self.loop.start()

    def close(self) -> None:
        """Ends the thread and what runs; the next start takes it up."""
        self.loop.close()
        self._running.kill_all()
        self._spouts.close()
        for thread in list(self._threads):
            thread.join()

    def _step(self) -> float | None:
        self._to_look_at |= self._changes.take() | self._states.look_at_images(self.loop.alone)
        told = self._states.update(sorted(self._to_look_at), self.loop.alone)
        seconds = self._tick()
        if self._running.is_empty:
            with self.loop.alone("what commands have left"):
                self._remove_leftovers()
        self._spouts.keep(filter(None, map(self._tools.pipelines.by_num, self._states.spouts())), self.loop.alone)
        for num in told:
            with self.loop.alone(f"pipeline number {num}"):
                self._look_at_jobs(num)
                self._to_look_at.discard(num)
        if self._states.is_any_crashing:
            seconds.append(LOOK_AGAIN_SECONDS)
        return min(seconds, default=None)

    def _remove_leftovers(self) -> None:
        """Deletes what commands have left; not the folder itself, which commands are shown."""
        # As it is deleted, its parts are given names with dots before them.
        kept = () if self._spouts.is_empty else (SPOUT, f".{SPOUT}")
        for left in self._tools.runtimes.work.iterdir():
            if left.name.startswith(kept):
                continue
            with self.loop.alone(str(left)):
                remove_tree(left)

    def _tick(self) -> list[float]:
        """Makes the ticks that are due; gives the seconds to the next one of each cron input."""
        seconds: list[float] = []
        for waiting in self._crons.waiting():
            with self.loop.alone(str(waiting)):
                left = self._crons.tick_if_due(waiting)
                seconds += [] if left is None else [left]
        return seconds

    def _look_at_jobs(self, pipeline: int) -> None:
        """Starts the oldest job of a pipeline, if it can be. A service's job goes on until the next one can be started."""
        num = self._tools.jobs.oldest(pipeline)
        if num is not None and not self._running.has(num):
            self._take_up(num)
        if self._states.is_service(pipeline):
            jobs = self._tools.jobs.unfinished(pipeline)[:2]
            if len(jobs) == 2 and self._has_inputs(jobs[1]):
                self._running.retire(jobs[0].num)

    def _take_up(self, num: int) -> None:
        """Starts a job, if its pipeline is at work and its inputs are finished. One that goes on, and that nobody does, is
        begun again: the server was killed, or its disk failed."""
        job = self._tools.jobs.by_num(num)
        if job.state in (pps_pb2.JOB_STARTING, pps_pb2.JOB_RUNNING):
            with self._tools.store.write():
                self._tools.datums.forget(job)
                self._tools.jobs.begin_again(job)
        if self._states.is_working(job.pipeline) and job.state != pps_pb2.JOB_FINISHING:
            self._start_if_ready(job)

    def _has_inputs(self, job: JobRecord) -> bool:
        return all(record.finished is not None for record in self._tools.jobs.inputs(job))

    def _start_if_ready(self, job: JobRecord) -> None:
        try:
            if not self._has_inputs(job):
                return
        except LocalpachError as error:
            self._end(job, error.message)
            return
        worker = Worker(self._tools, job.num)
        if self._running.add(job.num, worker):
            thread = Thread(target=self._work, args=(worker, job.pipeline), name=f"job {job.num}", daemon=True)
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:
                # There are too many; this one's time comes.
                self._running.remove(job.num)
                self._threads.discard(thread)
                raise

    def _end(self, job: JobRecord, problem: str) -> None:
        """Ends a job that can't be started, so that it does not hold up the others."""
        log.error("job %s can't be started: %s", job.output, problem)
        self._tools.jobs.change(job.num, lambda info: _fail(info, problem))

    def _work(self, worker: Worker, pipeline: int) -> None:
        try:
            worker.run()
        except Exception as error:
            if may_pass(error):
                log.error("job number %s is begun again: %s", worker.num, fault_of_disk(error))
                worker.stop.wait(RETRY_SECONDS)
                return
            log.exception("unexpected error in a job")
            worker.fail("an unexpected error of the server; its log has more")
        finally:
            self._running.remove(worker.num)
            self._threads.discard(current_thread())
            self._changes.tell(pipeline)


def _fail(info: pps_pb2.JobInfo, problem: str) -> None:
    info.state = pps_pb2.JOB_FAILURE
    info.reason = problem
