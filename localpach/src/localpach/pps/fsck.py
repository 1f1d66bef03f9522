"""Checking what is kept of pipelines and jobs, and taking out what can't be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress

from google.protobuf.message import DecodeError

from localpach.errors import NotFound
from localpach.names import META, Commit, Repo
from localpach.pfs.service import Pfs
from localpach.proto import pps_pb2
from localpach.storage.store import Store

LOST = "the record of its job was lost"


class PpsFsck:
    """Looks at the records of a data directory."""

    def __init__(self, store: Store, pfs: Pfs) -> None:
        self._store = store
        self._pfs = pfs

    def check(self) -> Iterator[str]:
        """A sentence for each record that is damaged."""
        for row in self._damaged_versions():
            yield f"pipeline {row['project']}/{row['name']}: the record of its version {row['version']} is damaged"
        for row in self._damaged_jobs():
            yield f"job {row['project']}/{row['name']}@{row['id']}: its record is damaged"

    def _damaged_versions(self) -> list[sqlite3.Row]:
        with self._store.read() as connection:
            query = "SELECT p.project, p.name, v.* FROM pipeline_versions v JOIN pipelines p ON p.num = v.pipeline"
            return [row for row in connection.execute(query) if not _is_whole(pps_pb2.PipelineInfo, row["info"])]

    def _damaged_jobs(self) -> list[sqlite3.Row]:
        with self._store.read() as connection:
            query = "SELECT p.project, p.name, j.* FROM jobs j JOIN pipelines p ON p.num = j.pipeline"
            return [row for row in connection.execute(query) if not _is_whole(pps_pb2.JobInfo, row["info"])]

    def repair(self) -> Iterator[str]:
        """Takes damaged records out: a pipeline goes back to its newest version that is left, or is deleted, its repos
        kept; the output of a job that goes ends with an error. Gives a sentence for each."""
        lost = list(self.check())
        with self._store.write() as connection:
            for row in self._damaged_jobs():
                connection.execute("DELETE FROM jobs WHERE num = ?", (row["num"],))
                self._end_commits(Repo(row["project"], row["name"]), row["id"])
            for row in self._damaged_versions():
                connection.execute(
                    "DELETE FROM pipeline_versions WHERE pipeline = ? AND version = ?",
                    (row["pipeline"], row["version"]),
                )
            newest = "(SELECT max(v.version) FROM pipeline_versions v WHERE v.pipeline = pipelines.num)"
            connection.execute(f"DELETE FROM pipelines WHERE {newest} IS NULL")
            connection.execute(f"UPDATE pipelines SET version = {newest} WHERE version > {newest}")
        yield from (f"lost: {sentence}" for sentence in lost)

    def _end_commits(self, output: Repo, id: str) -> None:
        for repo in (output, output._replace(type=META)):
            with suppress(NotFound):
                commit = Commit(repo, id)
                if self._pfs.commits.get(commit).finishing is None:
                    self._pfs.commits.finish(commit, error=LOST)


def _is_whole(kind: type[pps_pb2.JobInfo] | type[pps_pb2.PipelineInfo], data: bytes) -> bool:
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True
