"""Whole jobs in a runtime that only pretends: how they begin, are stopped, and are taken up again."""

from __future__ import annotations

import json
import threading
import time
from typing import cast

import pytest
from google.protobuf.duration_pb2 import Duration

from localpach import waiting
from localpach.api.bodies import Bodies
from localpach.api.infos import job_info
from localpach.api.served import served
from localpach.names import META, USER, Branch, Repo
from localpach.pps import controller
from localpach.pps.jobs import JobName
from localpach.pps.records import PipelineName
from localpach.pps.service import Pps
from localpach.proto import pps_pb2
from localpach.runtime.choice import Runtimes
from localpach.runtime.interface import PACHD_PORT, Ended, OnLine, RunSpec
from tests.helpers import until
from tests.pps.bench import IN, Bench, P, copy_all


def test_a_killed_job_stops_its_commands(bench: Bench) -> None:
    bench.put("/a", "/b")
    begun = threading.Event()

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        begun.set()
        bench.runtime.runs[-1].killed.wait(20)
        return Ended(code=1)

    bench.runtime.act = act
    threading.Thread(target=bench.create, kwargs={"datum_tries": 5}, daemon=True).start()
    assert begun.wait(20)
    job = next(bench.pps.queries.select(P, (), -1, reverse=False))
    bench.pps.jobs.stop(JobName(P, job.id), "enough")
    until(lambda: not bench.pps.running.has(job.num))
    assert len(bench.runtime.specs) <= 2
    job = bench.last()
    assert (job.state, job.info.reason) == (pps_pb2.JOB_KILLED, "enough")
    assert not list((bench.store.root / "work").iterdir())


