"""Which runtime an image runs in."""

from __future__ import annotations

from pathlib import Path

from localpach.errors import Precondition
from localpach.runtime.docker import DockerRuntime
from localpach.runtime.interface import Runtime
from localpach.runtime.process import ProcessRuntime

MISSING_IMAGE = ("docker", "refuse", "host")
SANDBOX = ("best", "require")


class Runtimes:
    """An image that a bundle was built for runs as processes; `missing_image` says what becomes of the others: `docker`
    has Docker run them, `refuse` nobody, `host` this machine's programs."""

    def __init__(self, root: Path, missing_image: str, sandbox: str = "best", network: bool = False) -> None:
        """Raises Precondition where the sandbox is required, and is not to be had whole."""
        processes = ProcessRuntime(root, missing_image == "host", "default" if network else "none")
        self.weakness = processes.weakness
        if self.weakness and sandbox == "require":
            raise Precondition(f"a sandbox is required, and {self.weakness}")
        self.work = processes.work
        self._processes = processes
        self._docker = DockerRuntime(root, "bridge" if network else "none") if missing_image == "docker" else None

    def of(self, image: str) -> Runtime:
        """The runtime of an image; where none can run it, that one's `crash_reason` says so."""
        if self._docker is None or self._processes.has(image):
            return self._processes
        return self._docker

    def remove_leftovers(self) -> None:
        """Removes what a server that was killed has left running."""
        if self._docker is not None:
            self._docker.remove_leftovers()
