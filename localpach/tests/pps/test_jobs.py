"""Jobs and pipelines as they are kept, with commits finished by the test: nothing runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localpach.api.bodies import Bodies
from localpach.api.served import served
from localpach.errors import NotFound, Refused
from localpach.names import META, SPEC, Branch, Repo
from localpach.pfs.service import Pfs
from localpach.pps import lifecycle
from localpach.pps.combinations import Datum, datums
from localpach.pps.jobs import JobName
from localpach.pps.logs import NO_JOB
from localpach.pps.records import JobRecord, PipelineName, PipelineRecord, RunningDatum
from localpach.pps.service import Pps
from localpach.proto import pps_pb2
from localpach.runtime.choice import Runtimes
from localpach.storage.store import Store
from localpach.waiting import Bulletin, Topic

IN = Branch(Repo("default", "in"), "master")
P = PipelineName("default", "p")


class Work:
    """A job being done, as far as others see it."""

    def __init__(self) -> None:
        self.kills = 0
        self.filters: list[list[str]] = []
        self.restarts = True

    def kill(self) -> None:
        self.kills += 1

    def retire(self) -> None: ...

    def restart(self, filters: list[str]) -> bool:
        self.filters.append(filters)
        return self.restarts

    def running(self) -> list[RunningDatum]:
        return []


class Bench:
    """PPS over one store; commits finish when the test says so."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.bulletin = Bulletin(self.store.after_commit)
        self.pfs = Pfs(self.store, self.bulletin)
        self.pps = Pps(self.store, self.bulletin, self.pfs, Runtimes(root, "host"), served(self.pfs, Bodies()))
        self.pfs.repos.create(IN.repo)

    def create(self, name: str = "p", repo: str = "in", **fields: object) -> PipelineRecord:
        request = pps_pb2.CreatePipelineRequest(
            pipeline=PipelineName("default", name).to_proto(),
            transform=pps_pb2.Transform(cmd=["true"], image="host"),
            input=pps_pb2.Input(pfs=pps_pb2.PFSInput(repo=repo, glob="/*")),
        )
        for field, value in fields.items():
            setattr(request, field, value)
        self.pps.lifecycle.create(request)
        return self.pps.pipelines.get(PipelineName("default", name))

    def put(self, path: str = "/a") -> str:
        """A finished commit of a file more; its id."""
        commit = self.pfs.commits.start(IN)
        self.pfs.writes.put(commit, path, b"1", "")
        self.pfs.commits.finish(commit)
        self.finish()
        return commit.id

    def finish(self) -> None:
        """Finishes what can be, as the finisher does."""
        while records := self.pfs.commits.finishing():
            with self.store.write():
                for record in records:
                    conflicts = self.pfs.commits.conflicts(record)
                    self.pfs.commits.set_finished(record, f"bad: {conflicts}" if conflicts else "")

    def jobs(self, name: str = "p") -> list[JobRecord]:
        """Oldest first."""
        return list(self.pps.queries.select(PipelineName("default", name), (), -1, reverse=True))

    def states(self, name: str = "p") -> list[pps_pb2.JobState]:
        return [job.state for job in self.jobs(name)]

    def succeed(self, job: JobRecord) -> None:
        self.pps.jobs.change(job.num, lambda info: setattr(info, "state", pps_pb2.JOB_FINISHING))
        for commit in job.commits:
            self.pfs.commits.finish(commit)
        self.finish()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_each_output_commit_has_a_job(bench: Bench) -> None:
    bench.create()
    assert bench.states() == [pps_pb2.JOB_CREATED]
    id = bench.put()
    first, second = bench.jobs()
    assert second.id == id
    assert (second.info.job.pipeline.name, second.info.job.pipeline.project.name) == ("p", "default")
    assert (second.version, second.info.pipeline_version, second.is_over) == (1, 1, False)
    assert second.info.HasField("created")
    assert not second.info.HasField("started")
    assert second.output.repo == P.output
    assert [commit.repo.type for commit in second.commits] == ["user", META]
    reads = {record.commit.repo: record.commit.id for record in bench.pps.jobs.inputs(second)}
    assert reads == {IN.repo: id, P.output._replace(type=SPEC): first.id}


