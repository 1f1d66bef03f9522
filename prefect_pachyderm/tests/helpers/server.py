"""A real localpach in a process of its own."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from python_pachyderm import Client

from prefect_pachyderm.embedded import find_localpach


@dataclass
class Server:
    """On a data directory of its own; images that are missing run on the host unless told otherwise."""

    root: Path
    port: int = 0
    missing_image: str = "host"
    dialect: str = "2.7"

    def start(self) -> None:
        """Starts it, at the address that it had before, and waits until it says where it is."""
        (self.root / "address").unlink(missing_ok=True)
        given = ["--root", str(self.root), "--port", str(self.port), "--missing-image", self.missing_image]
        given += ["--dialect", self.dialect]
        self.process = subprocess.Popen([find_localpach(), "serve", *given], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (self.root / "address").exists():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)
        self.address: str = json.loads((self.root / "address").read_text())["address"]
        self.port = int(self.address.rpartition(":")[2])

    @property
    def token(self) -> str:
        """What it asks for on every call."""
        return (self.root / "token").read_text().strip()

    @property
    def client(self) -> Client:
        """A client with the server's token."""
        return Client("127.0.0.1", self.port, auth_token=self.token)

    def kill(self) -> None:
        """As power loss would, for a process."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it in an orderly way."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
