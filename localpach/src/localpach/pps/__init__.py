"""PPS: pipelines, jobs and datums. `Pps` is built up file by file: base, pipelines, crons, jobs, secrets; a worker does
one job, a datum one datum of it.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from localpach.names import Commit
from localpach.pfs import Pfs
from localpach.pfs.globs import compile_glob
from localpach.pps.base import moment
from localpach.pps.datum import remove_tree
from localpach.pps.logs import Logs
from localpach.pps.secrets import Secrets
from localpach.pps.worker import Worker
from localpach.proto import pps_pb2
from localpach.runtime.choice import Runtimes
from localpach.storage.store import Store

log = logging.getLogger("localpach")

# An image that a pipeline lacks is built by another process, which tells nobody.
LOOK_AGAIN_SECONDS = 1.0


class Pps(Secrets):
    """The whole of PPS, with the thread that starts jobs when their time has come."""

    def __init__(self, store: Store, pfs: Pfs, root: Path, missing_image: str) -> None:
        super().__init__(store, pfs, root)
        # Secrets are in there, and whoever may not see them may see the folder.
        for file in root.glob("metadata.sqlite*"):
            file.chmod(0o600)
        self.logs = Logs(root)
        self.runtimes = Runtimes(root, missing_image)
        self.slots = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._workers: dict[int, Worker] = {}
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._closing = False
        self._controller = threading.Thread(target=self._control, name="controller", daemon=True)
        self.on_work = self._wanted.set
        self.on_job_over = self._job_over
        self.on_restart = self._restart_datums
        self.on_gone = self.logs.delete
        self.status_of = self._status_of
        pfs.new_commit_hooks.append(self.add_job)
        pfs.finished_hooks.append(self._commit_finished)

    def start(self) -> None:
        """Takes up what was going on when the server ended, and starts to work."""
        self.runtimes.remove_leftovers()
        remove_tree(self.root / "work")
        with self.store.read() as connection:
            self.logs.keep({row["num"] for row in connection.execute("SELECT num FROM pipelines")})
        self._restart_jobs()
        self._controller.start()
        self._wanted.set()

    def _restart_jobs(self) -> None:
        running = (pps_pb2.JOB_STARTING, pps_pb2.JOB_RUNNING)

        def again(info: pps_pb2.JobInfo) -> None:
            fresh = pps_pb2.JobInfo(
                job=info.job,
                pipeline_version=info.pipeline_version,
                output_commit=info.output_commit,
                restart=info.restart + 1,
                stats=pps_pb2.ProcessStats(),
                state=pps_pb2.JOB_CREATED,
                created=info.created,
            )
            info.CopyFrom(fresh)

        with self.store.write() as connection:
            for row in connection.execute("SELECT * FROM jobs WHERE over = 0").fetchall():
                if row["state"] in running:
                    info = self._change_job(row["num"], again)
                    connection.execute("DELETE FROM datums WHERE job = ?", (row["num"],))
                    for commit in self._commits_of_job(info):
                        self.pfs.clear_commit(commit)

    def close(self) -> None:
        """Ends the thread and what runs; the next start takes it up."""
        self._closing = True
        self._wanted.set()
        self._controller.join()
        with self._lock:
            workers, threads = list(self._workers.values()), list(self._threads)
        for worker in workers:
            worker.kill()
        for thread in threads:
            thread.join()

    def _commit_finished(self, commit: Commit) -> None:
        """The end of an output commit is the end of its job; the end of any commit may be what a job waits for."""
        self.store.after_commit(self._wanted.set)
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT j.num FROM jobs j JOIN pipelines p ON p.num = j.pipeline"
                " WHERE j.id = ? AND p.project = ? AND p.name = ? AND j.state = ? AND ? = 'user'",
                (commit.id, commit.repo.project, commit.repo.name, pps_pb2.JOB_FINISHING, commit.repo.type),
            ).fetchone()
        if row is None:
            return
        error = self.pfs.commit_info(commit).error

        def finish(info: pps_pb2.JobInfo) -> None:
            info.state = pps_pb2.JOB_FAILURE if error else pps_pb2.JOB_SUCCESS
            info.reason = error
            info.finished.CopyFrom(moment())

        self._change_job(row["num"], finish)

    def _job_over(self, num: int) -> None:
        with self._lock:
            worker = self._workers.get(num)
        if worker is not None:
            worker.kill()
        self.logs.wake()
        self._wanted.set()

    def _status_of(self, num: int, worker_id: str) -> list[pps_pb2.WorkerStatus]:
        with self._lock:
            worker = self._workers.get(num)
        return worker.status(worker_id) if worker is not None else []

    def _restart_datums(self, num: int, filters: list[str]) -> bool:
        with self._lock:
            worker = self._workers.get(num)
        return worker is not None and worker.restart(filters)

    def _control(self) -> None:
        wait: float | None = None
        while not self._closing:
            self._wanted.wait(wait)
            self._wanted.clear()
            try:
                crashing = self.settle_states(self._crash_reason)
                wait = self.tick_due()
                if crashing:
                    wait = min(wait or LOOK_AGAIN_SECONDS, LOOK_AGAIN_SECONDS)
                self._start_jobs()
            except Exception:
                if self._closing:
                    return
                log.exception("unexpected error in the controller; it goes on")
                wait = 1.0

    def _crash_reason(self, info: pps_pb2.PipelineInfo) -> str:
        image, gpus = info.details.transform.image, info.details.resource_limits.gpu.number
        return self.runtimes.of(image).crash_reason(image, gpus)

    def _start_jobs(self) -> None:
        """Starts the oldest job of each pipeline whose inputs are finished, unless one is being done."""
        with self.store.read() as connection:
            rows = connection.execute(
                "SELECT min(j.num) AS num, j.pipeline, p.state AS pipeline_state, j.state, j.info FROM jobs j"
                " JOIN pipelines p ON p.num = j.pipeline WHERE j.over = 0 AND p.stopped = 0 GROUP BY j.pipeline"
            ).fetchall()
            ready = [
                row["num"]
                for row in rows
                if row["state"] == pps_pb2.JOB_CREATED
                and row["pipeline_state"] != pps_pb2.PIPELINE_CRASHING
                and all(
                    record.finished is not None
                    for record in self._inputs_of_job(pps_pb2.JobInfo.FromString(row["info"]))
                )
            ]
        for num in ready:
            with self._lock:
                if num in self._workers or self._closing:
                    continue
                worker = self._workers[num] = Worker(self, num)
                thread = threading.Thread(target=self._work, args=(worker,), name=f"job {num}", daemon=True)
                self._threads.add(thread)
            thread.start()

    def _work(self, worker: Worker) -> None:
        try:
            worker.run()
        except Exception:
            log.exception("unexpected error in a job")
            worker.fail("an unexpected error of the server; its log has more")
        finally:
            with self._lock:
                self._workers.pop(worker.num, None)
                self._threads.discard(threading.current_thread())
            self._wanted.set()

    def expand(self, glob: str, template: str, path: str) -> str:
        """A join or group key of a path."""
        return compile_glob(glob).expand(template, path.rstrip("/") or "/")