def test_a_job_goes_well_when_its_output_is_finished(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    bench.succeed(job)
    (job,) = bench.jobs()
    assert (job.state, job.is_over, job.info.reason) == (pps_pb2.JOB_SUCCESS, True, "")
    assert job.info.HasField("finished")


def test_an_output_that_is_refused_fails_its_job(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    for path in ("/x", "/x/y"):
        bench.pfs.writes.put(job.output, path, b"1", "d")
    bench.succeed(job)
    (job,) = bench.jobs()
    assert (job.state, job.info.reason) == (pps_pb2.JOB_FAILURE, "bad: ['/x/y']")


def test_an_output_that_is_finished_by_force_ends_no_job(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    bench.pfs.commits.finish(job.output)
    bench.finish()
    assert bench.states() == [pps_pb2.JOB_CREATED]


def test_a_job_that_ends_badly_ends_its_commits_and_is_killed(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    work = Work()
    assert bench.pps.running.add(job.num, work)
    assert not bench.pps.running.add(job.num, Work())
    editions = {topic: bench.bulletin.edition(topic) for topic in Topic}
    with bench.store.write():
        bench.pps.jobs.end(job.num, pps_pb2.JOB_FAILURE, "because")
        assert work.kills == 0
    assert work.kills == 1
    told = {topic for topic in Topic if bench.bulletin.edition(topic) != editions[topic]}
    assert told >= {Topic.JOBS, Topic.LOGS, Topic.WORK}
    (job,) = bench.jobs()
    assert (job.state, job.info.reason, job.is_over) == (pps_pb2.JOB_FAILURE, "because", True)
    assert job.info.started == job.info.finished
    for commit in job.commits:
        record = bench.pfs.commits.get(commit)
        assert (record.error, record.finishing is not None) == ("because", True)


def test_a_job_that_had_begun_keeps_its_start(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    bench.pps.jobs.change(job.num, lambda info: info.started.FromSeconds(5))
    bench.pps.jobs.stop(JobName(P, job.id), "")
    (job,) = bench.jobs()
    assert (job.info.started.seconds, job.info.reason) == (5, "job stopped")
    bench.pps.jobs.stop(JobName(P, job.id), "again")
    assert bench.jobs()[0].info.reason == "job stopped"


def test_a_job_that_is_finishing_is_not_stopped(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    bench.pps.jobs.change(job.num, lambda info: setattr(info, "state", pps_pb2.JOB_FINISHING))
    bench.pps.jobs.stop(JobName(P, job.id), "late")
    assert bench.states() == [pps_pb2.JOB_FINISHING]


def test_a_job_that_was_cut_off_begins_again_with_nothing_done(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    created = job.info.created

    def work(info: pps_pb2.JobInfo) -> None:
        info.state, info.data_processed = pps_pb2.JOB_RUNNING, 5
        info.started.FromSeconds(5)

    bench.pfs.writes.put(job.output, "/half", b"1", "d")
    bench.pps.jobs.change(job.num, work)
    bench.pps.jobs.begin_again(bench.jobs()[0])
    (job,) = bench.jobs()
    assert (job.state, job.info.restart, job.info.data_processed) == (pps_pb2.JOB_CREATED, 1, 0)
    assert (job.info.created, job.info.HasField("started"), job.info.pipeline_version) == (created, False, 1)
    assert bench.pfs.commits.get(job.output).root.key == ""
    assert (job.output.id, job.output.repo) == (job.id, P.output)


def test_a_job_that_is_deleted_is_killed_and_its_commits_stay(bench: Bench) -> None:
    bench.create()
    bench.put()
    first, second = bench.jobs()
    work = Work()
    bench.pps.running.add(second.num, work)
    message = pps_pb2.LogMessage(job_id=second.id, message="said")
    bench.pps.logs.write(second.pipeline, message)
    bench.pps.jobs.delete(JobName(P, second.id))
    assert [job.id for job in bench.jobs()] == [first.id]
    assert work.kills == 1
    assert bench.pfs.commits.get(second.output).error == "job deleted"
    assert list(bench.pps.logs.read(second.pipeline, second.id)) == []
    for call in (bench.pps.jobs.get, bench.pps.jobs.delete):
        with pytest.raises(NotFound) as caught:
            call(JobName(P, second.id))
        assert caught.value.message == f"jobs default/p@{second.id} not found"
    with pytest.raises(NotFound, match=f"job number {second.num} not found: it was deleted"):
        bench.pps.jobs.by_num(second.num)


def test_jobs_are_found_by_what_became_of_them(bench: Bench) -> None:
    pipeline = bench.create()
    other = bench.create("q")
    bench.put()
    bench.put("/b")
    first, second, third = bench.jobs()
    assert bench.pps.jobs.newest_success(third) is None
    bench.succeed(first)
    assert [job.num for job in bench.pps.jobs.unfinished(pipeline.num)] == [second.num, third.num]
    assert [bench.pps.jobs.oldest(num) for num in (pipeline.num, 99)] == [second.num, None]
    assert len(bench.pps.jobs.unfinished(other.num)) == 3
    found = bench.pps.jobs.newest_success(third)
    assert found is not None
    assert found.num == first.num
    assert bench.pps.jobs.newest_success(first) is None
    bench.pps.jobs.stop(JobName(P, third.id), "")
    assert bench.pps.jobs.newest_state(pipeline.num) == pps_pb2.JOB_KILLED
    assert bench.pps.jobs.newest_state(99) == pps_pb2.JOB_STATE_UNKNOWN
    assert bench.pps.queries.ids(pipeline.num) == [first.id, second.id, third.id, NO_JOB]


def test_running_datums_start_once_more(bench: Bench) -> None:
    bench.create()
    (job,) = bench.jobs()
    name, work = JobName(P, job.id), Work()
    bench.pps.jobs.restart_datums(name, [])
    with pytest.raises(Refused) as caught:
        bench.pps.jobs.restart_datums(name, ["/a", "/b"])
    sentence = f"datum matching filter [/a /b] could not be found for job ID {job.id}"
    assert caught.value.message == sentence
    bench.pps.running.add(job.num, work)
    bench.pps.jobs.restart_datums(name, ["/a"])
    assert work.filters == [["/a"]]
    work.restarts = False
    with pytest.raises(Refused):
        bench.pps.jobs.restart_datums(name, ["/a"])
    bench.pps.running.remove(job.num)
    bench.pps.running.remove(job.num)
    bench.pps.jobs.stop(name, "")
    bench.pps.jobs.restart_datums(name, [])


def test_an_update_kills_what_the_old_version_does(bench: Bench) -> None:
    bench.create()
    bench.create(update=True)
    first, second = bench.jobs()
    assert (first.state, first.info.reason) == (pps_pb2.JOB_KILLED, lifecycle.UPDATED)
    assert (second.state, second.version) == (pps_pb2.JOB_CREATED, 2)
    assert bench.pps.pipelines.get(P).version == 2
    with pytest.raises(NotFound) as caught:
        bench.pps.pipelines.info(1, 3)
    assert caught.value.message == "version 3 of pipeline number 1 not found: the pipeline was deleted"


def test_a_stopped_pipeline_makes_no_jobs(bench: Bench) -> None:
    bench.create()
    bench.pps.lifecycle.stop(P)
    bench.pps.lifecycle.stop(PipelineName("default", "none"))
    assert bench.states() == [pps_pb2.JOB_KILLED]
    assert bench.jobs()[0].info.reason == lifecycle.STOPPED
    assert bench.pps.pipelines.get(P).stopped
    bench.put()
    assert len(bench.jobs()) == 1
    bench.create(update=True)
    assert len(bench.jobs()) == 1
    bench.pps.lifecycle.start(P)
    assert bench.states() == [pps_pb2.JOB_KILLED, pps_pb2.JOB_CREATED]
    assert not bench.pps.pipelines.get(P).stopped
    bench.pps.lifecycle.start(P)
    assert len(bench.jobs()) == 2


def test_pipelines_are_deleted_from_the_last_one_up(bench: Bench) -> None:
    for name, repo in (("p", "in"), ("q", "p"), ("r", "q")):
        bench.create(name, repo)
    assert [each.name.name for each in bench.pps.pipelines.all()] == ["r", "q", "p"]
    with pytest.raises(Refused):
        bench.pps.lifecycle.delete(P)
    bench.pps.lifecycle.delete(PipelineName("default", "none"))
    assert bench.pps.lifecycle.delete_many(["other"], all=False) == []
    gone = bench.pps.lifecycle.delete_many(["default"], all=False, keep_repo=True)
    assert sorted(each.name for each in gone) == ["p", "q", "r"]
    assert bench.pps.pipelines.all() == []
    assert sorted(str(each.repo) for each in bench.pfs.repos.all()) == [
        f"default/{name}" for name in ("in", "p", "q", "r")
    ]


def test_a_pipeline_takes_its_repos_jobs_and_ticks_along(bench: Bench) -> None:
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@never"))
    bench.pps.lifecycle.create(
        pps_pb2.CreatePipelineRequest(
            pipeline=P.to_proto(), transform=pps_pb2.Transform(cmd=["true"], image="host"), input=cron
        )
    )
    descriptions = {str(each.repo): each.description for each in bench.pfs.repos.all()}
    assert descriptions == {
        "default/in": "",
        "default/p": "Output repo for pipeline default/p.",
        "default/p.spec": "Spec repo for pipeline default/p.",
        "default/p.meta": "Meta repo for pipeline p",
        "default/p_tick": "Cron tick repo for pipeline default/p.",
    }
    bench.pps.lifecycle.delete(P)
    assert [str(each.repo) for each in bench.pfs.repos.all()] == ["default/in"]
    with bench.store.read() as connection:
        for table in ("jobs", "ticks", "pipelines", "pipeline_versions"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_states_of_pipelines_change_unless_they_are_newer(bench: Bench) -> None:
    old = bench.create()
    assert (old.state, old.reason, old.stopped) == (pps_pb2.PIPELINE_STARTING, "", False)
    bench.pps.pipelines.set_states([(old, pps_pb2.PIPELINE_CRASHING, "why")])
    found = bench.pps.pipelines.get(P)
    assert (found.state, found.reason) == (pps_pb2.PIPELINE_CRASHING, "why")
    new = bench.create(update=True)
    assert (new.state, new.reason) == (pps_pb2.PIPELINE_STARTING, "")
    bench.pps.pipelines.set_states([(old, pps_pb2.PIPELINE_CRASHING, "late")])
    assert bench.pps.pipelines.get(P) == new


def test_job_sets_are_in_order(bench: Bench) -> None:
    bench.create()
    bench.create("q", "p")
    ids = [bench.jobs()[0].id, bench.jobs("q")[0].id, bench.put()]
    assert [id for id, _ in bench.pps.queries.sets(reverse=False)] == ids[::-1]
    assert [id for id, _ in bench.pps.queries.sets(reverse=True)] == ids
    names = bench.pps.queries.names_of_set(ids[2])
    assert [name.pipeline.name for name in names] == ["in", "p", "q"]
    with pytest.raises(NotFound) as caught:
        bench.pps.queries.names_of_set("none")
    assert caught.value.message == "no commits found for commitset none"


def test_datums_are_kept_and_carried_on(bench: Bench) -> None:
    bench.put("/a")
    bench.put("/b")
    bench.create()
    (job,) = bench.jobs()
    head = bench.pfs.commits.head(IN)
    spec = bench.pps.pipelines.info(job.pipeline, 1).details.input
    all: list[Datum] = datums(bench.pfs.files, spec, lambda branch: head)
    for datum in all:
        info = pps_pb2.DatumInfo(datum=pps_pb2.Datum(job=job.info.job, id=datum.id), state=pps_pb2.SUCCESS)
        bench.pfs.writes.put(job.output, f"/{datum.id}", b"1", datum.id)
        bench.pps.datums.add(job, datum, info, datum.hash("salt"))
    assert bench.pps.datums.hashes(job) == {datum.id: datum.hash("salt") for datum in all}
    assert list(bench.pps.datums.of_job(JobName(P, job.id))) == []
    bench.succeed(job)
    found = list(bench.pps.datums.of_job(JobName(P, job.id)))
    assert [(info.datum.id, info.state) for info in found] == [(datum.id, pps_pb2.SUCCESS) for datum in all]
    assert sorted(info.data[0].file.path for info in found) == ["/a", "/b"]
    meta = bench.pfs.commits.get(job.commits[1])
    assert [e.path for e in bench.pfs.files.glob(meta, "/meta/*/meta")] == [f"/meta/{datum.id}/meta" for datum in all]
    bench.put("/c")
    _, second = bench.jobs()
    bench.pps.datums.carry(bench.jobs()[0], second, [all[0].id])
    assert list(bench.pps.datums.hashes(second)) == [all[1].id]
    output = bench.pfs.commits.get(second.output)
    assert [entry.path for entry in bench.pfs.files.children(output, "/")] == [f"/{all[1].id}"]
    bench.succeed(second)
    (skipped,) = bench.pps.datums.of_job(JobName(P, second.id))
    assert (skipped.state, skipped.datum.job.id) == (pps_pb2.SKIPPED, job.id)
    bench.pps.datums.forget(second)
    assert bench.pps.datums.hashes(second) == {}
    assert len(bench.pps.datums.hashes(job)) == 2


def test_datums_of_an_input_need_its_branches(bench: Bench) -> None:
    leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/*", branch="none"))
    with pytest.raises(Refused) as caught:
        list(bench.pps.datums.of_input(leaf))
    assert caught.value.message == 'branch "none" not found in repo default/in'


def test_a_wait_for_a_job_that_never_was_is_refused(bench: Bench) -> None:
    bench.create()
    with pytest.raises(NotFound) as caught:
        bench.pps.queries.wait(JobName(P, "none"), None)
    assert caught.value.message == "jobs default/p@none not found"


def test_the_version_that_a_commit_set_was_made_with(bench: Bench) -> None:
    before = bench.put()
    bench.create()
    first = bench.put()
    record = bench.create(update=True)
    second = bench.put()
    found = [bench.pps.lifecycle.version_in(record, id) for id in (before, first, second, "none")]
    assert found == [0, 1, 2, 0]


def test_what_is_running_is_killed_at_the_end(bench: Bench) -> None:
    works = [Work(), Work()]
    for num, work in enumerate(works):
        bench.pps.running.add(num, work)
    bench.pps.running.kill_all()
    assert [work.kills for work in works] == [1, 1]
    bench.pps.running.kill(1)
    bench.pps.running.kill(7)
    assert [work.kills for work in works] == [1, 2]


def test_jobs_are_those_of_some_projects(bench: Bench) -> None:
    bench.create()
    bench.pfs.repos.create_project("other", "")
    named = PipelineName("other", "p")
    leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", project="default", glob="/*"))
    bench.pps.lifecycle.create(
        pps_pb2.CreatePipelineRequest(
            pipeline=named.to_proto(), transform=pps_pb2.Transform(cmd=["true"], image="host"), input=leaf
        )
    )

    def found(*projects: str) -> list[str]:
        jobs = bench.pps.queries.select(None, projects, -1, reverse=True)
        return [job.info.job.pipeline.project.name for job in jobs]

    assert (found(), found("other"), found("default", "other")) == (
        ["default", "other"],
        ["other"],
        ["default", "other"],
    )
    assert found("none") == []


def test_a_pipeline_that_never_was_is_named(bench: Bench) -> None:
    with pytest.raises(NotFound) as caught:
        bench.pps.pipelines.get(P)
    assert caught.value.message == (
        'pipeline was not inspected: couldn\'t find up to date spec for pipeline "default/p":'
        ' branch "master" not found in repo default/p.spec'
    )


def test_deleting_everything_takes_the_same_for_each_pipeline_however_many_there_are(tmp_path: Path) -> None:
    def statements(count: int) -> float:
        (tmp_path / str(count)).mkdir()
        bench = Bench(tmp_path / str(count))
        for number in range(count):
            bench.create(f"p{number}", f"p{number - 1}" if number % 10 else "in")
        executed: list[str] = []
        with bench.store.write() as connection:
            connection.set_trace_callback(executed.append)
        bench.pps.lifecycle.delete_many([], all=True, force=True)
        bench.pfs.deletion.delete_everything()
        bench.store.close()
        return len(executed) / count

    assert statements(60) < 1.1 * statements(20)
