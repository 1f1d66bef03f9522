"""Finding jobs: in lists, in sets, and by waiting for them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from localpach.errors import NotFound, Refused
from localpach.names import USER
from localpach.pfs.service import Pfs
from localpach.pps.jobs import SELECT_JOB, JobName, Jobs, job_record
from localpach.pps.logs import NO_JOB
from localpach.pps.records import JobRecord, PipelineName
from localpach.storage.store import Store
from localpach.waiting import Bulletin, Call, Topic


class JobQueries:
    """Looks jobs up; changes nothing."""

    def __init__(self, store: Store, bulletin: Bulletin, pfs: Pfs, jobs: Jobs) -> None:
        self._store = store
        self._bulletin = bulletin
        self._pfs = pfs
        self._jobs = jobs

    def wait(self, name: JobName, call: Call | None) -> JobRecord:
        """A job, when it is over.

        Raises:
            Refused: it was deleted meanwhile.
        """
        self._jobs.get(name)

        def ended() -> JobRecord | None:
            job = self._jobs.find(name)
            if job is None:
                raise Refused(f"job {name.id} was deleted")
            return job if job.is_over else None

        job = self._bulletin.wait(Topic.JOBS, ended, call)
        assert job is not None
        return job

    def names_of_set(self, id: str) -> list[JobName]:
        """The jobs that a job set may have, upstream ones first."""
        commits = self._pfs.commit_sets.commits(id)
        if not commits:
            raise NotFound(f"no commits found for commitset {id}")
        repos = [commit.repo for commit in commits if commit.repo.type == USER]
        return [JobName(PipelineName(repo.project, repo.name), id) for repo in repos]

    def select(
        self, pipeline: PipelineName | None, projects: Collection[str], history: int, reverse: bool
    ) -> Iterator[JobRecord]:
        """Jobs, newest first (or oldest); of a pipeline, those of its newest version and of as many as `history` says."""
        query = "SELECT j.num FROM jobs j JOIN pipelines p ON p.num = j.pipeline WHERE 1"
        values: list[object] = []
        if pipeline is not None:
            query += " AND p.project = ? AND p.name = ?"
            values += pipeline
            if history >= 0:
                query += " AND j.version >= p.version - ?"
                values.append(history)
        if projects:
            query += f" AND p.project IN ({', '.join('?' * len(projects))})"
            values += projects
        query += f" ORDER BY j.num {'ASC' if reverse else 'DESC'}"
        # Numbers are few bytes each, so that all of a long history fit.
        with self._store.read() as connection:
            nums = [row["num"] for row in connection.execute(query, values)]
        for num in nums:
            try:
                yield self._jobs.by_num(num)
            except NotFound:
                # It was deleted since.
                continue

    def sets(self, reverse: bool) -> Iterator[tuple[str, JobRecord]]:
        """The id of each job set and the job that it stands in the order by, newest first (or oldest)."""
        order = "min(num)" if reverse else "-max(num)"
        with self._store.read() as connection:
            query = f"SELECT id, abs({order}) AS num FROM jobs GROUP BY id ORDER BY {order}"
            rows = connection.execute(query).fetchall()
        for row in rows:
            try:
                yield row["id"], self._jobs.by_num(row["num"])
            except NotFound:
                # It was deleted since.
                continue

    def ids(self, pipeline: int) -> list[str]:
        """Who has logs of a pipeline: its jobs, oldest first, and what runs for none of them."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT id FROM jobs WHERE pipeline = ? ORDER BY num", (pipeline,))
            return [*(row["id"] for row in rows), NO_JOB]

    def subscribe(self, pipeline: PipelineName, call: Call | None) -> Iterator[JobRecord]:
        """Each job of a pipeline that is not over, once, as it is first seen, for ever."""
        last = 0

        def next_job() -> JobRecord | None:
            with self._store.read() as connection:
                query = f"{SELECT_JOB} WHERE p.project = ? AND p.name = ? AND j.num > ? AND j.over = 0 ORDER BY j.num LIMIT 1"
                row = connection.execute(query, (*pipeline, last)).fetchone()
            return job_record(row) if row else None

        while True:
            job = self._bulletin.wait(Topic.JOBS, next_job, call)
            assert job is not None
            last = job.num
            yield job
