"""Real servers, each on a data directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from python_pachyderm import Client


@dataclass
class Server:
    """A localpach in a process of its own."""

    root: Path
    arguments: tuple[str, ...] = ("--missing-image", "host")

    def start(self) -> None:
        """Starts it and waits until it says where it is."""
        (self.root / "address").unlink(missing_ok=True)
        command = [sys.executable, "-m", "localpach", "serve", "--root", str(self.root), "--port", "0", *self.arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (self.root / "address").exists():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)
        self.address = json.loads((self.root / "address").read_text())["address"]

    @property
    def client(self) -> Client:
        """A client with the server's token."""
        host, port = self.address.split(":")
        return Client(host, int(port), auth_token=(self.root / "token").read_text())

    def kill(self) -> None:
        """As power loss would, for a process."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ends it in an orderly way."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for a module's tests, on which images that are missing run on the host."""
    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Client:
    """A client of the module's server, on which nothing is."""
    client = server.client
    client.delete_all()
    return client
