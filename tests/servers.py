"""Servers that the tests talk to as users do: the program localpach, and clients of python-pachyderm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from python_pachyderm import Client

LOCALPACH = shutil.which("localpach") or str(Path(sys.executable).with_name("localpach"))


@dataclass
class Server:
    """A localpach on a data directory."""

    root: Path
    arguments: tuple[str, ...] = ("--missing-image", "host")
    program: str = LOCALPACH

    def start(self) -> None:
        """Starts it and waits until it says where it is."""
        (self.root / "address").unlink(missing_ok=True)
        command = [self.program, "serve", "--root", str(self.root), "--port", "0", *self.arguments]
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
