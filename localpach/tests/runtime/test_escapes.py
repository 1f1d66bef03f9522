"""Attempts to get out of a sandbox, each run by a server of its own and judged from outside: none succeeds, whether root
or an ordinary user serves, and whether the image is this machine or a bundle."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from localpach.proto import pps_pb2
from localpach.runtime import isolation
from localpach.runtime.bundles import Bundles
from localpach.runtime.launcher import STARTER
from tests.client import Client
from tests.helpers import last_job, lines, pfs, put
from tests.runtime.attempts import ENDED, FINE, QUIET
from tests.servers import ServerProcess

ORDINARY = 12345
PLANTED = "planted-in-the-environment"
SLEEPER = "4711.4711"


@dataclass
class Prison:
    """A server, what stands around it, and an image to run attempts in."""

    server: ServerProcess
    image: str
    outside: Path
    env: dict[str, str]

    @property
    def client(self) -> Client:
        return self.server.client

    def job(self, name: str, script: str, **more: object) -> pps_pb2.JobInfo:
        """The job of a script, with an input and limits."""
        transform = pps_pb2.Transform(cmd=["sh"], stdin=[script], image=self.image, env=self.env)
        limits = pps_pb2.ResourceSpec(memory="300M")
        timeout = Duration(seconds=60)
        fields = {"datum_tries": 1, "resource_limits": limits, "datum_timeout": timeout} | more
        self.client.create_pipeline(name, transform=transform, input=pfs("in", "/"), **fields)
        return last_job(self.client, name)


def _as_user(number: int, root: Path) -> list[str]:
    """A command to run another as a user, who can get at what is needed for it."""
    needed = [*map(Path, isolation.pythons()), Path(sys.executable).parent.parent, *map(Path, sys.path[1:])]
    stage = isolation.stage([path for path in [*needed, STARTER.parents[1]] if path.exists()])
    return [*stage, "setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]


@pytest.fixture(scope="module", params=["root", "user"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[ServerProcess, Path, dict[str, str]]]:
    """A server whose surroundings hold what is worth stealing."""
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as other, socket.socket(socket.AF_UNIX) as abstract:
        top = Path(folder)
        outside, home, root = top / "outside", top / "home", top / "root"
        for made in (outside, home, home / ".ssh", root):
            made.mkdir()
        (home / ".ssh" / "id").write_text("planted")
        (outside / "precious").write_text("precious")
        prefix: list[str] = []
        if request.param == "user" and os.getuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("needs setpriv to become an ordinary user")
            prefix = _as_user(ORDINARY, root)
            for made in (home, home / ".ssh", root):
                os.chown(made, ORDINARY, ORDINARY)
        top.chmod(0o755)
        outside.chmod(0o777)
        other.bind(("127.0.0.1", 0))
        other.listen()
        abstract.bind(f"\0escape-{top.name}")
        abstract.listen()
        Bundles(root).build(_context(top), "bundle:1", say=lambda line: None)
        if prefix:
            subprocess.run(["chown", "-R", f"{ORDINARY}:{ORDINARY}", str(root)], check=True)
        running = ServerProcess(root, prefix=prefix, env={"HOME": str(home), "PLANTED": PLANTED, "SSH_AUTH_SOCK": "x"})
        stranger = subprocess.Popen(["sleep", SLEEPER])
        with running:
            _fill(running.client)
            env = {
                "ROOT": str(root),
                "SERVER": running.address.split(":")[1],
                "PREFECT": str(other.getsockname()[1]),
                "PID": str(running.pid),
                "HOST_HOME": str(home),
                "ABSTRACT": f"escape-{top.name}",
                "AGENT": str(root / "agent"),
                "OUTSIDE": str(outside),
                "STRANGER": str(stranger.pid),
            }
            yield running, outside, env
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()


def _context(top: Path) -> Path:
    context = top / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /of-test/\n")
    return context


def _fill(client: Client) -> None:
    client.create_repo("in")
    client.create_repo("other")
    put(client, "in", {"/a": b"one\n", "/d/x": b"below\n", "/big": b"0" * 100_000})
    put(client, "other", {"/secret": b"planted" * 20_000})


@pytest.fixture(scope="module", params=["host", "bundle:1"])
def prison(request: pytest.FixtureRequest, server: tuple[ServerProcess, Path, dict[str, str]]) -> Prison:
    running, outside, env = server
    status = subprocess.run(
        [sys.executable, "-m", "localpach", "status", "--root", str(running.root)],
        check=False,
        capture_output=True,
        text=True,
    )
    if "commands run in sandboxes" not in status.stdout:
        assert not os.environ.get("CI"), status.stdout
        pytest.skip(status.stdout)
    return Prison(running, request.param, outside, env)


@pytest.fixture(scope="module")
def said(prison: Prison) -> dict[str, list[str]]:
    """What each of the quiet attempts said: they are the files of an input, a datum each."""
    repo = f"attempts-{prison.image.partition(':')[0]}"
    prison.client.create_repo(repo)
    names = {f"/{number:03}": name for number, name in enumerate(QUIET)}
    put(prison.client, repo, {path: QUIET[name].encode() for path, name in names.items()})
    transform = pps_pb2.Transform(cmd=["sh", "-c", f"sh /pfs/{repo}/* 2>&1; true"], image=prison.image, env=prison.env)
    name = f"quiet-{prison.image.partition(':')[0]}"
    prison.client.create_pipeline(name, transform=transform, input=pfs(repo), parallelism_spec=_TWO)
    job = last_job(prison.client, name)
    assert job.state == pps_pb2.JOB_SUCCESS, lines(prison.client, name, job)
    found: dict[str, list[str]] = {attempt: [] for attempt in QUIET}
    for message in prison.client.get_job_logs(name, job.job.id):
        if message.user:
            found[names[message.data[0].path]].append(message.message)
    return found


_TWO = pps_pb2.ParallelismSpec(constant=2)


@pytest.mark.parametrize("attempt", QUIET)
def test_nothing_is_reached_that_is_not_the_commands_own(said: dict[str, list[str]], attempt: str) -> None:
    assert not any("ESCAPED" in line or "planted" in line for line in said[attempt]), said[attempt]
    assert not any("python3: not found" in line or "NameError" in line for line in said[attempt]), said[attempt]


def test_nothing_is_left_or_changed_outside(prison: Prison, said: dict[str, list[str]]) -> None:
    assert [item.name for item in prison.outside.iterdir()] == ["precious"]
    assert (prison.outside / "precious").read_text() == "precious"
    assert prison.client.get_file(("other", "master"), "/secret") == b"planted" * 20_000
    assert prison.client.get_file(("in", "master"), "/big") == b"0" * 100_000


@pytest.mark.parametrize(
    "attempt", [pytest.param(name, marks=[pytest.mark.slow] if name == "a fork bomb" else []) for name in ENDED]
)
def test_what_a_command_leaves_ends_in_one_sentence(prison: Prison, attempt: str) -> None:
    script, sentence = ENDED[attempt]
    name = f"e{list(ENDED).index(attempt)}-{prison.image.partition(':')[0]}"
    job = prison.job(name, script, datum_timeout=Duration(seconds=5))
    said = lines(prison.client, name, job)
    assert job.state == pps_pb2.JOB_FAILURE, said
    assert any(re.search(sentence, line) for line in said), said
    assert not any("unexpected" in line or "Traceback (most" in line for line in said), said
    if not any("errored running user code" in line for line in said):
        assert re.search(sentence, job.reason)
    assert [item.name for item in prison.outside.iterdir()] == ["precious"]


@pytest.mark.parametrize("attempt", FINE)
def test_what_is_its_own_is_uploaded(prison: Prison, attempt: str) -> None:
    script, files = FINE[attempt]
    name = f"f{list(FINE).index(attempt)}-{prison.image.partition(':')[0]}"
    job = prison.job(name, script)
    assert job.state == pps_pb2.JOB_SUCCESS, lines(prison.client, name, job)
    for path, data in files.items():
        assert prison.client.get_file((name, "master"), path) == data
    assert prison.client.get_file(("in", "master"), "/a") == b"one\n"
    assert prison.client.get_file(("in", "master"), "/d/x") == b"below\n"


def test_processes_end_with_their_command(prison: Prison) -> None:
    prison.job(f"left-{prison.image.partition(':')[0]}", FINE["leftover processes"][0])
    found = subprocess.run(["pgrep", "-fxc", f"sleep {SLEEPER}"], capture_output=True, text=True, check=False)
    assert int(found.stdout) == 1


ASK = """bash -c 'exec 3<>/dev/tcp/127.0.0.1/600; printf "GET / HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n" >&3; cat <&3'"""


@pytest.mark.parametrize("s3_out", [False, True])
def test_only_who_asked_for_it_has_an_s3_gateway_of_its_own(prison: Prison, s3_out: bool) -> None:
    name = f"s3-{s3_out}-{prison.image.partition(':')[0]}"
    job = prison.job(name, f"{ASK} 2>&1; true", s3_out=s3_out)
    assert job.state == pps_pb2.JOB_SUCCESS, lines(prison.client, name, job)
    said = "\n".join(lines(prison.client, name, job))
    # What is not signed is refused.
    assert ("<Code>AccessDenied</Code>" in said, "Connection refused" in said) == (s3_out, not s3_out)
