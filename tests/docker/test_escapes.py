"""localpach's attempts to get out of a sandbox, from within containers: none succeeds."""

from __future__ import annotations

import re
import runpy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from google.protobuf.duration_pb2 import Duration
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from tests.docker.conftest import FULL_BASE
from tests.jobs import content, last_job, lines, pfs, put
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PLANTED = "planted-in-the-environment"
ATTEMPTS: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "localpach" / "tests" / "runtime" / "attempts.py")
)
ENDED, FINE = ATTEMPTS["ENDED"], ATTEMPTS["FINE"]
# The passwords there are the image's.
QUIET = {name: script for name, script in ATTEMPTS["QUIET"].items() if name != "read the passwords"}


class Prison:
    """A server whose jobs run in containers, and what they are told of its surroundings."""

    def __init__(self, server: Server, env: dict[str, str]) -> None:
        self.client: Client = server.client
        self._env = env

    def job(
        self, name: str, input: pps_proto.Input, cmd: list[str], script: str = "", **more: Any
    ) -> pps_proto.JobInfo:
        transform = pps_proto.Transform(cmd=cmd, stdin=[script], image=FULL_BASE, env=self._env)
        self.client.create_pipeline(name, transform=transform, input=input, datum_tries=1, **more)
        return last_job(self.client, name)


@pytest.fixture(scope="module")
def prison(host: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prison]:
    root = tmp_path_factory.mktemp("localpach")
    outside = tmp_path_factory.mktemp("outside")
    server = Server(root, ())
    server.start()
    with socket.socket() as other, socket.socket(socket.AF_UNIX) as abstract:
        other.bind(("127.0.0.1", 0))
        other.listen()
        abstract.bind("\0escape-docker")
        abstract.listen()
        env = {
            "ROOT": str(root),
            "SERVER": server.address.split(":")[1],
            "PREFECT": str(other.getsockname()[1]),
            "PID": str(server.process.pid),
            "HOST_HOME": str(outside / "home"),
            "ABSTRACT": "escape-docker",
            "AGENT": str(root / "agent"),
            "OUTSIDE": str(outside),
            "STRANGER": str(server.process.pid),
        }
        server.client.create_repo("in")
        put(server.client, "in", {"/a": b"one\n", "/d/x": b"below\n", "/big": b"0" * 100_000})
        yield Prison(server, env)
    server.stop()


@pytest.fixture(scope="module")
def said(prison: Prison) -> dict[str, list[str]]:
    """What each of the quiet attempts said."""
    names = {f"/{number:03}": name for number, name in enumerate(QUIET)}
    prison.client.create_repo("attempts")
    put(prison.client, "attempts", {path: QUIET[name].encode() for path, name in names.items()})
    job = prison.job("quiet", pfs("attempts"), ["sh", "-c", "sh /pfs/attempts/* 2>&1; true"])
    assert job.state == pps_proto.JOB_SUCCESS, lines(prison.client, "quiet", job)
    found: dict[str, list[str]] = {attempt: [] for attempt in QUIET}
    for message in prison.client.get_job_logs("quiet", job.job.id):
        if message.user:
            found[names[message.data[0].path]].append(message.message)
    return found


@pytest.mark.parametrize("attempt", QUIET)
def test_nothing_is_reached_that_is_not_the_commands_own(said: dict[str, list[str]], attempt: str) -> None:
    assert not any("ESCAPED" in line or PLANTED in line for line in said[attempt]), said[attempt]


@pytest.mark.parametrize("attempt", ENDED)
def test_what_a_command_leaves_ends_in_one_sentence(prison: Prison, attempt: str) -> None:
    script, sentence = ENDED[attempt]
    name = f"e{list(ENDED).index(attempt)}"
    limits = pps_proto.ResourceSpec(memory="300M")
    job = prison.job(name, pfs("in", "/"), ["sh"], script, resource_limits=limits, datum_timeout=Duration(seconds=10))
    told = lines(prison.client, name, job)
    assert job.state == pps_proto.JOB_FAILURE, told
    assert any(re.search(sentence, line) for line in told), told


@pytest.mark.parametrize("attempt", FINE)
def test_what_is_its_own_is_uploaded(prison: Prison, attempt: str) -> None:
    script, files = FINE[attempt]
    name = f"f{list(FINE).index(attempt)}"
    job = prison.job(name, pfs("in", "/"), ["sh"], script)
    assert job.state == pps_proto.JOB_SUCCESS, lines(prison.client, name, job)
    assert {path: content(prison.client, name, path) for path in files} == files
    assert content(prison.client, "in", "/a") == b"one\n"
