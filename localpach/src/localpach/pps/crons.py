"""Cron inputs: a commit with a file named by the time, at each tick."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import NamedTuple

from localpach.clock import now
from localpach.errors import LocalpachError, NotFound, Refused
from localpach.messages import microseconds
from localpach.names import Branch, Repo
from localpach.pfs.service import Pfs
from localpach.pfs.triggers import next_time
from localpach.pfs.writes import Add, Change, Delete
from localpach.pps import inputs
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineName, PipelineRecord
from localpach.proto import pps_pb2
from localpach.storage.store import Store

log = logging.getLogger("localpach")


class WaitingCron(NamedTuple):
    """A cron input, and when it ticked last."""

    pipeline: PipelineRecord
    name: str
    last: int

    def __str__(self) -> str:
        return f"cron input {self.name} of pipeline {self.pipeline.name}"


class Crons:
    """Ticks of all pipelines."""

    def __init__(self, store: Store, pfs: Pfs, pipelines: Pipelines) -> None:
        self._store = store
        self._pfs = pfs
        self._pipelines = pipelines

    def reset(self, pipeline: int, info: pps_pb2.PipelineInfo, before: pps_pb2.PipelineInfo | None = None) -> None:
        """Lets the cron inputs of a pipeline tick from their start on; one with the schedule that it had `before` goes on from
        its last tick."""
        same = {_schedule(cron) for cron in _crons(before)} if before is not None else set()
        with self._store.write() as connection:
            query = "SELECT name, last FROM ticks WHERE pipeline = ?"
            last = {row["name"]: row["last"] for row in connection.execute(query, (pipeline,))}
            rows = []
            for cron in _crons(info):
                start = microseconds(cron.start)
                goes_on = _schedule(cron) in same and start <= now()
                rows.append((pipeline, cron.name, last.get(cron.name, start) if goes_on else start))
            connection.execute("DELETE FROM ticks WHERE pipeline = ?", (pipeline,))
            connection.executemany("INSERT INTO ticks VALUES (?, ?, ?)", rows)

    def run(self, name: PipelineName) -> None:
        """Ticks all cron inputs of a pipeline now."""
        pipeline = self._pipelines.get(name)
        crons = _crons(self._pipelines.newest_info(pipeline))
        if not crons:
            raise Refused("pipeline doesn't have a cron input")
        with self._store.write():
            for cron in crons:
                self._tick(pipeline.num, cron, now())

    def waiting(self) -> list[WaitingCron]:
        """The cron inputs of the pipelines that are not stopped."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT pipeline, name, last FROM ticks").fetchall()
            found = [(self._pipelines.by_num(row["pipeline"]), row["name"], row["last"]) for row in rows]
        return [
            WaitingCron(pipeline, name, last) for pipeline, name, last in found if pipeline and not pipeline.stopped
        ]

    def tick_if_due(self, waiting: WaitingCron) -> float | None:
        """Ticks if it is time to; gives the seconds to the next tick."""
        pipeline = waiting.pipeline
        try:
            crons = _crons(self._pipelines.newest_info(pipeline))
        except NotFound:
            if self._pipelines.by_num(pipeline.num) is not None:
                raise
            # It was deleted since.
            return None
        cron = next(each for each in crons if each.name == waiting.name)
        due = next_time(cron.spec, waiting.last)
        if due is not None and due <= now():
            ticked = due
            try:
                self._tick(pipeline.num, cron, due)
            except LocalpachError as error:
                # Its repo may have been deleted by force; it has its next turn at the next tick.
                log.warning("no tick in repo %s for cron input %s: %s", cron.repo, cron.name, error.message)
                ticked = now()
            due = next_time(cron.spec, ticked)
        return None if due is None else max((due - now()) / 1_000_000, 0.0)

    def _tick(self, pipeline: int, cron: pps_pb2.CronInput, at: int) -> None:
        stamp = datetime.fromtimestamp(at // 1_000_000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        batch = self._pfs.writes.batch()
        changes: list[Change] = [Delete("/", "")] if cron.overwrite else []
        changes.append(Add(f"/{stamp}", "", (batch.add(b""),)))
        with self._store.write() as connection:
            row = (at, pipeline, cron.name)
            # The clock may have been set back: what has ticked does not tick again.
            if connection.execute("UPDATE ticks SET last = max(last, ?) WHERE pipeline = ? AND name = ?", row).rowcount:
                self._pfs.writes.apply_to_branch(Branch(Repo(cron.project, cron.repo), "master"), changes, batch)


def _crons(info: pps_pb2.PipelineInfo) -> list[pps_pb2.CronInput]:
    return [leaf.cron for leaf in inputs.leaves_of(info) if leaf.HasField("cron")]


def _schedule(cron: pps_pb2.CronInput) -> tuple[str, str, str]:
    return cron.name, cron.repo, cron.spec