def test_a_job_past_its_time_is_killed(bench: Bench) -> None:
    bench.put("/a")

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        bench.runtime.runs[-1].killed.wait(20)
        return Ended(code=1)

    bench.runtime.act = act
    job = bench.create(job_timeout=Duration(nanos=50_000_000))
    assert (job.state, job.info.reason) == (pps_pb2.JOB_KILLED, " jobtimed out")


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_job_that_waits_for_a_core_says_so_and_does_not_run(
    bench: Bench, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.pps.cores, "_count", 1)
    bench.put("/a")
    over = threading.Event()

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        over.wait(20)
        return Ended(code=0)

    bench.runtime.act = act
    leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/*"))
    names = [PipelineName("default", f"p{number}") for number in range(ahead + 2)]

    def info(name: PipelineName) -> pps_pb2.JobInfo:
        return job_info(bench.pps, next(bench.pps.queries.select(name, (), -1, reverse=False)), details=True)

    for number, name in enumerate(names):
        bench.pps.lifecycle.create(
            pps_pb2.CreatePipelineRequest(
                pipeline=name.to_proto(), transform=pps_pb2.Transform(cmd=["x"], image="img"), input=leaf
            )
        )
        state = pps_pb2.JOB_STARTING if number else pps_pb2.JOB_RUNNING
        until(lambda: info(name).state == state)  # noqa: B023
    shown = [info(name) for name in names]
    runs = ["1 job runs", "2 jobs run", "3 jobs run"][: ahead + 1]
    assert [each.reason for each in shown] == ["", *(f"waits for a free core: {text} before it" for text in runs)]
    assert [len(each.details.worker_status) for each in shown] == [1] + [0] * (ahead + 1)
    # Who is stopped while it waits is out of the way at once.
    second = next(bench.pps.queries.select(names[1], (), -1, reverse=False))
    bench.pps.jobs.stop(JobName(names[1], second.id), "enough")
    until(lambda: not bench.pps.running.has(second.num))
    assert info(names[-1]).reason == f"waits for a free core: {runs[ahead - 1]} before it"
    over.set()
    for name in names[2:]:
        ended = bench.pps.queries.wait(JobName(name, info(name).job.id), None)
        assert (ended.state, ended.info.reason) == (pps_pb2.JOB_SUCCESS, "")
    assert bench.pps.jobs.get(JobName(names[1], second.id)).info.reason == "enough"


def test_pipelines_tell_how_they_are(bench: Bench) -> None:
    bench.put("/a")

    def state() -> pps_pb2.PipelineState:
        return bench.pps.pipelines.get(P).state

    bench.create(autoscaling=True)
    until(lambda: state() == pps_pb2.PIPELINE_STANDBY)
    bench.put("/b")
    assert bench.last().state == pps_pb2.JOB_SUCCESS
    bench.create(update=True)
    until(lambda: state() == pps_pb2.PIPELINE_RUNNING)
    bench.pps.lifecycle.stop(P)
    until(lambda: state() == pps_pb2.PIPELINE_PAUSED)
    bench.runtime.crash = "no image"
    bench.pps.lifecycle.start(P)
    until(lambda: state() == pps_pb2.PIPELINE_CRASHING)
    assert bench.pps.pipelines.get(P).reason == "no image"
    bench.put("/c")
    job = next(bench.pps.queries.select(P, (), -1, reverse=False))
    assert job.state == pps_pb2.JOB_CREATED
    bench.runtime.crash = ""
    assert bench.last().state == pps_pb2.JOB_SUCCESS
    until(lambda: state() == pps_pb2.PIPELINE_RUNNING)
    bench.runtime.crash = "the image was deleted"
    bench.put("/d")
    until(lambda: bench.pps.pipelines.get(P).reason == "the image was deleted")
    bench.runtime.crash = ""
    until(lambda: state() == pps_pb2.PIPELINE_RUNNING)
    assert bench.pps.pipelines.get(P).reason == ""


def test_what_the_server_left_is_taken_up(bench: Bench) -> None:
    bench.put("/a")
    bench.runtime.crash = "not yet"
    bench.pps.lifecycle.create(
        pps_pb2.CreatePipelineRequest(
            pipeline=P.to_proto(),
            transform=pps_pb2.Transform(cmd=["x"], image="img"),
            input=pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/*")),
        )
    )
    job = next(bench.pps.queries.select(P, (), -1, reverse=False))
    bench.pps.close()
    bench.pps.jobs.change(job.num, lambda info: setattr(info, "state", pps_pb2.JOB_RUNNING))
    bench.pfs.writes.put(job.output, "/half", b"1", "gone")
    left = bench.store.root / "work" / "left"
    left.mkdir()
    bench.runtime.crash = ""
    again = Pps(bench.store, bench.bulletin, bench.pfs, cast(Runtimes, bench.runtime), served(bench.pfs, Bodies()))
    bench.pps = again
    again.start()
    until(lambda: not left.exists())
    ended = bench.last()
    assert (ended.state, ended.info.restart) == (pps_pb2.JOB_SUCCESS, 1)
    assert bench.output() == {"/a": b"/a"}


def test_upstream_failures_make_a_job_unrunnable(bench: Bench) -> None:
    bench.put("/a")
    bench.runtime.act = lambda spec, on_line: Ended(code=1)
    bench.create()
    down = PipelineName("default", "down")
    leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="p", glob="/*"))
    bench.pps.lifecycle.create(
        pps_pb2.CreatePipelineRequest(
            pipeline=down.to_proto(), transform=pps_pb2.Transform(cmd=["x"], image="img"), input=leaf
        )
    )
    job = next(bench.pps.queries.select(down, (), -1, reverse=False))
    ended = bench.pps.queries.wait(JobName(down, job.id), None)
    reason = "unrunnable because the following upstream pipelines failed: p"
    assert (ended.state, ended.info.reason) == (pps_pb2.JOB_UNRUNNABLE, reason)


def test_an_image_that_comes_is_noticed_though_nobody_tells(bench: Bench) -> None:
    bench.runtime.crash = "no image"
    bench.put("/a")
    thread = threading.Thread(target=bench.create, daemon=True)
    thread.start()
    until(lambda: bench.pps.pipelines.find(P) and bench.pps.pipelines.get(P).state == pps_pb2.PIPELINE_CRASHING)
    # What has told the controller of work is over by then.
    time.sleep(0.2)
    bench.runtime.crash = ""
    thread.join(20)
    assert bench.last().state == pps_pb2.JOB_SUCCESS


def test_a_job_that_can_not_begin_fails_and_says_why(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.runtime.crash = "not yet"
    bench.put("/a")
    threading.Thread(target=bench.create, daemon=True).start()
    until(lambda: bench.pps.pipelines.find(P) and bench.pps.pipelines.get(P).state == pps_pb2.PIPELINE_CRASHING)
    bench.pfs.deletion.delete_repo(P.output, force=True, owned=True)
    bench.runtime.crash = ""
    job = bench.last()
    sentence = f"commit default/p@{job.id} not found"
    assert (job.state, job.info.reason) == (pps_pb2.JOB_FAILURE, sentence)
    assert f"job default/p@{job.id} can't be started: {sentence}" in caplog.messages


def test_a_job_does_not_wait_for_a_repo_that_is_deleted_by_force(bench: Bench) -> None:
    bench.pfs.commits.start(IN)
    threading.Thread(target=bench.create, daemon=True).start()
    until(lambda: bench.pps.pipelines.find(P) and bench.pps.pipelines.get(P).state == pps_pb2.PIPELINE_RUNNING)
    # What has told the controller of the pipeline is over by then.
    time.sleep(0.2)
    bench.pfs.deletion.delete_repo(IN.repo, force=True)
    until(lambda: next(bench.pps.queries.select(P, (), -1, reverse=False)).is_over)


def test_a_job_whose_thread_can_not_be_started_has_its_turn_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "RETRY_SECONDS", 0.01)
    starts = iter((RuntimeError("can't start new thread"),))

    class Thread(threading.Thread):
        def start(self) -> None:
            for error in starts:
                raise error
            super().start()

    monkeypatch.setattr(controller, "Thread", Thread)
    bench.put("/a")
    assert bench.create().state == pps_pb2.JOB_SUCCESS
    assert any("can't start new thread" in text for text in caplog.messages)
    caplog.clear()


def test_a_pipeline_becomes_a_spout_and_a_pipeline_again(bench: Bench) -> None:
    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        if spec.port == PACHD_PORT:
            bench.runtime.runs[-1].killed.wait(20)
        return copy_all(spec, on_line)

    def provenance(repo: Repo) -> list[str]:
        branch = bench.pfs.branches.get(Branch(repo, "master"))
        return [bench.pfs.branches.by_num(num).branch.repo.name for num in bench.pfs.branches.provenance([branch.num])]

    bench.runtime.act = act
    bench.put("/a")
    assert bench.create().state == pps_pb2.JOB_SUCCESS
    transform = pps_pb2.Transform(cmd=["x"], image="img")
    spout = pps_pb2.CreatePipelineRequest(
        pipeline=P.to_proto(), transform=transform, spout=pps_pb2.Spout(), update=True
    )
    bench.pps.lifecycle.create(spout)
    assert [provenance(P.output._replace(type=type)) for type in (USER, META)] == [[], []]
    before = list(bench.pps.queries.select(P, (), -1, reverse=False))
    bench.put("/b")
    assert list(bench.pps.queries.select(P, (), -1, reverse=False)) == before
    assert bench.output() == {"/a": b"/a"}
    left_open = bench.pfs.commits.start(Branch(P.output, "master"))
    job = bench.create(update=True)
    assert (job.state, job.version) == (pps_pb2.JOB_SUCCESS, 3)
    assert bench.pfs.commits.get(left_open).error == "all jobs killed because pipeline was updated"
    assert bench.output() == {"/a": b"/a", "/b": b"/b"}
    assert set(provenance(P.output)) == {"in", "p"}


def test_a_fault_of_the_server_fails_its_job_and_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*args: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(bench.runtime, "prepare", prepare)
    bench.put("/a")
    job = bench.create()
    assert job.state == pps_pb2.JOB_FAILURE
    assert job.info.reason == "an unexpected error of the server; its log has more"
    assert "unexpected error in a job" in caplog.messages
    caplog.clear()
    until(lambda: not bench.pps.running.has(job.num))


def test_what_a_datum_was_made_of_is_in_the_meta_commit(bench: Bench) -> None:
    commit = bench.put("/a")
    job = bench.create()
    (datum,) = bench.pps.datums.of_job(JobName(P, job.id))
    meta = bench.pfs.commits.get(job.commits[1])
    entry = bench.pfs.files.entry(meta, f"/meta/{datum.datum.id}/meta")
    found = json.loads(b"".join(bench.pfs.files.read(meta, entry)))
    assert set(found) == {"job", "inputs", "hash", "stats", "imageId"}
    assert (found["job"]["id"], found["imageId"], found["stats"]["downloadBytes"]) == (job.id, "img", "2")
    assert found["hash"] == bench.pps.datums.hashes(job)[datum.datum.id]
    (input,) = found["inputs"]
    assert (input["name"], input["branch"]) == ("in", "master")
    assert (input["fileInfo"]["file"]["path"], input["fileInfo"]["file"]["commit"]["id"]) == ("/a", commit)
