"""Jobs, each the making of one output commit: how they begin, change and end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from localpach.errors import NotFound, Refused
from localpach.messages import commit_message
from localpach.names import USER
from localpach.pfs.records import CommitRecord, Gathered
from localpach.pfs.service import Pfs
from localpach.pps.changes import Changes
from localpach.pps.logs import Logs
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import OVER, JobRecord, PipelineName, moment
from localpach.pps.running import Running
from localpach.proto import pps_pb2
from localpach.storage.store import Store, Transaction
from localpach.waiting import Bulletin, Topic

SELECT_JOB = "SELECT j.* FROM jobs j JOIN pipelines p ON p.num = j.pipeline"


class JobName(NamedTuple):
    """A job as clients name it."""

    pipeline: PipelineName
    id: str

    @classmethod
    def of(cls, message: pps_pb2.Job) -> JobName:
        return cls(PipelineName.of(message.pipeline), message.id)

    def __str__(self) -> str:
        return f"{self.pipeline}@{self.id}"


class Jobs:
    """All jobs. Commits of PFS make them, and end those whose output they are."""

    def __init__(
        self,
        store: Store,
        bulletin: Bulletin,
        changes: Changes,
        pfs: Pfs,
        pipelines: Pipelines,
        running: Running,
        logs: Logs,
    ) -> None:
        self._store = store
        self._bulletin = bulletin
        self._changes = changes
        self._pfs = pfs
        self._pipelines = pipelines
        self._running = running
        self._logs = logs
        store.before_commit.append(self._follow_commits)

    def _follow_commits(self, transaction: Transaction) -> None:
        gathered = transaction.gathered(Gathered)
        for record in gathered.outputs:
            self._add(record)
        for record in gathered.finished:
            self._end_with(record)
        for record in gathered.removed:
            self._remove_with(record)
        self._tell_of_freed(gathered.freed)

    def _tell_of_freed(self, outputs: Iterable[int]) -> None:
        """Has the pipelines looked at whose output has one input less to wait for, by numbers of commits."""
        with self._store.read() as connection:
            query = (
                "SELECT p.num FROM commits c JOIN repos r ON r.num = c.repo AND r.type = ?"
                " JOIN pipelines p ON p.project = r.project AND p.name = r.name WHERE c.num = ?"
            )
            for output in outputs:
                for row in connection.execute(query, (USER, output)):
                    self._changes.tell(row[0])

    def _add(self, output: CommitRecord) -> None:
        name = PipelineName(output.commit.repo.project, output.commit.repo.name)
        pipeline = self._pipelines.find(name)
        if pipeline is None:
            return
        info = pps_pb2.JobInfo(
            job=pps_pb2.Job(pipeline=name.to_proto(), id=output.commit.id),
            pipeline_version=pipeline.version,
            output_commit=commit_message(output),
            stats=pps_pb2.ProcessStats(),
            state=pps_pb2.JOB_CREATED,
            created=moment(),
        )
        with self._store.write() as connection:
            connection.execute(
                "INSERT INTO jobs (pipeline, id, version, state, info) VALUES (?, ?, ?, ?, ?)",
                (pipeline.num, output.commit.id, pipeline.version, info.state, info.SerializeToString()),
            )
            self._bulletin.tell(Topic.JOBS)
            self._changes.tell(pipeline.num)

    def _end_with(self, output: CommitRecord) -> None:
        """The end of an output commit is the end of its job."""
        job = self._of_output(output)
        if job is None or job.state != pps_pb2.JOB_FINISHING:
            return

        def finish(info: pps_pb2.JobInfo) -> None:
            info.state = pps_pb2.JOB_FAILURE if output.error else pps_pb2.JOB_SUCCESS
            info.reason = output.error
            info.finished.CopyFrom(moment())

        self.change(job.num, finish)

    def _remove_with(self, output: CommitRecord) -> None:
        """A job goes with its output commit."""
        job = self._of_output(output)
        if job is not None:
            self._store.after_commit(partial(self._running.kill, job.num))
            self._forget(job)

    def _of_output(self, output: CommitRecord) -> JobRecord | None:
        repo = output.commit.repo
        return (
            self.find(JobName(PipelineName(repo.project, repo.name), output.commit.id)) if repo.type == USER else None
        )

    def find(self, name: JobName) -> JobRecord | None:
        with self._store.read() as connection:
            query = f"{SELECT_JOB} WHERE p.project = ? AND p.name = ? AND j.id = ?"
            row = connection.execute(query, (*name.pipeline, name.id)).fetchone()
        return job_record(row) if row else None

    def get(self, name: JobName) -> JobRecord:
        found = self.find(name)
        if found is None:
            raise NotFound(f"jobs {name} not found")
        return found

    def by_num(self, num: int) -> JobRecord:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE num = ?", (num,)).fetchone()
        if row is None:
            raise NotFound(f"job number {num} not found: it was deleted")
        return job_record(row)

    def unfinished(self, pipeline: int) -> list[JobRecord]:
        """The jobs of a pipeline that are not over, oldest first."""
        with self._store.read() as connection:
            query = "SELECT * FROM jobs WHERE over = 0 AND pipeline = ? ORDER BY num"
            return [job_record(row) for row in connection.execute(query, (pipeline,))]

    def oldest(self, pipeline: int) -> int | None:
        """The number of a pipeline's oldest job that is not over."""
        with self._store.read() as connection:
            query = "SELECT min(num) FROM jobs WHERE over = 0 AND pipeline = ?"
            found: int | None = connection.execute(query, (pipeline,)).fetchone()[0]
        return found

    def newest_state(self, pipeline: int) -> pps_pb2.JobState:
        """The state of a pipeline's newest job; unknown where it has none."""
        with self._store.read() as connection:
            query = "SELECT state FROM jobs WHERE pipeline = ? ORDER BY num DESC LIMIT 1"
            row = connection.execute(query, (pipeline,)).fetchone()
        return row["state"] if row else pps_pb2.JOB_STATE_UNKNOWN

    def newest_success(self, job: JobRecord) -> JobRecord | None:
        """The newest job of the same pipeline before this one that went well."""
        with self._store.read() as connection:
            query = "SELECT * FROM jobs WHERE pipeline = ? AND num < ? AND state = ? ORDER BY num DESC LIMIT 1"
            row = connection.execute(query, (job.pipeline, job.num, pps_pb2.JOB_SUCCESS)).fetchone()
        return job_record(row) if row else None

    def inputs(self, job: JobRecord) -> list[CommitRecord]:
        """The commits that a job reads, that of the spec among them."""
        return self._pfs.commits.provenance(self._pfs.commits.get(job.output))

    def change(self, num: int, change: Callable[[pps_pb2.JobInfo], None]) -> JobRecord:
        """Changes what is kept of a job."""
        with self._store.write() as connection:
            job = self.by_num(num)
            info = job.info
            change(info)
            over = info.state in OVER
            connection.execute(
                "UPDATE jobs SET state = ?, over = ?, info = ? WHERE num = ?",
                (info.state, over, info.SerializeToString(), num),
            )
            if over:
                self._store.after_commit(partial(self._running.kill, num))
                self._tell_of_end(job)
            return self.by_num(num)

    def _tell_of_end(self, job: JobRecord) -> None:
        self._bulletin.tell(Topic.JOBS)
        self._bulletin.tell(Topic.LOGS)
        self._changes.tell(job.pipeline)

    def end(self, num: int, state: pps_pb2.JobState, reason: str) -> None:
        """Ends a job badly, and with it its output and meta commits."""

        def end(info: pps_pb2.JobInfo) -> None:
            info.state = state
            info.reason = reason
            info.finished.CopyFrom(moment())
            if not info.HasField("started"):
                info.started.CopyFrom(info.finished)

        with self._store.write():
            for commit in self.change(num, end).commits:
                # A repo beside the output may have been deleted on its own.
                if self._pfs.commits.exists(commit) and self._pfs.commits.get(commit).finishing is None:
                    self._pfs.writes.keep_base(commit)
                    self._pfs.commits.finish(commit, error=reason)

    def begin_again(self, job: JobRecord) -> None:
        """Takes back all that a job has done that was running when the server ended."""

        def reset(info: pps_pb2.JobInfo) -> None:
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

        with self._store.write():
            for commit in self.change(job.num, reset).commits:
                self._pfs.commits.clear(commit)

    def stop(self, name: JobName, reason: str) -> None:
        """Kills a job; one that is over stays as it is."""
        with self._store.write():
            self._stop(self.get(name), reason or "job stopped")

    def stop_all(self, pipeline: int, reason: str) -> None:
        """Kills the jobs of a pipeline."""
        with self._store.write():
            for job in self.unfinished(pipeline):
                self._stop(job, reason)

    def _stop(self, job: JobRecord, reason: str) -> None:
        if not job.is_over and job.state != pps_pb2.JOB_FINISHING:
            self.end(job.num, pps_pb2.JOB_KILLED, reason)

    def delete(self, name: JobName) -> None:
        """Kills a job and forgets it; its commits stay."""
        with self._store.write():
            self.stop(name, "job deleted")
            self._forget(self.get(name))

    def _forget(self, job: JobRecord) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM jobs WHERE num = ?", (job.num,))
            self._store.after_commit(partial(self._logs.delete, job.pipeline, job.id))
            self._tell_of_end(job)

    def restart_datums(self, name: JobName, filters: list[str]) -> None:
        """Starts what a job is running once more: the datums that have an input of each path or hash in `filters`."""
        job = self.get(name)
        found = self._running.restart(job.num, filters)
        # A job that goes on may be between two datums, and Pachyderm's worker may not have let go of a killed one.
        if not found and (filters or (job.is_over and job.state != pps_pb2.JOB_KILLED)):
            shown = " ".join(filters)
            raise Refused(f"datum matching filter [{shown}] could not be found for job ID {job.id}")


def job_record(row: sqlite3.Row) -> JobRecord:
    """The job of a row of `SELECT_JOB`."""
    info = pps_pb2.JobInfo.FromString(row["info"])
    return JobRecord(row["num"], row["pipeline"], row["id"], row["version"], row["state"], bool(row["over"]), info)
