"""Pipelines and their versions, as they are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from localpach.errors import NotFound
from localpach.pps.records import PipelineName, PipelineRecord
from localpach.proto import pps_pb2
from localpach.storage.store import Store

# By when the newest version was made.
_CHANGED = "(SELECT max(v.rowid) FROM pipeline_versions v WHERE v.pipeline = pipelines.num)"


class Pipelines:
    """All pipelines. The versions of one are kept, the newest counts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, name: PipelineName) -> PipelineRecord | None:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM pipelines WHERE project = ? AND name = ?", name).fetchone()
        return _record(row) if row else None

    def get(self, name: PipelineName) -> PipelineRecord:
        found = self.find(name)
        if found is None:
            raise NotFound(
                f'pipeline was not inspected: couldn\'t find up to date spec for pipeline "{name}":'
                f' branch "master" not found in repo {name}.spec'
            )
        return found

    def all(self) -> list[PipelineRecord]:
        """Last changed first."""
        with self._store.read() as connection:
            return [_record(row) for row in connection.execute(f"SELECT * FROM pipelines ORDER BY {_CHANGED} DESC")]

    def by_num(self, num: int) -> PipelineRecord | None:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM pipelines WHERE num = ?", (num,)).fetchone()
        return _record(row) if row else None

    def info(self, num: int, version: int) -> pps_pb2.PipelineInfo:
        """A version of a pipeline: its spec with all defaults."""
        with self._store.read() as connection:
            query = "SELECT info FROM pipeline_versions WHERE pipeline = ? AND version = ?"
            row = connection.execute(query, (num, version)).fetchone()
        if row is None:
            raise NotFound(f"version {version} of pipeline number {num} not found: the pipeline was deleted")
        return pps_pb2.PipelineInfo.FromString(row["info"])

    def newest_info(self, record: PipelineRecord) -> pps_pb2.PipelineInfo:
        return self.info(record.num, record.version)

    def add_version(self, info: pps_pb2.PipelineInfo) -> PipelineRecord:
        """Keeps the newest version of a pipeline, or the first of a new one."""
        name = PipelineName.of(info.pipeline)
        with self._store.write() as connection:
            connection.execute(
                "INSERT INTO pipelines (project, name, version, state) VALUES (?, ?, ?, ?) ON CONFLICT (project, name)"
                " DO UPDATE SET version = excluded.version, state = excluded.state, reason = ''",
                (*name, info.version, pps_pb2.PIPELINE_STARTING),
            )
            record = self.get(name)
            values = (record.num, info.version, info.SerializeToString())
            connection.execute("INSERT INTO pipeline_versions VALUES (?, ?, ?)", values)
            return record

    def set_stopped(self, num: int) -> None:
        with self._store.write() as connection:
            connection.execute("UPDATE pipelines SET stopped = 1 WHERE num = ?", (num,))

    def set_started(self, num: int) -> None:
        """Lets a stopped pipeline start; one that is not stopped stays as it is."""
        with self._store.write() as connection:
            values = (pps_pb2.PIPELINE_STARTING, num)
            connection.execute("UPDATE pipelines SET stopped = 0, state = ? WHERE num = ? AND stopped = 1", values)

    def set_states(self, changes: Iterable[tuple[PipelineRecord, pps_pb2.PipelineState, str]]) -> None:
        """State and reason of pipelines, unless one has a newer version by now."""
        rows = [(state, reason, record.num, record.version) for record, state, reason in changes]
        if rows:
            with self._store.write() as connection:
                connection.executemany("UPDATE pipelines SET state = ?, reason = ? WHERE num = ? AND version = ?", rows)

    def delete(self, num: int) -> None:
        """Forgets a pipeline with its versions and jobs."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM pipelines WHERE num = ?", (num,))


def _record(row: sqlite3.Row) -> PipelineRecord:
    name = PipelineName(row["project"], row["name"])
    stopped = bool(row["stopped"])
    return PipelineRecord(row["num"], name, row["version"], stopped, row["state"], row["reason"], row["metadata"])
