"""What the parts of PPS share: rows of pipelines and jobs, and the errors of names that lead nowhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import NotFound
from localpach.names import DEFAULT_PROJECT, META, Commit, Repo
from localpach.pfs import CommitRecord, Pfs
from localpach.pfs.base import now, timestamp
from localpach.proto import pps_pb2
from localpach.storage.store import Store

T = TypeVar("T")

OVER = frozenset(
    (pps_pb2.JOB_SUCCESS, pps_pb2.JOB_FAILURE, pps_pb2.JOB_KILLED, pps_pb2.JOB_UNRUNNABLE),
)


def moment() -> Timestamp:
    """Now."""
    stamp = timestamp(now())
    assert stamp is not None
    return stamp


def full_name(pipeline: pps_pb2.Pipeline) -> str:
    """`project/name`."""
    return f"{pipeline.project.name or DEFAULT_PROJECT}/{pipeline.name}"


class PpsBase:
    """Looks things up; the other parts build on it."""

    def __init__(self, store: Store, pfs: Pfs, root: Path) -> None:
        self.store = store
        self.pfs = pfs
        self.root = root
        self._news = object()
        self.on_work: Callable[[], None] = lambda: None
        self.on_job_over: Callable[[int], None] = lambda num: None
        self.on_gone: Callable[[int, str | None], None] = lambda pipeline, job_id: None
        self.status_of: Callable[[int, str], list[pps_pb2.WorkerStatus]] = lambda num, worker_id: []
        self.on_restart: Callable[[int, list[str]], bool] = lambda num, filters: False

    def _tell(self) -> None:
        """Lets those look who wait for a job to come, to end or to go, once the open write is durable."""

        def tell() -> None:
            self._news = object()
            self.store.wake()

        self.store.after_commit(tell)

    def _when_told(self, look: Callable[[], T | None]) -> Callable[[], T | None]:
        """`look`, but only if there is news of jobs: hundreds of waiting calls would else read at each commit."""
        known: object = None

        def look_at_news() -> T | None:
            nonlocal known
            if known is self._news:
                return None
            known = self._news
            return look()

        return look_at_news

    def _find_pipeline(self, pipeline: pps_pb2.Pipeline) -> sqlite3.Row | None:
        with self.store.read() as connection:
            return connection.execute(
                "SELECT * FROM pipelines WHERE project = ? AND name = ?",
                (pipeline.project.name or DEFAULT_PROJECT, pipeline.name),
            ).fetchone()

    def _pipeline_row(self, pipeline: pps_pb2.Pipeline) -> sqlite3.Row:
        row = self._find_pipeline(pipeline)
        if row is None:
            name = full_name(pipeline)
            raise NotFound(
                f'pipeline was not inspected: couldn\'t find up to date spec for pipeline "{name}":'
                f' branch "master" not found in repo {name}.spec'
            )
        return row

    def _version(self, pipeline: int, version: int) -> pps_pb2.PipelineInfo:
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT info FROM pipeline_versions WHERE pipeline = ? AND version = ?", (pipeline, version)
            ).fetchone()
        if row is None:
            raise NotFound(f"version {version} of pipeline number {pipeline} not found: the pipeline was deleted")
        return pps_pb2.PipelineInfo.FromString(row["info"])

    def _job_row(self, job: pps_pb2.Job) -> sqlite3.Row:
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT j.* FROM jobs j JOIN pipelines p ON p.num = j.pipeline"
                " WHERE p.project = ? AND p.name = ? AND j.id = ?",
                (job.pipeline.project.name or DEFAULT_PROJECT, job.pipeline.name, job.id),
            ).fetchone()
        if row is None:
            raise NotFound(f"jobs {full_name(job.pipeline)}@{job.id} not found")
        return row

    def _job_by_num(self, num: int) -> sqlite3.Row:
        with self.store.read() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE num = ?", (num,)).fetchone()
        if row is None:
            raise NotFound(f"job number {num} not found: it was deleted")
        return row

    def _change_job(self, num: int, change: Callable[[pps_pb2.JobInfo], None]) -> pps_pb2.JobInfo:
        """Changes a job's row within a write."""
        with self.store.write() as connection:
            info = pps_pb2.JobInfo.FromString(self._job_by_num(num)["info"])
            change(info)
            over = info.state in OVER
            connection.execute(
                "UPDATE jobs SET state = ?, over = ?, info = ? WHERE num = ?",
                (info.state, over, info.SerializeToString(), num),
            )
            if over:
                self._tell()
                self.store.after_commit(lambda: self.on_job_over(num))
            return info

    def _end_job(self, num: int, state: int, reason: str) -> None:
        """Ends a job badly, and with it its output and meta commits."""

        def end(info: pps_pb2.JobInfo) -> None:
            info.state = state
            info.reason = reason
            info.finished.CopyFrom(moment())
            if not info.HasField("started"):
                info.started.CopyFrom(info.finished)

        with self.store.write():
            info = self._change_job(num, end)
            for commit in self._commits_of_job(info):
                if self.pfs.commit_info(commit).finishing is None:
                    self.pfs.finish_commit(commit, error=reason)

    def _commits_of_job(self, info: pps_pb2.JobInfo) -> tuple[Commit, Commit]:
        """The output and the meta commit."""
        repo = Repo.of(info.output_commit.repo)
        return Commit(repo, info.job.id), Commit(repo._replace(type=META), info.job.id)

    def _inputs_of_job(self, info: pps_pb2.JobInfo) -> list[CommitRecord]:
        """The commits that a job reads, that of the spec among them."""
        output, _ = self._commits_of_job(info)
        return self.pfs.direct_provenance(self.pfs.commit_info(output))
