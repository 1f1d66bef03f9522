"""What jobs say, as it comes, on a real server that fails now and then."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from asyncio import CancelledError

import grpc
import pytest
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import (
    PachydermJob,
    logs,
)
from prefect_pachyderm.commits import commit_files
from proxy import Fails, proxy
from running import COUNT, Captured, block, credentials_of, said, state_of, until
from server import Server


def test_each_line_once_in_order_and_each_state_once(server: Server, client: Client, captured: Captured) -> None:
    job = block(server, COUNT.format(lines=20, pause=0.1)).trigger()
    job.wait_for_completion()
    assert captured.lines == said(client, job) == [f"line {number}" for number in range(20)]
    told = [message for message in captured.messages if " is JOB_" in message]
    assert len(told) == len(set(told))
    assert told[-1].endswith("is JOB_SUCCESS")


@pytest.mark.parametrize("method", [pytest.param("InspectJob", marks=pytest.mark.slow), "GetLogs", "ListRepo"])
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


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OK])
def test_a_log_that_is_not_there_yet_is_asked_for_again(
    code: grpc.StatusCode, server: Server, client: Client, captured: Captured
) -> None:
    """As a cluster's is while the pods start."""
    job_id = block(server, COUNT.format(lines=30, pause=0.1)).trigger().job_id
    fails: Fails = lambda name, number: name == "GetLogs" and number <= 2 and code  # noqa: E731
    with proxy(server.address, fails) as (address, _):
        PachydermJob("p", job_id, credentials_of(server, address)).wait_for_completion()
    assert captured.lines == [f"line {number}" for number in range(30)]


@pytest.mark.slow
def test_a_log_that_can_not_be_read_is_told_of_once(
    server: Server, client: Client, captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(logs, "LAST_CHANCE_SECONDS", 0.5)
    job_id = block(server, "sleep 3").trigger().job_id
    fails: Fails = lambda name, number: name == "GetLogs" and grpc.StatusCode.INTERNAL  # noqa: E731
    with proxy(server.address, fails) as (address, _):
        PachydermJob("p", job_id, credentials_of(server, address)).wait_for_completion()
    assert len([each for each in captured.messages if "the proxy fails this call" in each]) == 1


def test_the_log_of_a_job_that_is_over_before_its_wait_comes_too_and_once(
    server: Server, client: Client, captured: Captured
) -> None:
    """Of a job that has been begun here, by its pipeline or by a commit; one that others have begun has had its readers."""
    lines = [f"line {number}" for number in range(8)]
    pipeline = block(server, COUNT.format(lines=8, pause=0))
    by_pipeline = pipeline.trigger().job_id
    by_commit = commit_files(client, "in", "master", {"a": b"two"}, "")
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/a", b"three")
    for job_id, wanted in ((by_pipeline, lines), (by_commit, lines), (commit.id, [])):
        until(PachydermJob("p", job_id, credentials_of(server)).is_over)
        taken: list[str] = []
        for _ in range(2):
            PachydermJob("p", job_id, credentials_of(server), on_line=taken.append).wait_for_completion()
            assert taken == wanted
    assert captured.lines == lines * 2
    assert len([each for each in captured.messages if each.endswith("has succeeded before")]) == 4


@pytest.mark.parametrize(
    ("who", "error"),
    [
        *itertools.product(["handler", "on_line"], [RuntimeError("mine"), BrokenPipeError(), SystemExit(1)]),
        ("on_line", CancelledError()),
        ("on_line", KeyboardInterrupt()),
    ],
)
def test_who_takes_the_lines_may_fail(
    who: str, error: BaseException, server: Server, client: Client, captured: Captured
) -> None:
    """The other one gets them all, and the job is waited for to its end."""
    taken: list[str] = []

    def fail() -> None:
        if len(taken if who == "on_line" else captured.lines) > 2:
            raise error

    def take(line: str) -> None:
        taken.append(line)
        if who == "on_line":
            fail()

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if who == "handler":
                fail()

    failing = Failing()
    logger = logging.getLogger("prefect.PachydermJob")
    logger.addHandler(failing)
    try:
        job = block(server, COUNT.format(lines=8, pause=0.05)).trigger()
        PachydermJob("p", job.job_id, credentials_of(server), on_line=take).wait_for_completion()
    finally:
        logger.removeHandler(failing)
    assert taken == captured.lines == [f"line {number}" for number in range(8)]
    assert len([each for each in captured.messages if "can't be handed on" in each]) == 1


@pytest.mark.slow
def test_a_server_that_is_gone_for_a_minute_is_survived(server: Server, client: Client, captured: Captured) -> None:
    job = block(server, COUNT.format(lines=100, pause=0.1)).trigger()
    waiting = threading.Thread(target=job.wait_for_completion)
    waiting.start()
    time.sleep(3)
    server.kill()
    time.sleep(60)
    server.start()
    waiting.join(120)
    assert not waiting.is_alive()
    assert state_of(server.client, job) == pps_proto.JOB_SUCCESS
    assert captured.lines == said(server.client, job)
