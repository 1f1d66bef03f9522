"""What workers work with."""

from __future__ import annotations

from dataclasses import dataclass

from localpach.pfs.service import Pfs
from localpach.pps.cores import Cores
from localpach.pps.datums import Datums
from localpach.pps.jobs import Jobs
from localpach.pps.logs import Logs
from localpach.pps.pipelines import Pipelines
from localpach.pps.secrets import Secrets
from localpach.runtime.choice import Runtimes
from localpach.storage.store import Store


@dataclass(frozen=True)
class Tools:
    """The parts of PFS and PPS that a job needs to be done."""

    store: Store
    pfs: Pfs
    pipelines: Pipelines
    jobs: Jobs
    datums: Datums
    secrets: Secrets
    logs: Logs
    runtimes: Runtimes
    cores: Cores
