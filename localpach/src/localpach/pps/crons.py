"""Cron inputs: a commit with a file named by the time, at each tick."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from localpach.errors import LocalpachError, Refused
from localpach.names import Branch, Repo
from localpach.pfs import Change, Delete
from localpach.pfs.base import now
from localpach.pfs.files import Add
from localpach.pfs.triggers import next_time
from localpach.pps import inputs
from localpach.pps.pipelines import Pipelines
from localpach.proto import pps_pb2

log = logging.getLogger("localpach")


class Crons(Pipelines):
    """Ticks of all pipelines."""

    def run_cron(self, pipeline: pps_pb2.Pipeline) -> None:
        """Ticks all cron inputs of a pipeline now."""
        row = self._pipeline_row(pipeline)
        crons = _crons(self._version(row["num"], row["version"]))
        if not crons:
            raise Refused("pipeline doesn't have a cron input")
        with self.store.write():
            for cron in crons:
                self._tick(row["num"], cron, now())

    def tick_due(self) -> float | None:
        """Makes the ticks that are due; gives the seconds to the next one."""
        with self.store.read() as connection:
            rows = connection.execute(
                "SELECT p.*, t.name AS input, t.last FROM ticks t JOIN pipelines p ON p.num = t.pipeline WHERE stopped = 0"
            ).fetchall()
            infos = [self._version(row["num"], row["version"]) for row in rows]
        soonest: float | None = None
        for row, info in zip(rows, infos, strict=True):
            cron = next(each for each in _crons(info) if each.name == row["input"])
            due = next_time(cron.spec, row["last"])
            if due is not None and due <= now():
                try:
                    self._tick(row["num"], cron, due)
                except LocalpachError as error:
                    # Its repo may have been deleted by force: that must not hold up the others.
                    log.warning("no tick for input %s of pipeline %s: %s", cron.name, row["name"], error.message)
                due = next_time(cron.spec, max(due, now()))
            if due is not None:
                left = max((due - now()) / 1_000_000, 0.0)
                soonest = left if soonest is None else min(soonest, left)
        return soonest

    def _tick(self, pipeline: int, cron: pps_pb2.CronInput, at: int) -> None:
        stamp = datetime.fromtimestamp(at // 1_000_000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        batch = self.pfs.batch()
        changes: list[Change] = [Delete("/", "")] if cron.overwrite else []
        changes.append(Add(f"/{stamp}", "", (batch.add(b""),)))
        with self.store.write() as connection:
            row = (at, pipeline, cron.name)
            if connection.execute("UPDATE ticks SET last = ? WHERE pipeline = ? AND name = ?", row).rowcount:
                self.pfs.apply_to_branch(Branch(Repo(cron.project, cron.repo), "master"), changes, batch)


def _crons(info: pps_pb2.PipelineInfo) -> list[pps_pb2.CronInput]:
    return [leaf.cron for leaf in inputs.leaves_of(info) if leaf.HasField("cron")]
