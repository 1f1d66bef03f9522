"""Doing one job: which datums, which of them are new, running those, and what becomes of the output."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localpach.errors import LocalpachError
from localpach.names import USER, Branch
from localpach.pfs import CommitRecord
from localpach.pps.base import moment
from localpach.pps.datum import DatumRun, Outcome, since
from localpach.pps.inputs import Datum, datums
from localpach.pps.jobs import data_of
from localpach.pps.specs import worker_id
from localpach.pps.tally import count, meta_of
from localpach.proto import pps_pb2

if TYPE_CHECKING:
    from localpach.pps import Pps

log = logging.getLogger("localpach")


class _Stopped(Exception):
    """The job is over already: it was stopped, or the server is closing."""


@dataclass
class Worker:
    """One job being done, in a thread of its own."""

    pps: Pps
    num: int
    stop: threading.Event = field(default_factory=threading.Event)
    _runs: set[DatumRun] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kill(self) -> None:
        """Ends what runs; nothing more is written."""
        self.stop.set()
        with self._lock:
            for run in self._runs:
                run.kill()

    def restart(self, filters: list[str]) -> bool:
        """Starts running datums once more: those with an input of each path or hash in `filters`; says whether there
        are any."""
        with self._lock:
            return sum(run.restart(filters) for run in self._runs) > 0

    def status(self, worker_id: str) -> list[pps_pb2.WorkerStatus]:
        """What runs right now, a worker status for each datum."""
        with self._lock:
            runs = list(self._runs)
        return [run.status(worker_id) for run in runs]

    def run(self) -> None:
        """Does the job to its end."""
        pps = self.pps
        try:
            row = pps._job_by_num(self.num)
            self._info = pps_pb2.JobInfo.FromString(row["info"])
            self._pipeline: int = row["pipeline"]
            self._spec = pps._version(row["pipeline"], row["version"])
            self._inputs = pps._inputs_of_job(self._info)
            failed = sorted(r.commit.repo.name for r in self._inputs if r.error and r.commit.repo.type == USER)
            if failed:
                reason = f"unrunnable because the following upstream pipelines failed: {', '.join(failed)}"
                self._end(pps_pb2.JOB_UNRUNNABLE, reason)
                return
            with self._timeout():
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
        timer = threading.Timer(seconds, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        # The text, with its blank and its missing one, is Pachyderm's.
        self._end_if_alive(pps_pb2.JOB_KILLED, " jobtimed out")
        self.kill()

    def _end_if_alive(self, state: int, reason: str) -> None:
        try:
            self._end(state, reason)
        except (_Stopped, LocalpachError):
            return

    def _end(self, state: int, reason: str) -> None:
        with self.pps.store.write():
            self._check_alive()
            self.pps._end_job(self.num, state, reason)

    def _check_alive(self) -> None:
        if self.stop.is_set() or self.pps._job_by_num(self.num)["over"]:
            raise _Stopped

    def _head(self, branch: Branch) -> CommitRecord | None:
        of_repo = [record for record in self._inputs if record.commit.repo == branch.repo]
        return next((record for record in of_repo if record.branch == branch.name), of_repo[0] if of_repo else None)

    def _process(self) -> None:
        transform = self._spec.details.transform
        self._runtime = self.pps.runtimes.of(transform.image)
        credentials = self.pps.pull_credentials(transform)
        self._runtime.prepare(transform.image, credentials, self._master_log, self.stop.is_set)
        all_datums = datums(self.pps.pfs, self._spec.details.input, self._head)
        new, changed = self._begin(all_datums)
        self._master_log("started processing job running")
        failed: list[str] = []
        for phase in (new, changed):
            self._run_all(phase, failed)
            if failed:
                self._end(pps_pb2.JOB_FAILURE, failed[0])
                return
        with self.pps.store.write():
            self._check_alive()
            info = self._change(lambda info: setattr(info, "state", pps_pb2.JOB_FINISHING))
            for commit in self.pps._commits_of_job(info):
                self.pps.pfs.finish_commit(commit)

    def _change(self, change: object) -> pps_pb2.JobInfo:
        self._check_alive()
        return self.pps._change_job(self.num, change)  # type: ignore[arg-type]

    def _begin(self, all_datums: list[Datum]) -> tuple[list[Datum], list[Datum]]:
        """Marks the job as running and takes over what an earlier job did; gives the new and the changed datums."""
        store, salt = self.pps.store, self._spec.details.salt
        with store.write() as connection:
            self._check_alive()
            base = self._base(salt)
            rows = connection.execute("SELECT id, hash FROM datums WHERE job = ?", (base,))
            known = {row["id"]: row["hash"] for row in rows}
            skipped, new, changed = [], [], []
            for datum in all_datums:
                if datum.id not in known:
                    new.append(datum)
                elif known[datum.id] != datum.hash(salt) or self._spec.details.reprocess_spec == "every_job":
                    changed.append(datum)
                else:
                    skipped.append(datum)

            def begin(info: pps_pb2.JobInfo) -> None:
                info.state = pps_pb2.JOB_RUNNING
                info.started.CopyFrom(moment())
                info.data_total = len(all_datums)
                info.data_skipped = len(skipped)
                for name in ("download_time", "process_time", "upload_time"):
                    getattr(info.stats, name).SetInParent()

            self._info = self._change(begin)
            if skipped and base is not None:
                ids = {datum.id for datum in skipped}
                self._carry(base, known.keys() - ids)
        return new, changed

    def _base(self, salt: str) -> int | None:
        """The newest job before this one that went well with the same salt."""
        with self.pps.store.read() as connection:
            rows = connection.execute(
                "SELECT num, version FROM jobs WHERE pipeline = ? AND num < ? AND state = ? ORDER BY num DESC LIMIT 1",
                (self._pipeline, self.num, pps_pb2.JOB_SUCCESS),
            ).fetchall()
        for row in rows:
            if self.pps._version(self._pipeline, row["version"]).details.salt == salt:
                return row["num"]
        return None

    def _carry(self, base: int, others: set[str]) -> None:
        """Takes over the datums of an earlier job, and what they wrote; but not those in `others`."""
        source = self.pps._commits_of_job(pps_pb2.JobInfo.FromString(self.pps._job_by_num(base)["info"]))
        target = self.pps._commits_of_job(self._info)
        with self.pps.store.write() as connection:
            for old, fresh in zip(source, target, strict=True):
                self.pps.pfs.carry(old, fresh, others)
            connection.execute(
                "INSERT INTO datums SELECT ?, id, hash, ?, info FROM datums WHERE job = ?",
                (self.num, pps_pb2.DatumState.SKIPPED, base),
            )
            connection.executemany("DELETE FROM datums WHERE job = ? AND id = ?", [(self.num, id) for id in others])

    def _run_all(self, todo: list[Datum], failed: list[str]) -> None:
        """Runs datums side by side and writes down what is done, as much as has come at once."""
        if not todo:
            self._log(pps_pb2.LogMessage(message="started process datum set task"))
            self._log(pps_pb2.LogMessage(message="finished process datum set task"))
            return
        done: queue.Queue[Outcome] = queue.Queue()
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
                if self.stop.is_set():
                    continue
                try:
                    self._write_down(outcomes)
                except _Stopped:
                    self.kill()
                failed += [_failure(each) for each in outcomes if each.state == pps_pb2.DatumState.FAILED]
        if self.stop.is_set():
            raise _Stopped

    def _run_one(self, datum: Datum, done: queue.Queue[Outcome]) -> None:
        run = DatumRun(self.pps, self._runtime, self._info, self._spec, datum, self._log)
        with self._lock:
            self._runs.add(run)
        try:
            with self.pps.slots:
                if self.stop.is_set():
                    done.put(Outcome(datum, pps_pb2.DatumState.FAILED))
                    return
                self._log(pps_pb2.LogMessage(message="started process datum set task"))
                outcome = run.run()
                self._log(pps_pb2.LogMessage(message="finished process datum set task"))
            done.put(outcome)
        except Exception as error:
            self._log(pps_pb2.LogMessage(message=f"could not run datum {datum.id}: {error}", datum_id=datum.id))
            problem = error.message if isinstance(error, LocalpachError) else ""
            done.put(Outcome(datum, pps_pb2.DatumState.FAILED, problem=problem))
            if not isinstance(error, (LocalpachError, OSError)):
                log.exception("unexpected error with datum %s", datum.id)
        finally:
            with self._lock:
                self._runs.discard(run)

    def _write_down(self, outcomes: list[Outcome]) -> None:
        output, meta = self.pps._commits_of_job(self._info)
        try:
            with self.pps.store.write() as connection:
                self._check_alive()
                for outcome in outcomes:
                    if outcome.state == pps_pb2.DatumState.SUCCESS and outcome.output is not None:
                        try:
                            start = time.monotonic()
                            outcome.stats.upload_bytes = self.pps.pfs.add_tree(output, outcome.output, outcome.datum.id)
                            outcome.stats.upload_time.CopyFrom(since(start))
                        except LocalpachError as error:
                            outcome.state = pps_pb2.DatumState.FAILED
                            self._log(pps_pb2.LogMessage(message=error.message, datum_id=outcome.datum.id))
                    info = self._datum_info(outcome)
                    hashed = outcome.datum.hash(self._spec.details.salt)
                    connection.execute(
                        "INSERT OR REPLACE INTO datums VALUES (?, ?, ?, ?, ?)",
                        (self.num, outcome.datum.id, hashed, info.state, info.SerializeToString()),
                    )
                    text = json.dumps(meta_of(info, outcome.datum, hashed)).encode()
                    self.pps.pfs.put(meta, f"/meta/{outcome.datum.id}/meta", text, outcome.datum.id)
                self._change(lambda info: count(info, outcomes))
        finally:
            for outcome in outcomes:
                outcome.discard()

    def _datum_info(self, outcome: Outcome) -> pps_pb2.DatumInfo:
        return pps_pb2.DatumInfo(
            datum=pps_pb2.Datum(job=self._info.job, id=outcome.datum.id),
            state=outcome.state,
            stats=outcome.stats,
            data=data_of(outcome.datum),
            image_id=self._spec.details.transform.image,
        )

    def _log(self, message: pps_pb2.LogMessage) -> None:
        message.project_name = self._info.job.pipeline.project.name
        message.pipeline_name = self._info.job.pipeline.name
        message.job_id = self._info.job.id
        message.worker_id = worker_id(self._spec)
        self.pps.logs.write(self._pipeline, message)

    def _master_log(self, text: str) -> None:
        self._log(pps_pb2.LogMessage(message=text, master=True))


def _failure(outcome: Outcome) -> str:
    """Pachyderm's sentence, and what it leaves to the logs where the command is not to blame."""
    return f"datum {outcome.datum.id} failed" + (f": {outcome.problem}" if outcome.problem else "")
