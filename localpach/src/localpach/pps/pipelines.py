"""Pipelines: created, changed, stopped, started, deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from localpach.errors import AlreadyExists, NotFound, Refused
from localpach.names import DEFAULT_PROJECT, META, SPEC, Branch, Commit, Repo
from localpach.pps import inputs, specs
from localpach.pps.base import PpsBase, full_name, moment
from localpach.proto import pps_pb2

STOPPED = "all jobs killed because pipeline was stopped"
CHANGED = "(SELECT max(v.rowid) FROM pipeline_versions v WHERE v.pipeline = pipelines.num)"


class Pipelines(PpsBase):
    """All pipelines. The versions of one are kept, the newest counts."""

    def create_pipeline(self, request: pps_pb2.CreatePipelineRequest) -> None:
        """Makes a pipeline, or with `update` a new version of it; either makes a job, if there is an input."""
        specs.check(request)
        with self.store.write() as connection:
            row = self._find_pipeline(request.pipeline)
            repo = specs.output_repo(request.pipeline)
            if row is not None and not request.update:
                raise AlreadyExists(f'pipeline "{full_name(request.pipeline)}" already exists')
            if row is None and self.pfs.repo_exists(repo):
                raise Refused(
                    f'pipeline "{request.pipeline.name}" cannot be created because a repo with the same name already exists'
                )
            version = row["version"] + 1 if row is not None else 1
            old = self._version(row["num"], row["version"]) if row is not None else None
            info = specs.pipeline_info(request, version, old, moment())
            self._make_repos(info, repo)
            spec = self._spec_commit(repo)
            info.spec_commit.CopyFrom(spec.to_proto("master"))
            num = row["num"] if row is not None else self._insert(info)
            if row is not None:
                self._stop_jobs(num, "all jobs killed because pipeline was updated")
            connection.execute(
                "UPDATE pipelines SET version = ?, state = ?, reason = '' WHERE num = ?",
                (version, pps_pb2.PIPELINE_STARTING, num),
            )
            data = info.SerializeToString()
            connection.execute("INSERT INTO pipeline_versions VALUES (?, ?, ?)", (num, version, data))
            self._set_provenance(info, attached=row is None or not row["stopped"])
            self._start_ticks(num, info)
            self.store.after_commit(self.on_work)

    def _insert(self, info: pps_pb2.PipelineInfo) -> int:
        with self.store.write() as connection:
            num = connection.execute(
                "INSERT INTO pipelines (project, name, version, state) VALUES (?, ?, ?, ?)",
                (info.pipeline.project.name, info.pipeline.name, info.version, pps_pb2.PIPELINE_STARTING),
            ).lastrowid
            assert num is not None
            return num

    def _make_repos(self, info: pps_pb2.PipelineInfo, repo: Repo) -> None:
        name = full_name(info.pipeline)
        for leaf in inputs.leaves_of(info):
            branch = inputs.branch_of(leaf)
            if leaf.HasField("cron"):
                if not self.pfs.repo_exists(branch.repo):
                    self.pfs.create_repo(branch.repo, f"Cron tick repo for pipeline {name}.")
            elif not self.pfs.repo_exists(branch.repo):
                raise NotFound(f"repo {branch.repo} not found")
            elif leaf.pfs.HasField("trigger"):
                self.pfs.create_branch(branch, trigger=leaf.pfs.trigger)
        if not self.pfs.repo_exists(repo):
            self.pfs.create_repo(repo, f"Output repo for pipeline {name}.")
            self.pfs.create_repo(repo._replace(type=SPEC), f"Spec repo for pipeline {name}.")
            self.pfs.create_repo(repo._replace(type=META), f"Meta repo for pipeline {info.pipeline.name}")

    def _spec_commit(self, repo: Repo) -> Commit:
        commit = self.pfs.start_commit(Branch(repo._replace(type=SPEC), "master"))
        self.pfs.finish_commit(commit)
        return commit

    def _set_provenance(self, info: pps_pb2.PipelineInfo, attached: bool) -> None:
        """Lets the output follow the inputs, or, for a stopped pipeline, nothing."""
        if not info.details.HasField("input"):
            return
        repo = specs.output_repo(info.pipeline)
        provenance = [inputs.branch_of(leaf) for leaf in inputs.leaves_of(info)]
        provenance.append(Branch(repo._replace(type=SPEC), "master"))
        for each in (repo, repo._replace(type=META)):
            branch = Branch(each, info.details.output_branch)
            if attached or not self.pfs.branch_exists(branch):
                self.pfs.create_branch(branch, provenance=list(dict.fromkeys(provenance)) if attached else ())
            else:
                self.pfs.create_branch(branch)

    def _start_ticks(self, num: int, info: pps_pb2.PipelineInfo) -> None:
        with self.store.write() as connection:
            connection.execute("DELETE FROM ticks WHERE pipeline = ?", (num,))
            for leaf in inputs.leaves_of(info):
                if leaf.HasField("cron"):
                    start = leaf.cron.start.seconds * 1_000_000 + leaf.cron.start.nanos // 1000
                    connection.execute("INSERT INTO ticks VALUES (?, ?, ?)", (num, leaf.cron.name, start))

    def stop_pipeline(self, pipeline: pps_pb2.Pipeline) -> None:
        """Ends its jobs and lets new input make none; a missing pipeline is fine."""
        row = self._find_pipeline(pipeline)
        if row is None or row["stopped"]:
            return
        with self.store.write() as connection:
            connection.execute("UPDATE pipelines SET stopped = 1 WHERE num = ?", (row["num"],))
            self._stop_jobs(row["num"], STOPPED)
            self._set_provenance(self._version(row["num"], row["version"]), attached=False)
            self.store.after_commit(self.on_work)

    def start_pipeline(self, pipeline: pps_pb2.Pipeline) -> None:
        """Lets a stopped pipeline work on the newest input."""
        row = self._pipeline_row(pipeline)
        with self.store.write() as connection:
            connection.execute(
                "UPDATE pipelines SET stopped = 0, state = ? WHERE num = ? AND stopped = 1",
                (pps_pb2.PIPELINE_STARTING, row["num"]),
            )
            self._set_provenance(self._version(row["num"], row["version"]), attached=True)
            self.store.after_commit(self.on_work)

    def _stop_jobs(self, pipeline: int, reason: str) -> None:
        with self.store.write() as connection:
            jobs = connection.execute(
                "SELECT num, state FROM jobs WHERE pipeline = ? AND over = 0", (pipeline,)
            ).fetchall()
            for job in jobs:
                if job["state"] != pps_pb2.JOB_FINISHING:
                    self._end_job(job["num"], pps_pb2.JOB_KILLED, reason)

    def delete_pipeline(self, pipeline: pps_pb2.Pipeline, force: bool = False, keep_repo: bool = False) -> None:
        """Deletes a pipeline with its jobs and, unless kept, its output; a missing one is fine."""
        with self.store.write() as connection:
            row = self._find_pipeline(pipeline)
            if row is None:
                return
            repo = specs.output_repo(pipeline)
            self._stop_jobs(row["num"], STOPPED)
            info = self._version(row["num"], row["version"])
            self._set_provenance(info, attached=False)
            if keep_repo:
                for type in (META, SPEC):
                    self.pfs.delete_repo(repo._replace(type=type), force, owned=True)
            else:
                self.pfs.delete_repo(repo, force, owned=True)
            for leaf in inputs.leaves_of(info):
                if leaf.HasField("cron"):
                    self.pfs.delete_repo(inputs.branch_of(leaf).repo, force)
            num: int = row["num"]
            connection.execute("DELETE FROM pipelines WHERE num = ?", (num,))
            self._tell()
            self.store.after_commit(lambda: self.on_gone(num, None))

    def delete_pipelines(
        self, projects: list[str], all: bool, force: bool = False, keep_repo: bool = False
    ) -> list[pps_pb2.Pipeline]:
        """Deletes the pipelines of some projects, or all, downstream ones first; gives the names."""
        with self.store.write() as connection:
            rows = connection.execute(f"SELECT project, name FROM pipelines ORDER BY {CHANGED} DESC").fetchall()
            left = [_pipeline(row) for row in rows if all or row["project"] in projects]
            names = list(left)
            while left:
                ready = [each for each in left if not self._is_upstream(each, left)] or left[:1]
                for each in ready:
                    self.delete_pipeline(each, force, keep_repo)
                    left.remove(each)
            return names

    def _is_upstream(self, pipeline: pps_pb2.Pipeline, others: list[pps_pb2.Pipeline]) -> bool:
        repo = specs.output_repo(pipeline)
        for other in others:
            row = self._pipeline_row(other)
            info = self._version(row["num"], row["version"])
            if any(inputs.branch_of(leaf).repo == repo for leaf in inputs.leaves_of(info)):
                return True
        return False

    def inspect_pipeline(self, pipeline: pps_pb2.Pipeline, details: bool) -> pps_pb2.PipelineInfo:
        """A pipeline; `name^` is its version before the newest."""
        plain = pps_pb2.Pipeline(name=pipeline.name.rstrip("^"))
        plain.project.name = pipeline.project.name or DEFAULT_PROJECT
        row = self._pipeline_row(plain)
        version = row["version"] - (len(pipeline.name) - len(plain.name))
        if version < 1:
            raise Refused(
                f'pipeline "{full_name(plain)}" has only {row["version"]} versions,'
                f" not enough to find ancestor {row['version'] - version}"
            )
        return self._shown(row, version, details, workers=True)

    def list_pipelines(
        self, pipeline: pps_pb2.Pipeline | None, projects: list[str], history: int
    ) -> Iterator[pps_pb2.PipelineInfo]:
        """Last changed first, each with as many older versions as `history` says (-1: all)."""
        with self.store.read() as connection:
            rows = connection.execute(f"SELECT * FROM pipelines ORDER BY {CHANGED} DESC").fetchall()
        for row in rows:
            if pipeline is not None and (row["project"], row["name"]) != (
                pipeline.project.name or DEFAULT_PROJECT,
                pipeline.name,
            ):
                continue
            if projects and row["project"] not in projects:
                continue
            oldest = 1 if history < 0 else max(row["version"] - history, 1)
            for version in range(row["version"], oldest - 1, -1):
                try:
                    shown = self._shown(row, version, details=True, workers=False)
                except NotFound:
                    # It was deleted since.
                    break
                yield shown

    def _shown(self, row: sqlite3.Row, version: int, details: bool, workers: bool) -> pps_pb2.PipelineInfo:
        info = self._version(row["num"], version)
        info.stopped = bool(row["stopped"])
        info.state = row["state"]
        info.reason = row["reason"]
        with self.store.read() as connection:
            newest = connection.execute(
                "SELECT state FROM jobs WHERE pipeline = ? ORDER BY num DESC LIMIT 1", (row["num"],)
            ).fetchone()
        if newest:
            info.last_job_state = newest["state"]
        if not details:
            info.ClearField("details")
        elif workers and row["state"] not in (pps_pb2.PIPELINE_PAUSED, pps_pb2.PIPELINE_STANDBY):
            info.details.workers_requested = info.parallelism
            if row["state"] == pps_pb2.PIPELINE_RUNNING and version == row["version"]:
                info.details.workers_available = info.parallelism
        return info

    def settle_states(self, crash_reason: Callable[[pps_pb2.PipelineInfo], str]) -> bool:
        """Moves pipelines to the state that fits them; `crash_reason` says why one can't run, if it can't. Gives whether
        there is one that can't."""
        with self.store.read() as connection:
            rows = connection.execute("SELECT * FROM pipelines").fetchall()
            busy = {row["pipeline"] for row in connection.execute("SELECT DISTINCT pipeline FROM jobs WHERE over = 0")}
            infos = [self._version(row["num"], row["version"]) for row in rows]
        changes = []
        crashing = False
        for row, info in zip(rows, infos, strict=True):
            reason = crash_reason(info)
            if row["stopped"]:
                state, reason = pps_pb2.PIPELINE_PAUSED, ""
            elif reason:
                state, crashing = pps_pb2.PIPELINE_CRASHING, True
            elif info.details.autoscaling and row["num"] not in busy:
                state = pps_pb2.PIPELINE_STANDBY
            else:
                state = pps_pb2.PIPELINE_RUNNING
            if (state, reason) != (row["state"], row["reason"]):
                changes.append((state, reason, row["num"], row["version"]))
        if changes:
            with self.store.write() as connection:
                connection.executemany(
                    "UPDATE pipelines SET state = ?, reason = ? WHERE num = ? AND version = ?", changes
                )
        return crashing


def _pipeline(row: sqlite3.Row) -> pps_pb2.Pipeline:
    pipeline = pps_pb2.Pipeline(name=row["name"])
    pipeline.project.name = row["project"]
    return pipeline
