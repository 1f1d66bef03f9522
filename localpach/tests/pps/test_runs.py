"""Datums in a runtime that only pretends: what a command is given, and what becomes of how it ends."""

from __future__ import annotations

import time

import pytest
from google.protobuf.duration_pb2 import Duration

from localpach.pps.jobs import JobName
from localpach.pps.records import JobRecord
from localpach.pps.specs import worker_id
from localpach.proto import pps_pb2
from localpach.runtime.interface import TIMED_OUT, Ended, OnLine, Pod, Resources, RunSpec
from tests.pps.bench import Bench, P, copy_all


def test_a_command_is_given_all_that_its_spec_says(bench: Bench) -> None:
    commit = bench.put("/a")
    bench.pps.secrets.create(b'{"metadata": {"name": "s"}, "stringData": {"k": "v"}}')
    mounts = [pps_pb2.SecretMount(name="s", key="k", env_var="S"), pps_pb2.SecretMount(name="s", mount_path="/s")]
    job = bench.create(
        transform=pps_pb2.Transform(env={"E": "e"}, working_dir="/w", user="u", secrets=mounts),
        datum_timeout=Duration(seconds=5, nanos=500_000_000),
        resource_limits=pps_pb2.ResourceSpec(memory="2Gi", cpu=1.5, gpu=pps_pb2.GPUSpec(type="t", number=3)),
        resource_requests=pps_pb2.ResourceSpec(memory="100", cpu=0.5),
        pod_spec="{}",
        pod_patch="[]",
        metadata=pps_pb2.Metadata(annotations={"k": "v"}),
    )
    (spec,) = bench.runtime.specs
    assert (spec.cmd, spec.stdin, spec.image) == (["run", "it"], "a\nb\n", "img")
    assert (spec.working_dir, spec.user, spec.files) == ("/w", "u", {"/s/k": "v"})
    assert spec.timeout is not None
    assert 4 < spec.timeout <= 5.5
    assert spec.resources == Resources(2 << 30, 1.5, 100, 0.5, 3)
    assert (spec.pod.spec, spec.pod.patch, dict(spec.pod.annotations)) == ("{}", "[]", {"k": "v"})
    (datum,) = bench.pps.datums.of_job(JobName(P, job.id))
    info = bench.pps.pipelines.info(job.pipeline, 1)
    assert spec.env == {
        "PACH_DATUM_ID": datum.datum.id,
        "PACH_IN_WORKER": "true",
        "PACH_JOB_ID": job.id,
        "PACH_NAMESPACE": "default",
        "PACH_OUTPUT_COMMIT_ID": job.id,
        "PPS_PIPELINE_NAME": "p",
        "PPS_PROJECT_NAME": "default",
        "PPS_POD_NAME": worker_id(info),
        "PPS_SPEC_COMMIT": info.spec_commit.id,
        "in": "/pfs/in/a",
        "in_COMMIT": commit,
        "S": "v",
        "E": "e",
    }
    assert bench.runtime.seen == [{"in/a": "/a"}]
    assert bench.runtime.prepared == [("img", "")]


def test_without_limits_there_are_none(bench: Bench) -> None:
    bench.put("/a")
    bench.create()
    (spec,) = bench.runtime.specs
    assert (spec.timeout, spec.resources, spec.files) == (None, Resources(), {})
    assert (spec.pod.spec, spec.pod.patch, dict(spec.pod.annotations)) == (Pod().spec, Pod().patch, {})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1Ki", 1 << 10),
        ("1.5Mi", 3 << 19),
        ("1Gi", 1 << 30),
        ("1Ti", 1 << 40),
        ("1k", 10**3),
        ("1M", 10**6),
        ("2G", 2 * 10**9),
        ("1e3", 1000),
        ("2500m", 3),
        ("7000000u", 7),
        ("7000000001n", 8),
        ("1Pi", 1 << 50),
        ("1Ei", 1 << 60),
        ("2T", 2 * 10**12),
        ("2P", 2 * 10**15),
        ("2E", 2 * 10**18),
    ],
)
def test_quantities_of_memory(bench: Bench, text: str, number: int) -> None:
    bench.put("/a")
    bench.create(resource_limits=pps_pb2.ResourceSpec(memory=text))
    assert bench.runtime.specs[0].resources.memory == number


