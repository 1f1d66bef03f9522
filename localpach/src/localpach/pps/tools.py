"""What workers work with."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from localpach.names import Commit, Repo
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Collected
from localpach.pps.cores import Cores
from localpach.pps.datums import Datums
from localpach.pps.egress import Egress
from localpach.pps.jobs import Jobs
from localpach.pps.logs import Logs
from localpach.pps.pipelines import Pipelines
from localpach.pps.secrets import Secrets
from localpach.runtime.choice import Runtimes
from localpach.runtime.interface import Serving
from localpach.storage.store import Store
from localpach.waiting import Call


class S3Gateway(Protocol):
    """What a datum's commands reach by S3."""

    key: str

    def begin_try(self) -> None:
        """Forgets what an earlier try has written."""

    def serve(self, listener: socket.socket) -> Serving:
        """Takes requests at a socket that listens."""

    def collect(self, datum: str) -> Collected:
        """What was written, as written by a datum."""

    def close(self) -> None:
        """Forgets what was written."""


# What a command told of an error with the datum it had, if there was one, and the call that it asks by, to the variables of
# its next one.
NextDatum = Callable[[str, Call], Mapping[str, str]]
# To a command, by a socket that it reaches.
ServeWorker = Callable[[NextDatum, socket.socket], Serving]
# Pachyderm to a spout, as far as it is about a repo.
ServeSpout = Callable[[Repo, socket.socket], Serving]
# One to some commits by name, and to `out` or not.
OpenGateway = Callable[[Mapping[str, Commit], bool], S3Gateway]


class Served(NamedTuple):
    """What commands are served."""

    open_gateway: OpenGateway
    worker: ServeWorker
    spout: ServeSpout


@dataclass(frozen=True)
class Tools:
    """The parts of PFS and PPS that a job needs to be done."""

    store: Store
    pfs: Pfs
    pipelines: Pipelines
    jobs: Jobs
    datums: Datums
    secrets: Secrets
    egress: Egress
    logs: Logs
    runtimes: Runtimes
    cores: Cores
    served: Served
