"""Which runtime an image runs in."""

from __future__ import annotations

from pathlib import Path

from localpach.runtime.docker import DockerRuntime
from localpach.runtime.interface import Runtime
from localpach.runtime.process import ProcessRuntime

MISSING_IMAGE = ("docker", "refuse", "host")


class Runtimes:
    """An image that a bundle was built for runs as processes; `missing_image` says what becomes of the others: `docker`
    has Docker run them, `refuse` nobody, `host` this machine's programs."""

    def __init__(self, root: Path, missing_image: str) -> None:
        self._processes = ProcessRuntime(root, may_use_host=missing_image == "host")
        self._docker = DockerRuntime(root) if missing_image == "docker" else None

    def of(self, image: str) -> Runtime:
        """The runtime of an image; where none can run it, that one's `crash_reason` says so."""
        if self._docker is None or self._processes.has(image):
            return self._processes
        return self._docker

    def remove_leftovers(self) -> None:
        """Removes what a server that was killed has left running."""
        if self._docker is not None:
            self._docker.remove_leftovers()
