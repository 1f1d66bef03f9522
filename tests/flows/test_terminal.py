"""The flows as make starts them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings
from python_pachyderm.service import pps_proto

from flows.terminal import run_from_terminal
from flows.train import train
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.embedded import find_localpach
from tests.flows import cheap

ROOT = Path(__file__).parents[2]
# What `make clean` deletes, each named by its variable.
PLACES = ("LOCALPACH_ROOT", "SCRIPTWRIGHT_OUTPUT", "SCRIPTWRIGHT_CACHE")


def run(module: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a module with these environment variables against the tests' Prefect server."""
    api = get_current_settings().api.url
    env = {**os.environ, "PREFECT_API_URL": str(api), **variables}
    return subprocess.run(
        [sys.executable, "-m", *module.split()],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_problem_is_one_sentence_and_exit_status_1(embedded: Path) -> None:
    done = run("flows train", SOURCE="/no/such.tar.gz")
    assert done.returncode == 1
    assert "Error: " in done.stderr
    assert "/no/such.tar.gz" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_wrong_address_is_told_before_prefect_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", "pachd.invalid:30650")
    nowhere = {PREFECT_API_URL: "http://127.0.0.1:1/api"}
    with (
        temporary_settings(nowhere),
        pytest.raises(SystemExit, match=r"Error: .* pachd\.invalid:30650 failed: no host"),
    ):
        run_from_terminal(train)


def test_a_prefect_server_that_does_not_answer_is_told(embedded: Path) -> None:
    done = run("flows input_data", PREFECT_API_URL="http://me:SECRET@127.0.0.1:9/api")
    assert done.returncode == 1
    assert "Error: Prefect's server at http://127.0.0.1:9/api does not answer (" in done.stderr
    assert "SECRET" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, b'"Unauthorized"', r"refuses the login \(401\); set PREFECT_API_AUTH_STRING"),
        (200, b'"2.20.1"', r"can't be used \(.*2\.20\.1"),
        (200, b"<html>", r"can't be used \(.*; its address ends in /api\."),
        (200, b'{"status": "ok"}', r"can't be used \(.*; its address ends in /api\."),
        (500, b'"broken"', r"can't be used \("),
    ],
)
def test_a_prefect_server_that_is_of_no_use_is_told(embedded: Path, status: int, body: bytes, sentence: str) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path.endswith("/version") else 200)
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        address = {PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
        try:
            with (
                temporary_settings(address),
                pytest.raises(SystemExit, match=f"Error: Prefect's server at .* {sentence}"),
            ):
                run_from_terminal(train)
        finally:
            server.shutdown()


def test_an_unknown_model_is_named(embedded: Path) -> None:
    done = run("flows train", MODEL="huge")
    assert done.returncode == 1
    assert "model" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_lists_repos_commits_and_jobs(embedded: Path) -> None:
    done = run("tasks.status")
    assert done.returncode == 0, done.stderr
    for column in ("REPO", "COMMIT", "PIPELINE", "STATE"):
        assert column in done.stdout


def test_status_shows_a_job(embedded: Path) -> None:
    client = connect()
    client.create_repo("some_input")
    pfs = pps_proto.PFSInput(repo="some_input", glob="/")
    transform = pps_proto.Transform(cmd=["true"], image="missing")
    client.create_pipeline("some_pipeline", transform=transform, input=pps_proto.Input(pfs=pfs))
    done = run("tasks.status")
    assert "some_pipeline" in done.stdout
    assert "created" in done.stdout


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("all", "run", "rerun", "input-data", "docker-build", "status", "up", "down", "clean", "test"):
        assert f"make {target} " in done.stdout


def test_make_clean_where_nothing_serves(tmp_path: Path) -> None:
    """As after the Ctrl-C that ends `make up`."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in (".venv/bin", ".localpach", "output", ".cache"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".venv/bin/localpach").symlink_to(find_localpach())
    env = {name: value for name, value in os.environ.items() if name not in PLACES}
    subprocess.run(["make", "clean"], cwd=tmp_path, env=env, check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile", ".venv"}


def test_make_clean_deletes_what_is_named_and_nothing_beside(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    named = [f"-r {tmp_path.name} {place} *" for place in PLACES]
    others = {"-r", tmp_path.name, *PLACES, ".localpach", "output", ".cache"}
    for name in (".venv/bin", *named, *others):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".venv/bin/localpach").symlink_to(find_localpach())
    env = {**os.environ, **dict(zip(PLACES, named, strict=True))}
    subprocess.run(["make", "clean"], cwd=tmp_path, env=env, check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile", ".venv"} | others


@pytest.mark.parametrize(
    ("target", "given", "called"),
    [
        ("down", {"LOCALPACH_ROOT": "-my  data; *"}, ["localpach", "stop", "--root=-my  data; *"]),
        ("verify", {"RESULTS": "my  results; *"}, ["python", "-m", "tasks.verify", "my  results; *"]),
        ("verify", {"RESULTS": ""}, ["python", "-m", "tasks.verify"]),
    ],
)
def test_make_hands_on_a_path_as_it_is(target: str, given: dict[str, str], called: list[str], tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    program = tmp_path / ".venv/bin" / called[0]
    program.write_text('#!/bin/sh\nbasename "$0"; printf "%s\\n" "$@"\n')
    program.chmod(0o755)
    command = ["make", "--no-print-directory", target, "-o", ".venv/.installed", "-o", "localpach/.venv/.installed"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == called


def temporary_servers(home: Path) -> list[int]:
    """Prefect's temporary servers whose Prefect is at home in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named = b"prefect.server.api.server:create_app" in (process / "cmdline").read_bytes()
            if named and f"PREFECT_HOME={home}\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


@pytest.fixture
def starting(embedded: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A flow as make starts it, once its temporary Prefect server is being started."""
    env = {**os.environ, "SOURCE": str(cheap.scripts(tmp_path / "s.tar.gz", 1, 9.0)), "PREFECT_HOME": str(tmp_path)}
    env.pop("PREFECT_API_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "input_data"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL
    )
    until(lambda: temporary_servers(tmp_path))
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("later", [0.0, 3.0])
def test_a_flow_that_is_ended_leaves_no_prefect_server(
    starting: subprocess.Popen[bytes], tmp_path: Path, later: float
) -> None:
    time.sleep(later)
    starting.terminate()
    assert starting.wait(60) == 128 + signal.SIGTERM
    assert not temporary_servers(tmp_path)


@pytest.mark.slow
def test_a_flow_that_is_killed_leaves_no_prefect_server(starting: subprocess.Popen[bytes], tmp_path: Path) -> None:
    starting.kill()
    until(lambda: not temporary_servers(tmp_path))


@pytest.fixture
def running(embedded: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The train flow as make starts it, with a temporary Prefect server, once its job runs; it writes to `tmp_path / "log"`."""
    code = (
        "import sys; from pathlib import Path; from tests.flows import cheap; from tasks import project;"
        "from flows.__main__ import main; project.SPECS = cheap.specs(Path(sys.argv[1]), seconds=100); main('train')"
    )
    env = {**os.environ, "SOURCE": str(cheap.scripts(tmp_path / "s.tar.gz", 1, 9.0)), "PREFECT_HOME": str(tmp_path)}
    env["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
    env.pop("PREFECT_API_URL", None)
    log = tmp_path / "log"
    with log.open("w") as said:
        command = [sys.executable, "-c", code, str(tmp_path / "specs")]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=said, start_new_session=True)
    deadline = time.monotonic() + 200
    while "is JOB_RUNNING" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_ctrl_c_stops_the_job_and_is_told_in_a_sentence(running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """As a terminal sends it: to all processes, the temporary Prefect server that the run has started among them."""
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(60) == 130
    said = (tmp_path / "log").read_text()
    assert "Interrupted; run again to go on." in said
    assert "KeyboardInterrupt" not in said
    assert next(iter(connect().list_job("GoT_train"))).state == pps_proto.JOB_KILLED


@pytest.mark.slow
def test_what_is_not_logged_in_gets_nothing_of_a_temporary_server(
    running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """What a page in the user's browser asks, and then the end of it all."""
    (server,) = temporary_servers(tmp_path)
    arguments = Path(f"/proc/{server}/cmdline").read_text().split("\0")
    api = f"http://127.0.0.1:{arguments[arguments.index('--port') + 1]}/api"
    for method, path in (("GET", "/admin/settings"), ("POST", "/flows/"), ("POST", "/flow_runs/filter")):
        answer = httpx.request(method, api + path, headers={"Origin": "http://evil.example"}, json={"name": "planted"})
        assert answer.status_code in (401, 403), path
        assert "access-control-allow-origin" not in answer.headers
    running.terminate()
    assert running.wait(60) == 128 + signal.SIGTERM
    assert not temporary_servers(tmp_path)


@pytest.mark.slow
def test_a_kill_leaves_no_flow_behind(running: subprocess.Popen[bytes]) -> None:
    flows = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert flows
    running.kill()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/exe").exists() for pid in flows):
        assert time.monotonic() < deadline
        time.sleep(0.2)
