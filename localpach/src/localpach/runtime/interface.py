"""What a runtime is given and what it gives back; `process` and `docker` are the two there are."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from localpach.runtime.layout import Layout

# The words that Pachyderm has for a datum past its timeout.
TIMED_OUT = "context deadline exceeded"
# Processes and threads that a command may have.
PROCESSES = 4096

OnLine = Callable[[str], None]
# Where on its own loopback a command finds what is served to it alone; Pachyderm has them for the same.
S3_PORT = 600
WORKER_PORT = 1080
PACHD_PORT = 1650


class Serving(Protocol):
    """What serves a command, or brings others to it."""

    def close(self) -> None:
        """Takes no more requests."""


# A connection to a command; an OSError where it takes none.
Dial = Callable[[], socket.socket]


@dataclass(frozen=True)
class Resources:
    """What a command may take (limits) and is given before others (requests). Memory in bytes, CPU in cores."""

    memory: int | None = None
    cpu: float | None = None
    requested_memory: int | None = None
    requested_cpu: float | None = None
    gpus: int = 0


@dataclass(frozen=True)
class Pod:
    """What a spec says of the pod that its command would have on a cluster, as it stands there."""

    spec: str = ""
    patch: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSpec:
    """What to run. `layout` has what appears as `/pfs`; `files` are small ones to be found at absolute paths; `serve` takes
    a socket that listens at `port` of the command's own loopback, until the command ends; `reach` takes what connects to
    its `reach_port`. With `read_only` the command does
    not change its inputs, which may be others while it runs."""

    cmd: list[str]
    stdin: str
    env: dict[str, str]
    layout: Layout
    image: str
    working_dir: str = ""
    timeout: float | None = None
    resources: Resources = Resources()
    user: str = ""
    files: dict[str, str] = field(default_factory=dict)
    pod: Pod = Pod()
    serve: Callable[[socket.socket], Serving] | None = None
    reach: Callable[[Dial], Serving] | None = None
    port: int = S3_PORT
    reach_port: int = 0
    read_only: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended: by `code`, which is 128 more than the number of a signal that ended it, or otherwise, with the
    `problem` that made it end."""

    code: int | None = None
    problem: str = ""


class Run(Protocol):
    """One running command."""

    def kill(self) -> None:
        """Ends the command and all that it started."""

    def wait(self) -> Ended:
        """Waits for the end; a command past its time or memory is ended."""


class Runtime(Protocol):
    """Runs commands."""

    @property
    def may_link(self) -> bool:
        """Whether inputs may be links to what is stored: commands don't change them themselves."""

    @property
    def weakness(self) -> str:
        """A sentence on what is missing of the sandbox; empty where nothing is."""

    def crash_reason(self, image: str, gpus: int) -> str:
        """Why a pipeline with this image, and that many GPUs, can't run here; empty when it can."""

    def prepare(self, image: str, credentials: str, say: OnLine, is_stopped: Callable[[], bool]) -> None:
        """Has the image here. `credentials` are the JSON of a Docker configuration, or empty.

        Raises:
            LocalpachError: the image can't be had.
        """

    def hand_over(self, layout: Layout) -> None:
        """Lets a running command have what was put into its layout since it started."""

    def start(self, spec: RunSpec, on_line: OnLine) -> Run:
        """Starts a command; each line of its output goes to `on_line`, from another thread.

        Raises:
            LocalpachError: it can't be started here.
        """
