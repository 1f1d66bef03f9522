"""The commands of the README and of the pages in `docs`, run as they stand in a copy of the project with an empty home."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests import corpora
from tls import HOST, Proxy

ROOT = Path(__file__).parents[1]
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", ".localpach", ".prefect-login", "output", "sbom", ".cache", "*.egg-info", "__pycache__", ".*_cache"
)
# A full training of `small` takes the better part of an hour; the test model, and a minute, go the same way.
REPLACED = {
    "MINUTES=15 make all": "MINUTES=1 SOURCE=path/to/scripts.tar.gz make all",
    "MODEL=small make all": "MODEL=test make all",
    "make rerun": "MODEL=test make rerun",
}
# The tests that run here are those of `make test`, which `.ci/run` runs first.
LEFT_OUT = ("make test",)


# In the order in which a newcomer would read them; each goes on with what those before it have left.
PAGES = (
    "README.md",
    "docs/first-run.md",
    "docs/scheduled-retraining.md",
    "docs/cluster.md",
    "docs/own-corpus.md",
    "docs/own-pipeline.md",
)
# A localpach that asks for a token stands in for the cluster of docs/cluster.md, with a proxy before it for TLS.
CLUSTER, TLS_CLUSTER, TOKEN = "pachd.example.com:30650", "pachd.example.com:443", "YOUR-TOKEN"


def commands(page: str) -> list[str]:
    """All lines of a page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
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
        self.port, reports, page = _free_ports(3)
        self.env |= {"PREFECT_SERVER_API_PORT": self.port, "REPORTS_PORT": reports, "PAGE_PORT": page}
        self.env["IMAGE_BUILDER"] = "bundle"
        self._others: dict[str, subprocess.Popen[bytes]] = {}
        self._proxies: list[Proxy] = []

    def run(self, command: str) -> str:
        """Runs a line of a page; fails the test when it fails."""
        if command.startswith("export PREFECT_API_URL"):
            self._in_another("make up", "Ctrl-C here ends all.")
        if any(each in command for each in (CLUSTER, TLS_CLUSTER, TOKEN)):
            self._in_another(".venv/bin/localpach serve --root stand-in --port 0", "localpach serves")
            address = json.loads((self.folder / "stand-in" / "address").read_text())["address"]
            command = command.replace(CLUSTER, address)
            command = command.replace(TOKEN, (self.folder / "stand-in" / "token").read_text().strip())
            if TLS_CLUSTER in command:
                command = command.replace(TLS_CLUSTER, self._with_tls(address))
        command = re.sub(r":4200\b", f":{self.port}", REPLACED.get(command, command))
        exported = re.fullmatch(r"export (\w+)=(.+)", command)
        if exported:
            command = f"printf %s {exported[2]}"
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if exported:
            self.env[exported[1]] = done.stdout
        return done.stdout + done.stderr

    def _with_tls(self, address: str) -> str:
        """Where a server is to be had by TLS; whom to trust for that is in the file that the page names."""
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(self.folder / "path/to/roots.pem"))
        self._proxies.append(Proxy(address, ca.issue_cert(HOST)))
        return self._proxies[-1].address

    def _in_another(self, command: str, ready: str) -> None:
        """Starts what a person starts in another terminal, unless it goes on from before, and waits until it is ready."""
        if command in self._others:
            return
        log = self.folder / f"{len(self._others)}.log"
        with log.open("w") as output:
            self._others[command] = subprocess.Popen(
                command.split(), cwd=self.folder, env=self.env, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + 300
        while ready not in log.read_text():
            assert time.monotonic() < deadline, f"{command} is not ready\n{log.read_text()[-3000:]}"
            assert self._others[command].poll() is None, f"{command} ended\n{log.read_text()[-3000:]}"
            time.sleep(0.5)

    def close(self) -> None:
        """Ctrl-C in the other terminals, then `make clean`."""
        for proxy in self._proxies:
            proxy.close()
        for process in self._others.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(60)
        subprocess.run(["make", "clean"], cwd=self.folder, env=self.env, check=False, capture_output=True)


def _free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in probes]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("readme"))
    (terminal.folder / "path/to").mkdir(parents=True)
    corpora.plays(terminal.folder / "path/to/scripts.tar.gz")
    yield terminal
    terminal.close()


# What the commands of a page must have printed.
TOLD = {
    "README.md": {
        "make all": "Perplexity (test)",
        "make status": "GoT_generate",
        ".venv/bin/localpach fsck --root .localpach --read-data": "all is well",
    },
    # The same command twice: what the second has printed.
    "docs/scheduled-retraining.md": {
        ".venv/bin/prefect deployment run retrain/retrain-and-release --param model=test --watch": "Skipped",
    },
    "docs/cluster.md": {"make status": "GoT_scripts"},
    "docs/own-pipeline.md": {".venv/bin/python docs/examples/count_words.py": "The new script has"},
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page(page: str, terminal: Terminal) -> None:
    before = dict(terminal.env)
    try:
        printed = {command: terminal.run(command) for command in commands(page)}
    finally:
        terminal.env = before
    for command, told in TOLD.get(page, {}).items():
        assert told in printed[command]


def test_pages_name_what_is_there() -> None:
    """Pictures and files that a page links to."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page.name} links to {link}"
