"""Servers to test: in the process of the tests, or in one of its own that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from localpach.api import server
from tests.client import Client


@dataclass(frozen=True)
class Server:
    """A localpach that serves a data directory, with a client that has its token."""

    root: Path
    address: str
    client: Client


@contextmanager
def serving(
    root: Path,
    missing_image: str = "host",
    auth: bool = True,
    egress: Sequence[str] = (),
    dialect: str | None = None,
) -> Iterator[Server]:
    """A server in this process until the end of the block; another block on `root` is its restart."""
    running = server.Server(root, auth=auth, missing_image=missing_image, egress=egress, dialect=dialect)
    running.start()
    address = running.address
    client = Client(address, token(root) if auth else None)
    try:
        yield Server(root, address, client)
    finally:
        client.channel.close()
        running.close()


def token(root: Path) -> str:
    """What a server on `root` asks for with every call."""
    return (root / "token").read_text()


class ServerProcess:
    """A localpach in a process of its own, until the end of a block; on it, images that are missing run on the host."""

    def __init__(
        self,
        root: Path,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log: Path = Path(os.devnull),
    ) -> None:
        """`prefix` is a command that runs the server, `env` what it finds in its environment besides ours, `log` a file for
        what it says."""
        self.root = root
        self._log = log
        self._prefix = prefix
        self._env = {**os.environ, **(env or {})}

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            self.process.wait(30)

    def start(self) -> None:
        """Starts it and waits until it says where it is."""
        (self.root / "address").unlink(missing_ok=True)
        command = [sys.executable, "-m", "localpach", "serve", "--root", str(self.root), "--port", "0"]
        command = [*self._prefix, *command, "--missing-image", "host"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self._env, stderr=log)
        deadline = time.monotonic() + 30
        while not (self.root / "address").exists():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)
        found = json.loads((self.root / "address").read_text())
        self.address: str = found["address"]
        # Of the server itself: what runs it, and becomes somebody else for it, may not take its end along.
        self.pid: int = found["pid"]
        self.client = Client(self.address, token(self.root))

    def kill(self) -> None:
        """As power loss would, for a process."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
