"""Doing one job: which datums, which of them are new, running those, and what becomes of the output."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Timer

from localpach.errors import LocalpachError, Refused
from localpach.faults import fault_of_disk, may_pass
from localpach.names import USER, Branch
from localpach.pfs.records import CommitRecord
from localpach.pps.batch import Batch, Batches
from localpach.pps.combinations import Datum, datums
from localpach.pps.comparison import compare
from localpach.pps.cores import Turn
from localpach.pps.datum import DatumRun, Outcome
from localpach.pps.records import JobRecord, RunningDatum, moment
from localpach.pps.services import ServiceRun
from localpach.pps.specs import worker_id
from localpach.pps.tools import Tools
from localpach.proto import pps_pb2

log = logging.getLogger("localpach")


class _Stopped(Exception):
    """The job is over already: it was stopped, or the server is closing."""


@dataclass
class Worker:
    """One job being done, in a thread of its own."""

    tools: Tools
    num: int
    stop: threading.Event = field(default_factory=threading.Event)
    _runs: set[DatumRun] = field(default_factory=set)
    _retired: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kill(self) -> None:
        """Ends what runs; nothing more is written."""
        self.stop.set()
        with self._lock:
            for run in self._runs:
                run.kill()
        self.tools.cores.let_go(self.num)

    def retire(self) -> None:
        """Ends a service, to which a newer job has come; the job has gone well."""
        with self._lock:
            self._retired = True
            for run in self._runs:
                run.kill()

    def restart(self, filters: list[str]) -> bool:
        """Starts running datums once more: those with an input of each path or hash in `filters`; says whether there
        are any."""
        with self._lock:
            return sum(run.restart(filters) for run in self._runs) > 0

    def running(self) -> list[RunningDatum]:
        """What runs right now."""
        with self._lock:
            return [run.running() for run in self._runs]

    def run(self) -> None:
        """Does the job to its end."""
        try:
            self._job = self.tools.jobs.by_num(self.num)
            self._spec = self.tools.pipelines.info(self._job.pipeline, self._job.version)
            self._inputs = self.tools.jobs.inputs(self._job)
            failed = sorted(r.commit.repo.name for r in self._inputs if r.error and r.commit.repo.type == USER)
            if failed:
                reason = f"unrunnable because the following upstream pipelines failed: {', '.join(failed)}"
                self._end(pps_pb2.JOB_UNRUNNABLE, reason)
                return
            with self._timeout():
                if self._job.state == pps_pb2.JOB_EGRESSING:
                    self._finish()
                else:
                    self._process()
        except _Stopped:
            return
        except LocalpachError as error:
            self.fail(error.message)

    def fail(self, reason: str) -> None:
        """Ends the job as failed, unless it is over or gone."""
        self._end_if_alive(pps_pb2.JOB_FAILURE, reason)

    @contextmanager
    def _timeout(self) -> Iterator[None]:
        seconds = self._spec.details.job_timeout.ToNanoseconds() / 1e9
        if seconds <= 0:
            yield
            return
        timer = Timer(seconds, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        # The text, with its blank and its missing one, is Pachyderm's.
        try:
            self._end_if_alive(pps_pb2.JOB_KILLED, " jobtimed out")
        finally:
            self.kill()

    def _end_if_alive(self, state: pps_pb2.JobState, reason: str) -> None:
        try:
            self._end(state, reason)
        except (_Stopped, LocalpachError):
            return

    def _end(self, state: pps_pb2.JobState, reason: str) -> None:
        with self.tools.store.write():
            self._check_alive()
            self.tools.jobs.end(self.num, state, reason)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    def _check_alive(self) -> None:
        if self.stop.is_set() or self.tools.jobs.by_num(self.num).is_over:
            raise _Stopped

    def _head(self, branch: Branch) -> CommitRecord | None:
        of_repo = [record for record in self._inputs if record.commit.repo == branch.repo]
        found = next((record for record in of_repo if record.branch == branch.name), of_repo[0] if of_repo else None)
        return self.tools.pfs.commits.readable(found) if found is not None else None

    def _process(self) -> None:
        transform = self._spec.details.transform
        self._runtime = self.tools.runtimes.of(transform.image)
        if self._runtime.weakness:
            self._log(pps_pb2.LogMessage(message=self._runtime.weakness))
        credentials = self.tools.secrets.pull_credentials(transform)
        self._runtime.prepare(transform.image, credentials, self._log_master, self.stop.is_set)
        found = datums(self.tools.pfs.files, self._spec.details.input, self._head, self._check_stop)
        if self._spec.details.HasField("service"):
            self._serve(found)
            return
        self._first: Turn | None = self.tools.cores.turn(self.num)
        try:
            failed = self._do(found, self._first.come)
        finally:
            if self._first is not None:
                self.tools.cores.leave(self._first)
        if failed:
            self._end(pps_pb2.JOB_FAILURE, failed[0])
        else:
            self._finish()

    def _do(self, found: list[Datum], core_is_free: threading.Event) -> list[str]:
        """Runs what is to be run; gives the sentences of the datums that failed."""
        new, changed = self._begin(found, core_is_free)
        if self._job.state == pps_pb2.JOB_STARTING:
            core_is_free.wait()
            self._job = self._change(lambda info: setattr(info, "state", pps_pb2.JOB_RUNNING))
        self._log_master("started processing job running")
        failed: list[str] = []
        with closing(Batches(self._runtime, self.tools)) as self._batches:
            for phase in (new, changed):
                if not failed:
                    self._run_all(phase, failed)
        return failed

    def _finish(self) -> None:
        """Sends the output where the spec wants it, and finishes it."""
        if self._spec.details.HasField("egress"):
            self._change(lambda info: setattr(info, "state", pps_pb2.JOB_EGRESSING))
            self._log_master("started processing job egressing")
            self.tools.egress.send(self._spec.details, self._job.output, self._check_stop)
            self._log_master("finished processing job egressing")
        with self.tools.store.write():
            for commit in self._change(lambda info: setattr(info, "state", pps_pb2.JOB_FINISHING)).commits:
                self.tools.pfs.commits.finish(commit)

    def _serve(self, found: list[Datum]) -> None:
        """Runs a service until a newer job comes."""
        if len(found) != 1:
            raise Refused("services must have a single datum")

        def begin(info: pps_pb2.JobInfo) -> None:
            info.state, info.data_total = pps_pb2.JOB_RUNNING, 1
            info.started.CopyFrom(moment())

        self._job = self._change(begin)
        run = ServiceRun(self.tools, self._runtime, self._job.info, self._spec, found[0], self._log)
        with self._lock:
            self._runs.add(run)
            is_over = self._retired or self.stop.is_set()
        try:
            if not is_over:
                run.serve()
        finally:
            with self._lock:
                self._runs.discard(run)
        self._finish()

    def _change(self, change: Callable[[pps_pb2.JobInfo], None]) -> JobRecord:
        self._check_alive()
        return self.tools.jobs.change(self.num, change)

    def _begin(self, all_datums: list[Datum], core_is_free: threading.Event) -> tuple[list[Datum], list[Datum]]:
        """Marks the job as running, or as starting where it has to wait for a core, and takes over what an earlier job
        did; gives the new and the changed datums."""
        with self.tools.store.write():
            found = compare(self.tools, self._job, self._spec, all_datums)
            waits = (found.new or found.changed) and not core_is_free.is_set()

            def begin(info: pps_pb2.JobInfo) -> None:
                info.state = pps_pb2.JOB_STARTING if waits else pps_pb2.JOB_RUNNING
                info.started.CopyFrom(moment())
                info.data_total = len(all_datums)
                info.data_skipped = len(found.done)
                for stat in (info.stats.download_time, info.stats.process_time, info.stats.upload_time):
                    stat.SetInParent()

            self._job = self._change(begin)
            if found.base is not None and found.done:
                self.tools.datums.carry(found.base, self._job, found.gone)
        return found.new, found.changed

    def _run_all(self, todo: list[Datum], failed: list[str]) -> None:
        """Runs datums side by side and writes down what is done, as much as has come at once."""
        if not todo:
            self._log(pps_pb2.LogMessage(message="started process datum set task"))
            self._log(pps_pb2.LogMessage(message="finished process datum set task"))
            return
        done: queue.Queue[Outcome] = queue.Queue()
        fault: Exception | None = None
        workers = max(1, min(self._spec.parallelism, os.cpu_count() or 1, len(todo)))
        with ThreadPoolExecutor(workers, thread_name_prefix="datum") as pool:
            for datum in todo:
                pool.submit(self._run_one, datum, done)
            left = len(todo)
            while left:
                outcomes = [done.get()]
                while not done.empty():
                    outcomes.append(done.get())
                left -= len(outcomes)
                try:
                    self._write_down(outcomes)
                except _Stopped:
                    self.kill()
                except Exception as error:
                    if may_pass(error):
                        self.kill()
                    fault = fault or error
                failed += [_failure(each) for each in outcomes if each.state == pps_pb2.DatumState.FAILED]
        if fault is not None:
            raise fault
        if self.stop.is_set():
            raise _Stopped

    def _run_one(self, datum: Datum, done: queue.Queue[Outcome]) -> None:
        if self.stop.is_set():
            done.put(Outcome(datum, pps_pb2.DatumState.FAILED))
            return
        try:
            with self._turn():
                outcome = self._run(datum)
            done.put(outcome)
        except Exception as error:
            self._log(pps_pb2.LogMessage(message=f"could not run datum {datum.id}: {error}", datum_id=datum.id))
            told = error if isinstance(error, LocalpachError) else fault_of_disk(error)
            done.put(Outcome(datum, pps_pb2.DatumState.FAILED, problem=told.message if told else ""))
            if not isinstance(error, (LocalpachError, OSError)):
                log.exception("unexpected error with datum %s", datum.id)

    def _turn(self) -> Turn:
        """A turn at a core; the first datum has the one that the job waited for."""
        with self._lock:
            first, self._first = self._first, None
        return first or self.tools.cores.turn(self.num)

    def _run(self, datum: Datum) -> Outcome:
        if not self._spec.details.transform.datum_batching:
            return self._run_in(None, datum)
        with self._batches.lend() as batch:
            return self._run_in(batch, datum)

    def _run_in(self, batch: Batch | None, datum: Datum) -> Outcome:
        run = DatumRun(self.tools, self._runtime, self._job.info, self._spec, datum, self._log, batch)
        with self._lock:
            self._runs.add(run)
        try:
            if self.stop.is_set():
                return Outcome(datum, pps_pb2.DatumState.FAILED)
            self._log(pps_pb2.LogMessage(message="started process datum set task"))
            outcome = run.run()
            self._log(pps_pb2.LogMessage(message="finished process datum set task"))
            return outcome
        finally:
            with self._lock:
                self._runs.discard(run)

    def _write_down(self, outcomes: list[Outcome]) -> None:
        try:
            with self.tools.store.write():
                self._check_alive()
                for outcome in outcomes:
                    self._store_output(outcome)
                    self.tools.datums.add(
                        self._job, outcome.datum, self._datum_info(outcome), outcome.datum.hash(self._spec.details.salt)
                    )
                self._change(lambda info: _count(info, outcomes))
        finally:
            for outcome in outcomes:
                outcome.discard()

    def _store_output(self, outcome: Outcome) -> None:
        if outcome.state != pps_pb2.DatumState.SUCCESS or outcome.output is None:
            return
        try:
            self.tools.pfs.writes.apply(self._job.output, outcome.output.changes, outcome.output.batch)
        except LocalpachError as error:
            outcome.state = pps_pb2.DatumState.FAILED
            outcome.problem = error.message
            self._log(pps_pb2.LogMessage(message=error.message, datum_id=outcome.datum.id))

    def _datum_info(self, outcome: Outcome) -> pps_pb2.DatumInfo:
        return pps_pb2.DatumInfo(
            datum=pps_pb2.Datum(job=self._job.info.job, id=outcome.datum.id),
            state=outcome.state,
            stats=outcome.stats,
            image_id=self._spec.details.transform.image,
        )

    def _log(self, message: pps_pb2.LogMessage) -> None:
        job = self._job.info.job
        message.project_name = job.pipeline.project.name
        message.pipeline_name = job.pipeline.name
        message.job_id = job.id
        message.worker_id = worker_id(self._spec)
        self.tools.logs.write(self._job.pipeline, message)

    def _log_master(self, text: str) -> None:
        self._log(pps_pb2.LogMessage(message=text, master=True))


def _count(info: pps_pb2.JobInfo, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        outcome.count_in(info)


def _failure(outcome: Outcome) -> str:
    """Pachyderm's sentence, and what it leaves to the logs where the command is not to blame."""
    return f"datum {outcome.datum.id} failed" + (f": {outcome.problem}" if outcome.problem else "")
