"""Pipelines triggered, waited for and read, on a real server that fails now and then."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from asyncio import CancelledError
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from prefect._internal.concurrency.cancellation import AsyncCancelScope
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import (
    JobFailed,
    JobGone,
    JobResult,
    JobTimedOut,
    PachydermError,
    PachydermJob,
    PachydermPipeline,
    PrefectPachydermError,
    calls,
    credentials,
    jobs,
)
from proxy import Fails, proxy
from running import Captured, block, credentials_of, state_of, until
from server import Server


def test_trigger_wait_and_fetch(server: Server, client: Client) -> None:
    job = block(server, "tr a-z A-Z < /pfs/in/a > /pfs/out/b").trigger()
    job.wait_for_completion()
    result = job.fetch_result()
    assert result.files == ["/b"]
    assert result.read("/b") == b"ONE"


def test_triggered_again_it_is_the_same_job_unless_told_to_reprocess(server: Server, client: Client) -> None:
    script = "cp /pfs/in/a /pfs/out/"
    first = block(server, script).trigger()
    first.wait_for_completion()
    same = block(server, script)
    same.spec = dict(reversed(same.spec.items()))
    assert same.trigger().job_id == first.job_id
    again = block(server, script, reprocess=True).trigger()
    again.wait_for_completion()
    assert again.job_id != first.job_id
    assert next(iter(client.inspect_job(again.job_id, "p"))).data_processed == 1


def test_the_asynchronous_twins(server: Server, client: Client) -> None:
    async def run() -> list[str]:
        job = await block(server, "echo hello; cp /pfs/in/a /pfs/out/").atrigger()
        await job.await_for_completion()
        return (await job.afetch_result()).files

    async def run_as_other_integrations() -> list[str]:
        job = await cast(Any, block(server, "cp /pfs/in/a /pfs/out/").trigger())
        await job.wait_for_completion()
        await job.stop("it is over already")
        return cast(JobResult, await job.fetch_result()).files

    assert asyncio.run(run()) == asyncio.run(run_as_other_integrations()) == ["/a"]


@pytest.mark.parametrize("stop", [True, False])
def test_a_cancelled_await_ends_at_once_and_stops_the_job_if_it_is_to(
    stop: bool, server: Server, client: Client
) -> None:
    async def run() -> PachydermJob:
        triggered = await block(server, "sleep 300").atrigger()
        job = PachydermJob("p", triggered.job_id, credentials_of(server), stop_when_interrupted=stop)
        waiting = asyncio.create_task(job.await_for_completion())
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return job

    assert (state_of(client, asyncio.run(run())) == pps_proto.JOB_KILLED) is stop


def test_an_await_that_has_lost_its_turn_leaves_its_job_alone(
    server: Server, client: Client, captured: Captured
) -> None:
    async def run() -> PachydermJob:
        job = await block(server, "sleep 300").atrigger()
        with AsyncCancelScope() as scope:
            threading.Timer(1, scope.cancel).start()
            await job.await_for_completion()
        return job

    with pytest.raises(CancelledError):
        asyncio.run(run())
    (info,) = client.list_job("p")
    assert info.state != pps_proto.JOB_KILLED
    assert any("goes on without this run" in message for message in captured.messages)


def test_a_run_that_has_lost_its_turn_leaves_its_job_alone_and_says_so(
    server: Server, client: Client, captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Prefect ends a run whose concurrency lease is gone; the next wait takes the job up."""
    job = block(server, "sleep 2").trigger()

    def end(self: PachydermJob, wait: object) -> None:
        raise CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(PachydermJob, "_until_over", end)
        with pytest.raises(CancelledError):
            job.wait_for_completion()
    assert any("goes on without this run" in message for message in captured.messages)
    job.wait_for_completion()
    assert state_of(client, job) == pps_proto.JOB_SUCCESS


def test_a_failed_job_tells_its_reason_and_its_last_words(server: Server, client: Client) -> None:
    job = block(server, "echo these are my last words; exit 3").trigger()
    with pytest.raises(JobFailed, match="JOB_FAILURE") as caught:
        job.wait_for_completion()
    assert "these are my last words" in str(caught.value)
    with pytest.raises(JobFailed, match="no result"):
        job.fetch_result()


def test_a_job_that_takes_too_long_is_stopped(server: Server, client: Client) -> None:
    job = block(server, "sleep 300", timeout_seconds=1.5).trigger()
    with pytest.raises(JobTimedOut, match="not over after 2 s"):
        job.wait_for_completion()
    assert state_of(client, job) == pps_proto.JOB_KILLED


def test_no_time_to_wait_is_refused() -> None:
    with pytest.raises(PrefectPachydermError, match=r"timeout_seconds of job p@1 is 0; give more than 0 s"):
        PachydermJob("p", "1", timeout_seconds=0)


