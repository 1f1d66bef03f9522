"""Jobs and datums, as clients see them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from localpach.errors import NotFound, Refused
from localpach.names import META, Commit, Repo
from localpach.pfs.branches import commit_proto
from localpach.pfs.infos import file_info
from localpach.pps import inputs, specs
from localpach.pps.base import full_name, moment
from localpach.pps.crons import Crons
from localpach.proto import pfs_pb2, pps_pb2
from localpach.storage.store import CallContext


class Jobs(Crons):
    """All jobs, each the making of one output commit."""

    def add_job(self, commit: Commit) -> None:
        """A job for a fresh output commit, in the write that made the commit."""
        pipeline = pps_pb2.Pipeline(name=commit.repo.name)
        pipeline.project.name = commit.repo.project
        with self.store.write() as connection:
            row = self._find_pipeline(pipeline)
            if row is None:
                return
            info = pps_pb2.JobInfo(
                job=pps_pb2.Job(pipeline=pipeline, id=commit.id),
                pipeline_version=row["version"],
                output_commit=commit_proto(self.pfs.commit_info(commit)),
                stats=pps_pb2.ProcessStats(),
                state=pps_pb2.JOB_CREATED,
                created=moment(),
            )
            connection.execute(
                "INSERT INTO jobs (pipeline, id, version, state, info) VALUES (?, ?, ?, ?, ?)",
                (row["num"], commit.id, row["version"], info.state, info.SerializeToString()),
            )
            self._tell()
            self.store.after_commit(self.on_work)

    def _job_info(self, row: sqlite3.Row, details: bool) -> pps_pb2.JobInfo:
        info = pps_pb2.JobInfo.FromString(row["info"])
        if details:
            spec = self._version(row["pipeline"], row["version"])
            info.details.CopyFrom(specs.job_details(spec, row["id"]))
            if not row["over"]:
                info.details.worker_status.extend(self.status_of(row["num"], specs.worker_id(spec)))
        return info

    def inspect_job(self, job: pps_pb2.Job, details: bool, wait: bool, context: CallContext | None) -> pps_pb2.JobInfo:
        """A job, with `wait` when it is over."""
        row = self._job_row(job)
        if wait:
            try:
                row = self.store.wait_for(self._when_told(lambda: self._when_over(job)), context) or row
            except NotFound as error:
                raise Refused(f"job {job.id} was deleted") from error
        return self._job_info(row, details)

    def _when_over(self, job: pps_pb2.Job) -> sqlite3.Row | None:
        row = self._job_row(job)
        return row if row["over"] else None

    def jobs_of_set(self, id: str, details: bool, wait: bool, context: CallContext | None) -> Iterator[pps_pb2.JobInfo]:
        """The jobs of a job set, upstream ones first."""
        commits = self.pfs.commits_of_set(id)
        if not commits:
            raise NotFound(f"no commits found for commitset {id}")
        for commit in commits:
            job = pps_pb2.Job(id=id, pipeline=pps_pb2.Pipeline(name=commit.repo.name))
            job.pipeline.project.name = commit.repo.project
            if commit.repo.type != "user":
                continue
            try:
                yield self.inspect_job(job, details, wait, context)
            except NotFound:
                continue

    def list_jobs(self, request: pps_pb2.ListJobRequest) -> Iterator[pps_pb2.JobInfo]:
        """Jobs, newest first (or oldest), of the newest version of their pipeline or of as many as `history` says."""
        pipeline = request.pipeline if request.HasField("pipeline") else None
        if pipeline is not None and self._find_pipeline(pipeline) is None:
            raise NotFound(f'pipeline "{full_name(pipeline)}" not found')
        wanted = {self.pfs.resolve(commit).num for commit in request.input_commit}
        given = 0
        for num in self._job_nums(request, pipeline):
            if request.number and given >= request.number:
                return
            try:
                info = self._job_info(self._job_by_num(num), request.details)
                if wanted and not wanted <= {record.num for record in self._inputs_of_job(info)}:
                    continue
            except NotFound:
                # It was deleted since.
                continue
            if request.HasField("paginationMarker") and not _is_past(info, request):
                continue
            given += 1
            yield info

    def _job_nums(self, request: pps_pb2.ListJobRequest, pipeline: pps_pb2.Pipeline | None) -> list[int]:
        """The jobs that a request may mean, in its order: few bytes each, so that all of a long history fit."""
        query = "SELECT j.num FROM jobs j JOIN pipelines p ON p.num = j.pipeline WHERE 1"
        values: list[object] = []
        if pipeline is not None:
            query += " AND p.project = ? AND p.name = ?"
            values += full_name(pipeline).split("/")
            if request.history >= 0:
                query += " AND j.version >= p.version - ?"
                values.append(request.history)
        if request.projects:
            query += f" AND p.project IN ({', '.join('?' * len(request.projects))})"
            values += [project.name for project in request.projects]
        query += f" ORDER BY j.num {'ASC' if request.reverse else 'DESC'}"
        with self.store.read() as connection:
            return [row["num"] for row in connection.execute(query, values)]

    def list_job_sets(
        self, request: pps_pb2.ListJobSetRequest, wanted: Callable[[pps_pb2.JobInfo], bool]
    ) -> Iterator[pps_pb2.JobSetInfo]:
        """Job sets, newest first (or oldest), of the wanted jobs of the request's projects."""
        order = "min(num)" if request.reverse else "-max(num)"
        with self.store.read() as connection:
            # The number of the job that a set stands in the order by.
            rows = connection.execute(
                f"SELECT id, abs({order}) AS num FROM jobs GROUP BY id ORDER BY {order}"
            ).fetchall()
        projects = {project.name for project in request.projects}
        given = 0
        for row in rows:
            if request.number and given >= request.number:
                return
            try:
                if request.HasField("paginationMarker"):
                    first = pps_pb2.JobInfo.FromString(self._job_by_num(row["num"])["info"])
                    if not _is_past(first, request):
                        continue
                jobs = [
                    job
                    for job in self.jobs_of_set(row["id"], request.details, False, None)
                    if (not projects or job.job.pipeline.project.name in projects) and wanted(job)
                ]
            except NotFound:
                # It was deleted since.
                continue
            if jobs:
                given += 1
                yield pps_pb2.JobSetInfo(job_set=pps_pb2.JobSet(id=row["id"]), jobs=jobs)

    def subscribe_jobs(
        self, pipeline: pps_pb2.Pipeline, details: bool, context: CallContext | None
    ) -> Iterator[pps_pb2.JobInfo]:
        """Each job that is not over, once, as it is first seen, for ever."""
        last = 0
        while True:

            def next_job(after: int = last) -> sqlite3.Row | None:
                row = self._find_pipeline(pipeline)
                if row is None:
                    return None
                with self.store.read() as connection:
                    return connection.execute(
                        "SELECT * FROM jobs WHERE pipeline = ? AND num > ? AND over = 0 ORDER BY num LIMIT 1",
                        (row["num"], after),
                    ).fetchone()

            row = self.store.wait_for(self._when_told(next_job), context)
            assert row is not None
            last = row["num"]
            yield self._job_info(row, details)

    def stop_job(self, job: pps_pb2.Job, reason: str) -> None:
        """Kills a job; one that is over stays as it is."""
        with self.store.write():
            row = self._job_row(job)
            if not row["over"] and row["state"] != pps_pb2.JOB_FINISHING:
                self._end_job(row["num"], pps_pb2.JOB_KILLED, reason or "job stopped")

    def delete_job(self, job: pps_pb2.Job) -> None:
        """Kills a job and forgets it; its commits stay."""
        with self.store.write() as connection:
            self.stop_job(job, "job deleted")
            row = self._job_row(job)
            connection.execute("DELETE FROM jobs WHERE num = ?", (row["num"],))
            self._tell()
            self.store.after_commit(lambda: self.on_gone(row["pipeline"], row["id"]))

    def job_ids(self, pipeline: int) -> list[str]:
        """The jobs of a pipeline, oldest first."""
        with self.store.read() as connection:
            rows = connection.execute("SELECT id FROM jobs WHERE pipeline = ? ORDER BY num", (pipeline,))
            return [row["id"] for row in rows]

    def restart_datums(self, job: pps_pb2.Job, filters: list[str]) -> None:
        """Starts what a job is running once more: the datums that have an input of each path or hash in `filters`."""
        row = self._job_row(job)
        found = self.on_restart(row["num"], filters)
        # A job that goes on may be between two datums, and Pachyderm's worker may not have let go of a killed one.
        if not found and (filters or (row["over"] and row["state"] != pps_pb2.JOB_KILLED)):
            shown = " ".join(filters)
            raise Refused(f"datum matching filter [{shown}] could not be found for job ID {job.id}")

    def list_datums(self, request: pps_pb2.ListDatumRequest) -> Iterator[pps_pb2.DatumInfo]:
        """The datums of a finished job, or those that an input would make now, by id."""
        infos = self._datums_of_input(request.input) if request.HasField("input") else self._datums_of_job(request.job)
        states = set(request.filter.state)
        if request.reverse:
            infos = reversed(list(infos))
        given = 0
        for info in infos:
            marker = request.paginationMarker
            if marker and (info.datum.id >= marker if request.reverse else info.datum.id <= marker):
                continue
            if states and info.state not in states:
                continue
            if request.number and given >= request.number:
                return
            given += 1
            yield info

    def _datums_of_job(self, job: pps_pb2.Job) -> Iterator[pps_pb2.DatumInfo]:
        row = self._job_row(job)
        if not row["over"]:
            return
        with self.store.read() as connection:
            rows = connection.execute("SELECT state, info FROM datums WHERE job = ? ORDER BY id", (row["num"],))
            found = rows.fetchall()
        for each in found:
            info = pps_pb2.DatumInfo.FromString(each["info"])
            # A skipped datum is as the job left it that ran it, but for this.
            info.state = each["state"]
            yield info

    def _datums_of_input(self, input: pps_pb2.Input) -> Iterator[pps_pb2.DatumInfo]:
        completed = pps_pb2.Input()
        completed.CopyFrom(input)
        inputs.complete(completed, pps_pb2.Pipeline(), moment())
        for leaf in inputs.leaves(completed):
            branch = inputs.branch_of(leaf)
            if not self.pfs.branch_exists(branch):
                raise Refused(f'branch "{branch.name}" not found in repo {branch.repo}')
        heads = {branch: self.pfs.head_record(branch) for branch in map(inputs.branch_of, inputs.leaves(completed))}
        for datum in inputs.datums(self.pfs, completed, heads.get):
            yield pps_pb2.DatumInfo(datum=pps_pb2.Datum(id=datum.id), stats=pps_pb2.ProcessStats(), data=data_of(datum))

    def inspect_datum(self, datum: pps_pb2.Datum) -> pps_pb2.DatumInfo:
        """One datum of a job, with where its meta files are."""
        if not datum.HasField("job") or not datum.id:
            raise Refused("must specify a datum with its job and id")
        for info in self._datums_of_job(datum.job):
            if info.datum.id == datum.id:
                output = Repo.of(pfs_pb2.Repo(name=datum.job.pipeline.name, project=datum.job.pipeline.project))
                commit = self.pfs.commit_info(Commit(output._replace(type=META), datum.job.id))
                info.pfs_state.CopyFrom(pfs_pb2.File(commit=commit_proto(commit), path=f"/pfs/{datum.id}"))
                return info
        raise Refused(f"datum {datum.id} not found in job {full_name(datum.job.pipeline)}@{datum.job.id}")


def _is_past(info: pps_pb2.JobInfo, request: pps_pb2.ListJobRequest | pps_pb2.ListJobSetRequest) -> bool:
    created, marker = info.created.ToNanoseconds(), request.paginationMarker.ToNanoseconds()
    return created > marker if request.reverse else created < marker


def data_of(datum: inputs.Datum) -> list[pfs_pb2.FileInfo]:
    """The inputs of a datum as file infos."""
    return [file_info(each.record, each.entry) for each in datum.inputs]
