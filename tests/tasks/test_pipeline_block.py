"""The blocks: pipelines triggered, waited for and read through them, on a real server that fails now and then."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr
from python_pachyderm import Client
from python_pachyderm.service import pps_proto
from tasks.job_runs import JobFailed, JobGone, JobTimedOut, PachydermJob
from tasks.pachyderm import PachydermCredentials, PachydermError
from tasks.pipelines import PachydermPipeline

from tests.localpach.conftest import Server
from tests.localpach.test_pfs import put
from tests.tasks.proxy import Fails, proxy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which images that are missing run on the host; it comes back at the same address."""
    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    server.arguments = (*server.arguments, "--port", server.address.partition(":")[2])
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Client:
    client = server.client
    client.delete_all()
    client.create_repo("in")
    put(client, "in", {"/a": b"one"})
    return client


def credentials_of(server: Server, address: str | None = None) -> PachydermCredentials:
    token = SecretStr((server.root / "token").read_text())
    return PachydermCredentials(address=address or server.address, auth_token=token)


def block(server: Server, script: str, address: str | None = None, **fields: Any) -> PachydermPipeline:
    """A pipeline of a shell script."""
    spec = {
        "pipeline": {"name": "p"},
        "input": {"pfs": {"repo": "in", "glob": "/"}},
        "transform": {"image": "host", "cmd": ["sh"], "stdin": [script]},
        "datumTries": "1",
    }
    return PachydermPipeline(credentials=credentials_of(server, address), spec=spec, **fields)


def state_of(client: Client, job: PachydermJob) -> int:
    return next(iter(client.inspect_job(job.job_id, "p"))).state


class TestCredentials(BlockStandardTestSuite):
    """Prefect's own rules for blocks. It has no rule for a block without a logo, so that one is left out."""

    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self) -> type[Block]:
        return PachydermCredentials


class TestPipeline(BlockStandardTestSuite):
    """Likewise."""

    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self) -> type[Block]:
        return PachydermPipeline


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
    assert block(server, script).trigger().job_id == first.job_id
    again = block(server, script, reprocess=True).trigger()
    again.wait_for_completion()
    assert again.job_id != first.job_id
    assert next(iter(client.inspect_job(again.job_id, "p"))).data_processed == 1


def test_the_asynchronous_twins(server: Server, client: Client) -> None:
    async def run() -> list[str]:
        job = await block(server, "echo hello; cp /pfs/in/a /pfs/out/").atrigger()
        await job.await_for_completion()
        return (await job.afetch_result()).files

    assert asyncio.run(run()) == ["/a"]


def test_a_cancelled_await_stops_the_job(server: Server, client: Client) -> None:
    async def run() -> PachydermJob:
        job = await block(server, "sleep 300").atrigger()
        waiting = asyncio.create_task(job.await_for_completion())
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return job

    assert state_of(client, asyncio.run(run())) == pps_proto.JOB_KILLED


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


def said(client: Client, job: PachydermJob) -> list[str]:
    """What the job has said, as Pachyderm has it."""
    messages = client.get_job_logs("p", job.job_id)
    return [each.message.strip() for each in messages if each.user and each.message.startswith("line ")]


class Captured(logging.Handler):
    """Every message of the job's logger, in order."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    @property
    def lines(self) -> list[str]:
        """What the job has said."""
        return [message for message in self.messages if message.startswith("line ")]


@pytest.fixture
def captured() -> Iterator[Captured]:
    handler = Captured()
    logger = logging.getLogger("prefect.PachydermJob")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


COUNT = "i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); sleep {pause}; done"


def test_each_line_once_in_order_and_each_state_once(server: Server, client: Client, captured: Captured) -> None:
    job = block(server, COUNT.format(lines=20, pause=0.1)).trigger()
    job.wait_for_completion()
    assert captured.lines == said(client, job) == [f"line {number}" for number in range(20)]
    told = [message for message in captured.messages if " is JOB_" in message]
    assert len(told) == len(set(told))
    assert told[-1].endswith("is JOB_SUCCESS")


@pytest.mark.parametrize("method", ["InspectJob", "GetLogs", "ListRepo"])
def test_five_calls_in_a_row_that_fail_are_survived(
    method: str, server: Server, client: Client, captured: Captured
) -> None:
    job_id = block(server, COUNT.format(lines=10, pause=0.1)).trigger().job_id
    fails: Fails = lambda name, number: name == method and 2 <= number <= 6  # noqa: E731
    with proxy(server.address, fails) as (address, calls):
        job = PachydermJob("p", job_id, credentials_of(server, address))
        job.wait_for_completion()
        assert calls[method] >= 6 or method == "GetLogs"
    assert captured.lines == [f"line {number}" for number in range(10)]


def test_a_log_that_breaks_off_goes_on_where_it_was(server: Server, client: Client, captured: Captured) -> None:
    """The proxy, and with it each stream through it, ends while the job talks, and comes back."""
    job_id = block(server, COUNT.format(lines=40, pause=0.1)).trigger().job_id
    with proxy(server.address, lambda name, number: False) as (address, _):
        waiting = threading.Thread(
            target=PachydermJob("p", job_id, credentials_of(server, address)).wait_for_completion
        )
        waiting.start()
        time.sleep(1.5)
    with proxy(server.address, lambda name, number: False, address):
        waiting.join(60)
        assert not waiting.is_alive()
    assert captured.lines == [f"line {number}" for number in range(40)]


@pytest.mark.slow
def test_a_server_that_is_gone_for_ten_seconds_is_survived(server: Server, client: Client, captured: Captured) -> None:
    job = block(server, COUNT.format(lines=100, pause=0.1)).trigger()
    waiting = threading.Thread(target=job.wait_for_completion)
    waiting.start()
    time.sleep(3)
    server.kill()
    time.sleep(10)
    server.start()
    waiting.join(120)
    assert not waiting.is_alive()
    assert state_of(server.client, job) == pps_proto.JOB_SUCCESS
    assert captured.lines == said(server.client, job)


def test_where_a_pachyderm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """PACHD_ADDRESS first, then pachctl's context, then the embedded server."""
    token = (server.root / "token").read_text()
    context = tmp_path / "config.json"
    named = {"pachd_address": f"grpc://{server.address}", "session_token": token}
    context.write_text(json.dumps({"v2": {"active_context": "c", "contexts": {"c": named}}}))
    monkeypatch.setenv("PACH_CONFIG", str(context))
    monkeypatch.delenv("PACHD_ADDRESS", raising=False)
    found = PachydermCredentials.from_environment()
    assert found.address == f"grpc://{server.address}"
    assert found.get_client().get_remote_version().major == 2
    assert token not in repr(found)
    monkeypatch.setenv("PACHD_ADDRESS", "elsewhere:1")
    assert PachydermCredentials.from_environment().address == "elsewhere:1"
    context.write_text("no JSON")
    monkeypatch.delenv("PACHD_ADDRESS")
    with pytest.raises(PachydermError, match=r"config\.json"):
        PachydermCredentials.from_environment()