def test_a_server_that_freezes_stops_no_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections stay: no call ends by itself."""
    for module in (credentials, jobs):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(calls, "PATIENCE_SECONDS", 1.0)
    server = Server(tmp_path)
    server.start()
    try:
        server.client.create_repo("in")
        with server.client.commit("in", "master") as commit:
            server.client.put_file_bytes(commit, "/a", b"one")
        job = block(server, "sleep 300", timeout_seconds=1).trigger()
        until(lambda: state_of(server.client, job) == pps_proto.JOB_RUNNING)
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(JobTimedOut, match=r"it could not be stopped: .*no answer has come"):
            job.wait_for_completion()
        with pytest.raises(PachydermError, match="no answer has come"):
            job.is_over()
        server.process.send_signal(signal.SIGCONT)
        with pytest.raises(JobTimedOut, match="it was stopped"):
            job.wait_for_completion()
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.stop()


def test_a_job_that_somebody_deletes_or_that_never_was(server: Server, client: Client) -> None:
    job = block(server, "sleep 300").trigger()
    threading.Timer(1.0, client.delete_job, (job.job_id, "p")).start()
    with pytest.raises(JobGone, match="deleted"):
        job.wait_for_completion()
    with pytest.raises(JobGone, match="not found"):
        PachydermJob("p", "0" * 32, credentials_of(server)).wait_for_completion()


def test_a_specification_that_is_refused(server: Server, client: Client) -> None:
    wrong = PachydermPipeline(credentials=credentials_of(server), spec={"pipeline": {"name": "p"}, "nonsense": 1})
    with pytest.raises(PachydermError, match="nonsense"):
        wrong.trigger()


def test_why_a_job_can_not_start_is_said_and_it_is_not_waited_for_for_ever(tmp_path: Path, captured: Captured) -> None:
    server = Server(tmp_path, missing_image="refuse")
    server.start()
    try:
        server.client.create_repo("in")
        with server.client.commit("in", "master") as commit:
            server.client.put_file_bytes(commit, "/a", b"one")
        job = block(server, "true", start_grace_seconds=0.1).trigger()
        with pytest.raises(JobFailed, match=r"could not start in 0 s: p is PIPELINE_CRASHING: .*host"):
            job.wait_for_completion()
        (said,) = [message for message in captured.messages if "can't start" in message]
        assert "PIPELINE_CRASHING" in said
        assert state_of(server.client, job) == pps_proto.JOB_KILLED
        job = block(server, "false", timeout_seconds=0.6).trigger()
        until(lambda: next(iter(server.client.inspect_pipeline("p"))).state == pps_proto.PIPELINE_CRASHING)
        with pytest.raises(
            JobTimedOut, match=r"not over after 1 s; it could not start: p is PIPELINE_CRASHING: .*host"
        ):
            job.wait_for_completion()
        job = block(server, "true").trigger()
        fails: Fails = lambda name, number: name == "InspectPipeline" and grpc.StatusCode.NOT_FOUND  # noqa: E731
        with proxy(server.address, fails) as (address, _), pytest.raises(JobGone):
            PachydermJob("p", job.job_id, credentials_of(server, address)).wait_for_completion()
    finally:
        server.stop()


def test_what_a_job_waits_for_is_said_whenever_that_changes(
    server: Server, client: Client, captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "START_LOOK_SECONDS", 0.1)
    cores = os.cpu_count() or 1
    with client.commit("in", "master") as commit:
        for number in range(cores):
            client.put_file_bytes(commit, f"/{number}", b"")
    busy = PachydermPipeline(
        credentials=credentials_of(server),
        spec={
            "pipeline": {"name": "busy"},
            "input": {"pfs": {"repo": "in", "glob": "/[0-9]*"}},
            "transform": {"image": "host", "cmd": ["sleep", "300"]},
            "parallelismSpec": {"constant": cores},
        },
    ).trigger()
    until(lambda: state_of(client, busy) == pps_proto.JOB_RUNNING)
    spec = block(server, "true").spec
    ahead = PachydermPipeline(credentials=busy._credentials, spec=spec | {"pipeline": {"name": "ahead"}}).trigger()
    until(lambda: state_of(client, ahead) == pps_proto.JOB_STARTING)
    job = block(server, "true").trigger()
    waiting = threading.Thread(target=job.wait_for_completion)
    waiting.start()
    for other, count in ((ahead, "2 jobs run"), (busy, "1 job runs")):
        until(lambda: any(message.endswith(f"{count} before it") for message in captured.messages))  # noqa: B023
        other.stop("enough")
    waiting.join(60)
    told = [message.split(" is JOB_")[1] for message in captured.messages if f"{job.job_id} is JOB_" in message]
    waits = [f"STARTING: waits for a free core: {count} before it" for count in ("2 jobs run", "1 job runs")]
    assert [each for each in told if each not in ("CREATED", "RUNNING", "FINISHING")] == [*waits, "SUCCESS"]
