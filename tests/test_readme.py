"""The README's commands, run as they stand in a copy of the project with an empty home."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import corpora

ROOT = Path(__file__).parents[1]
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", ".localpach", "output", ".cache", "*.egg-info", "__pycache__", ".*_cache"
)
# A full training of `small` takes the better part of an hour; the test model goes the same way in a minute.
REPLACED = {"MODEL=small make all": "MODEL=test make all", "make rerun": "MODEL=test make rerun"}
# The tests that run here are those of `make test`, which `.ci/run` runs first.
LEFT_OUT = ("make test",)


def commands() -> list[str]:
    """All lines of the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line not in LEFT_OUT]


class Terminal:
    """A copy of the project and an environment that keeps what `export` sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        shutil.copytree(ROOT, self.folder, ignore=LEFT_BEHIND)
        (folder / "home").mkdir()
        own = ("PACH", "LOCALPACH", "PREFECT", "SCRIPTWRIGHT")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        self.env["HOME"] = str(folder / "home")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        self.env["PREFECT_SERVER_API_PORT"] = self.port

    def run(self, command: str) -> str:
        """Runs a line of the README; fails the test when it fails."""
        command = REPLACED.get(command, command).replace(":4200", f":{self.port}")
        exported = re.fullmatch(r"export (\w+)=(\S+)", command)
        if exported:
            self.env[exported[1]] = exported[2]
            return ""
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("readme"))
    (terminal.folder / "path/to").mkdir(parents=True)
    corpora.plays(terminal.folder / "path/to/scripts.tar.gz")
    yield terminal
    subprocess.run(["make", "clean"], cwd=terminal.folder, env=terminal.env, check=False, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_readme(terminal: Terminal) -> None:
    printed = {}
    up = None
    try:
        for command in commands():
            if command.startswith("export PREFECT_API_URL"):
                up = subprocess.Popen(["make", "up"], cwd=terminal.folder, env=terminal.env, start_new_session=True)
            printed[command] = terminal.run(command)
            if command.startswith("export PREFECT_API_URL"):
                wait_for_worker(terminal)
    finally:
        if up is not None:
            os.killpg(up.pid, signal.SIGINT)
            up.wait(60)
    assert "Perplexity (test)" in printed["make all"]
    assert "GoT_generate" in printed["make status"]
    assert "all is well" in printed[".venv/bin/localpach fsck --root .localpach --read-data"]


def wait_for_worker(terminal: Terminal) -> None:
    """Until the worker has made itself known to the server."""
    deadline = time.monotonic() + 180
    ask = [".venv/bin/prefect", "work-pool", "inspect", "scriptwright"]
    while True:
        done = subprocess.run(ask, cwd=terminal.folder, env=terminal.env, capture_output=True, text=True, check=False)
        if done.returncode == 0 and "READY" in done.stdout:
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(2)
