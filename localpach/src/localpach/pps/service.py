"""PPS, put together: pipelines, and the jobs and datums that they make of commits."""

from __future__ import annotations

import os
from collections.abc import Sequence

from localpach.egress.places import Place
from localpach.pfs.service import Pfs
from localpach.pps.changes import Changes
from localpach.pps.controller import Controller
from localpach.pps.cores import Cores
from localpach.pps.crons import Crons
from localpach.pps.datums import Datums
from localpach.pps.defaults import Defaults
from localpach.pps.egress import Egress
from localpach.pps.jobs import Jobs
from localpach.pps.lifecycle import Lifecycle
from localpach.pps.logs import Logs
from localpach.pps.pipelines import Pipelines
from localpach.pps.queries import JobQueries
from localpach.pps.regeneration import Regeneration
from localpach.pps.running import Running
from localpach.pps.secrets import Secrets
from localpach.pps.tools import Served, Tools
from localpach.runtime.choice import Runtimes
from localpach.storage.store import Store
from localpach.waiting import Bulletin


class Pps:
    """The parts of PPS; each is given what it uses."""

    def __init__(
        self,
        store: Store,
        bulletin: Bulletin,
        pfs: Pfs,
        runtimes: Runtimes,
        served: Served,
        allowed: Sequence[Place] = (),
    ) -> None:
        """`allowed` is where output may be written with the server's own rights."""
        self._runtimes = runtimes
        self._changes = Changes(store, bulletin)
        self.running = Running()
        self.logs = Logs(store.root, bulletin)
        self.pipelines = Pipelines(store)
        self.jobs = Jobs(store, bulletin, self._changes, pfs, self.pipelines, self.running, self.logs)
        self.queries = JobQueries(store, bulletin, pfs, self.jobs)
        self.datums = Datums(store, pfs, self.jobs)
        self.secrets = Secrets(store)
        self.crons = Crons(store, pfs, self.pipelines)
        egress = Egress(pfs, self.secrets, allowed)
        self.lifecycle = Lifecycle(
            store, bulletin, self._changes, pfs, self.pipelines, self.jobs, self.crons, self.secrets, self.logs, egress
        )
        self.defaults = Defaults(store, pfs)
        self.regeneration = Regeneration(store, self.pipelines, self.lifecycle, self.defaults)
        self._store = store
        self.cores = Cores(os.cpu_count() or 1)
        tools = Tools(
            store=store,
            pfs=pfs,
            pipelines=self.pipelines,
            jobs=self.jobs,
            datums=self.datums,
            secrets=self.secrets,
            egress=egress,
            logs=self.logs,
            runtimes=runtimes,
            served=served,
            cores=self.cores,
        )
        self.controller = Controller(bulletin, self._changes, tools, self.crons, self.running)

    def start(self) -> None:
        """Takes up what was going on when the server ended, and starts to work."""
        self._runtimes.remove_leftovers()
        pipelines = [each.num for each in self.pipelines.all()]
        self.logs.keep_only({num: set(self.queries.ids(num)) for num in pipelines})
        for num in pipelines:
            self._changes.tell(num)
        self.controller.start()

    def delete_all(self) -> None:
        """Deletes all pipelines, and the defaults of those to come."""
        with self._store.write():
            self.lifecycle.delete_many([], all=True, force=True)
            self.defaults.clear()

    def close(self) -> None:
        """Ends what runs; the next start takes it up."""
        self.controller.close()