def test_keys_of_joins_and_groups_are_in_the_environment(bench: Bench) -> None:
    bench.put("/k1")
    leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/k(*)", join_on="j$1", group_by="g$1"))
    bench.create(input=pps_pb2.Input(join=[leaf]))
    env = bench.runtime.specs[0].env
    assert (env["PACH_DATUM_in_JOIN_ON"], env["PACH_DATUM_in_GROUP_BY"]) == ("j1", "g1")


def test_a_root_is_seen_as_its_repo(bench: Bench) -> None:
    bench.put("/d/a")
    bench.create(input=pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", name="n", glob="/")))
    assert bench.runtime.specs[0].env["n"] == "/pfs/n"
    assert bench.runtime.seen == [{"n/d/a": "/d/a"}]


def test_a_job_counts_what_it_does(bench: Bench) -> None:
    bench.put("/a", "/bb")
    job = bench.create()
    info = job.info
    assert (info.state, info.reason) == (pps_pb2.JOB_SUCCESS, "")
    assert (info.data_total, info.data_processed, info.data_skipped, info.data_failed) == (2, 2, 0, 0)
    assert (info.stats.download_bytes, info.stats.upload_bytes) == (5, 5)
    assert bench.output() == {"/a": b"/a", "/bb": b"/bb"}
    for datum in bench.pps.datums.of_job(JobName(P, job.id)):
        size = datum.data[0].size_bytes
        assert (datum.stats.download_bytes, datum.stats.upload_bytes, datum.image_id) == (size, size, "img")
        assert datum.stats.HasField("process_time")
        assert datum.stats.HasField("download_time")
        assert datum.stats.HasField("upload_time")
    moments = [each.ToNanoseconds() for each in (info.created, info.started, info.finished)]
    assert 10**18 < moments[0] <= moments[1] <= moments[2]
    bench.put("/c")
    info = bench.last().info
    assert (info.data_total, info.data_processed, info.data_skipped) == (3, 1, 2)
    assert info.stats.download_bytes == 2
    assert not list((bench.store.root / "work").iterdir())


def test_a_log_tells_of_each_step(bench: Bench) -> None:
    bench.put("/a")
    job = bench.create()
    said = [line.split(" after ")[0] for line in bench.said(job)]
    assert said == [
        "started processing job running",
        "started process datum set task",
        "beginning to run user code",
        "copying",
        "finished running user code",
        "finished process datum set task",
        "started process datum set task",
        "finished process datum set task",
    ]
    messages = list(bench.pps.logs.read(job.pipeline, job.id))
    assert [message.user for message in messages] == [line == "copying" for line in said]
    assert [message.master for message in messages] == [True] + [False] * 7
    (datum,) = bench.pps.datums.of_job(JobName(P, job.id))
    assert [message.datum_id for message in messages] == ["", "", *[datum.datum.id] * 3, "", "", ""]
    of_datum = messages[2]
    assert [(each.path, each.hash) for each in of_datum.data] == [("/a", datum.data[0].hash)]
    assert {(m.pipeline_name, m.project_name, m.job_id) for m in messages} == {("p", "default", job.id)}


@pytest.mark.parametrize(
    ("ended", "why", "more"),
    [
        (Ended(code=7), "exit status 7", ""),
        (Ended(code=139), "exit status 139 (signal: segmentation fault)", ""),
        (Ended(problem=TIMED_OUT), "context deadline exceeded", ""),
        (Ended(code=1, problem="no disk"), "no disk", ": no disk"),
    ],
)
def test_how_a_command_ends_is_told(bench: Bench, ended: Ended, why: str, more: str) -> None:
    bench.put("/a")
    bench.runtime.act = lambda spec, on_line: ended
    job = bench.create(datum_tries=2)
    (datum,) = bench.pps.datums.of_job(JobName(P, job.id))
    assert (job.state, job.info.reason) == (pps_pb2.JOB_FAILURE, f"datum {datum.datum.id} failed{more}")
    assert (datum.state, job.info.data_failed) == (pps_pb2.FAILED, 1)
    assert len(bench.runtime.specs) == 2
    assert sum(line.endswith(f": {why}") and line.startswith("errored running") for line in bench.said(job)) == 2
    assert bench.output() == {}


def test_a_second_try_begins_with_nothing_written(bench: Bench) -> None:
    bench.put("/a")

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        (spec.layout.out / f"try{len(bench.runtime.specs)}").touch()
        return Ended(code=len(bench.runtime.specs) == 1)

    bench.runtime.act = act
    assert bench.create(datum_tries=3).state == pps_pb2.JOB_SUCCESS
    assert bench.output() == {"/try2": b""}


def test_a_second_try_sees_its_inputs_as_they_were(bench: Bench) -> None:
    bench.put("/a")

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        # Without an overlay commands write on their inputs.
        (spec.layout.view / "in" / "a").write_text("changed")
        (spec.layout.view / "in" / "b").touch()
        return Ended(code=len(bench.runtime.specs) < 3)

    bench.runtime.act = act
    job = bench.create(datum_tries=3)
    assert bench.runtime.seen == [{"in/a": "/a"}] * 3
    assert (job.state, job.info.stats.download_bytes) == (pps_pb2.JOB_SUCCESS, 2)


def test_codes_that_are_accepted_are_success(bench: Bench) -> None:
    bench.put("/a")
    bench.runtime.act = lambda spec, on_line: Ended(code=3)
    assert bench.create(transform=pps_pb2.Transform(accept_return_code=[3])).state == pps_pb2.JOB_SUCCESS
    bench.runtime.act = lambda spec, on_line: Ended(code=4)
    again = pps_pb2.Transform(accept_return_code=[3])
    assert bench.create(transform=again, update=True, reprocess=True).state == pps_pb2.JOB_FAILURE


def test_what_fails_may_be_recovered(bench: Bench) -> None:
    bench.put("/a", "/b")

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        is_a = (spec.layout.view / "in" / "a").exists()
        (spec.layout.out / "x").touch()
        return Ended(code=0 if spec.cmd == ["mend"] and spec.stdin == "m\n" and is_a else 1)

    bench.runtime.act = act
    job = bench.create(transform=pps_pb2.Transform(err_cmd=["mend"], err_stdin=["m"]))
    assert (job.info.data_recovered, job.info.data_failed, job.info.data_processed) == (1, 1, 0)
    assert job.state == pps_pb2.JOB_FAILURE
    states = sorted(datum.state for datum in bench.pps.datums.of_job(JobName(P, job.id)))
    assert states == sorted([pps_pb2.FAILED, pps_pb2.RECOVERED])


def test_recovered_datums_write_nothing_and_are_tried_again(bench: Bench) -> None:
    bench.put("/a", "/b")

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        copy_all(spec, on_line)
        return Ended(code=int(spec.cmd != ["mend"] and (spec.layout.view / "in" / "a").exists()))

    def counts(job: JobRecord) -> tuple[int, int, int]:
        return job.info.data_processed, job.info.data_recovered, job.info.data_skipped

    bench.runtime.act = act
    job = bench.create(transform=pps_pb2.Transform(err_cmd=["mend"]))
    assert (job.state, counts(job), bench.output()) == (pps_pb2.JOB_SUCCESS, (1, 1, 0), {"/b": b"/b"})
    bench.put("/c")
    assert counts(bench.last()) == (1, 1, 1)
    bench.runtime.act = copy_all
    bench.put("/d")
    assert (counts(bench.last()), sorted(bench.output())) == ((2, 0, 2), ["/a", "/b", "/c", "/d"])


@pytest.mark.parametrize(
    ("codes", "state"),
    [
        # Of the command and of `err_cmd` in turn.
        ([1, 0, 1, 1], pps_pb2.RECOVERED),
        ([1, 1, 1, 0], pps_pb2.RECOVERED),
        ([1, 1, 1, 1], pps_pb2.FAILED),
        ([1, 1, 0], pps_pb2.SUCCESS),
        ([1, 0, 0], pps_pb2.SUCCESS),
        ([0], pps_pb2.SUCCESS),
    ],
)
def test_each_failed_try_has_its_err_cmd(bench: Bench, codes: list[int], state: pps_pb2.DatumState) -> None:
    bench.put("/a")
    bench.runtime.act = lambda spec, on_line: Ended(code=codes[len(bench.runtime.specs) - 1])
    job = bench.create(transform=pps_pb2.Transform(err_cmd=["mend"]), datum_tries=2)
    (datum,) = bench.pps.datums.of_job(JobName(P, job.id))
    assert datum.state == state
    assert [spec.cmd for spec in bench.runtime.specs] == [["run", "it"], ["mend"], ["run", "it"], ["mend"]][
        : len(codes)
    ]
    begun = [line.removeprefix("beginning to run ") for line in bench.said(job) if line.startswith("beginning")]
    assert begun == ["user code", "user error handling code", "user code", "user error handling code"][: len(codes)]


def test_an_err_cmd_sees_what_its_try_has_left(bench: Bench) -> None:
    bench.put("/a")
    seen: list[list[str]] = []

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        seen.append([path.name for path in spec.layout.out.iterdir()])
        (spec.layout.out / "left").touch()
        return Ended(code=1)

    bench.runtime.act = act
    bench.create(transform=pps_pb2.Transform(err_cmd=["mend"]), datum_tries=2)
    assert seen == [[], ["left"], [], ["left"]]


def test_a_try_and_its_err_cmd_share_the_datums_time(bench: Bench) -> None:
    bench.put("/a")
    limit = 0.05

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        time.sleep(limit)
        return Ended(problem=TIMED_OUT)

    bench.runtime.act = act
    timeout = Duration(nanos=int(limit * 1e9))
    job = bench.create(transform=pps_pb2.Transform(err_cmd=["mend"]), datum_tries=2, datum_timeout=timeout)
    assert job.info.data_failed == 1
    assert ["mend"] not in [spec.cmd for spec in bench.runtime.specs]
    assert sum("handling code after" in line and line.endswith(TIMED_OUT) for line in bench.said(job)) == 2


def test_an_output_that_can_not_be_stored_fails_its_datum(bench: Bench) -> None:
    bench.put("/a")

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        (spec.layout.out / "link").symlink_to("/etc/hostname")
        return Ended(code=0)

    bench.runtime.act = act
    job = bench.create()
    assert (job.state, job.info.data_failed) == (pps_pb2.JOB_FAILURE, 1)
    assert any("/link in /pfs/out is a link to /etc/hostname: only links to" in line for line in bench.said(job))


def test_a_runtime_that_breaks_fails_the_datum_and_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.put("/a")

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        raise ValueError("broken")

    bench.runtime.act = act
    job = bench.create()
    (datum,) = bench.pps.datums.of_job(JobName(P, job.id))
    assert (job.state, job.info.reason) == (pps_pb2.JOB_FAILURE, f"datum {datum.datum.id} failed")
    assert f"could not run datum {datum.datum.id}: broken" in bench.said(job)
    assert f"unexpected error with datum {datum.datum.id}" in caplog.messages
    caplog.clear()
