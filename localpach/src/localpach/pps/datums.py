"""Datums of jobs, as they are kept: what became of each, and what a later job takes over."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator

from google.protobuf.json_format import MessageToDict

from localpach.errors import Refused
from localpach.messages import file_info
from localpach.names import Branch
from localpach.pfs.records import CommitRecord
from localpach.pfs.service import Pfs
from localpach.pps import combinations, inputs
from localpach.pps.combinations import Datum
from localpach.pps.jobs import JobName, Jobs
from localpach.pps.records import JobRecord, moment
from localpach.proto import pfs_pb2, pps_pb2
from localpach.storage.store import Store


class Datums:
    """The datums of all jobs."""

    def __init__(self, store: Store, pfs: Pfs, jobs: Jobs) -> None:
        self._store = store
        self._pfs = pfs
        self._jobs = jobs

    def of_job(self, name: JobName) -> Iterator[pps_pb2.DatumInfo]:
        """The datums of a job that is over, by id; where it failed, those that it did not come to as an earlier one left
        them."""
        job = self._jobs.get(name)
        if not job.is_over:
            return
        rows = self._rows(job)
        if job.state != pps_pb2.JOB_SUCCESS:
            base = self._jobs.newest_success(job)
            rows = (self._rows(base) if base is not None else {}) | rows
        for id in sorted(rows):
            info = pps_pb2.DatumInfo.FromString(rows[id]["info"])
            # A skipped datum is as the job left it that ran it, but for this.
            is_own = info.datum.job.id == job.id
            info.state = rows[id]["state"] if is_own else pps_pb2.DatumState.SKIPPED
            yield info

    def _rows(self, job: JobRecord) -> dict[str, sqlite3.Row]:
        with self._store.read() as connection:
            rows = connection.execute("SELECT id, state, info FROM datums WHERE job = ?", (job.num,))
            return {row["id"]: row for row in rows}

    def of_input(self, input: pps_pb2.Input) -> Iterator[pps_pb2.DatumInfo]:
        """The datums that an input would make now, by id."""
        completed = pps_pb2.Input()
        completed.CopyFrom(input)
        inputs.complete(completed, pps_pb2.Pipeline(), moment())
        heads: dict[Branch, CommitRecord | None] = {}
        for branch in map(inputs.branch_of, inputs.leaves(completed)):
            if not self._pfs.branches.exists(branch):
                raise Refused(f'branch "{branch.name}" not found in repo {branch.repo}')
            head = self._pfs.commits.head(branch)
            heads[branch] = self._pfs.commits.readable(head) if head is not None else None
        for datum in combinations.datums(self._pfs.files, completed, heads.get):
            yield pps_pb2.DatumInfo(datum=pps_pb2.Datum(id=datum.id), stats=pps_pb2.ProcessStats(), data=_data(datum))

    def hashes(self, job: JobRecord) -> dict[str, str]:
        """The hash of each datum of a job, by id; none of what was only recovered: that is not done yet."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT id, hash, state FROM datums WHERE job = ?", (job.num,))
            recovered = pps_pb2.DatumState.RECOVERED
            return {row["id"]: "" if row["state"] == recovered else row["hash"] for row in rows}

    def carry(self, source: JobRecord, target: JobRecord, without: Collection[str]) -> None:
        """Takes over the datums of an earlier job, and what they wrote; but not those of `without`."""
        with self._store.write() as connection:
            for old, fresh in zip(source.commits, target.commits, strict=True):
                self._pfs.writes.carry(old, fresh, set(without))
            connection.execute(
                "INSERT INTO datums SELECT ?, id, hash, ?, info FROM datums WHERE job = ?",
                (target.num, pps_pb2.DatumState.SKIPPED, source.num),
            )
            doomed = [(target.num, id) for id in without]
            connection.executemany("DELETE FROM datums WHERE job = ? AND id = ?", doomed)

    def add(self, job: JobRecord, datum: Datum, info: pps_pb2.DatumInfo, hashed: str) -> None:
        """Keeps what became of a datum, in the meta commit, too."""
        info.data.extend(_data(datum))
        with self._store.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO datums VALUES (?, ?, ?, ?, ?)",
                (job.num, datum.id, hashed, info.state, info.SerializeToString()),
            )
            text = json.dumps(_meta(info, datum, hashed)).encode()
            self._pfs.writes.put(job.commits[1], f"/meta/{datum.id}/meta", text, datum.id)

    def forget(self, job: JobRecord) -> None:
        """Deletes all datums of a job."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM datums WHERE job = ?", (job.num,))


def _data(datum: Datum) -> list[pfs_pb2.FileInfo]:
    return [file_info(each.record, each.entry) for each in datum.inputs]


def _meta(info: pps_pb2.DatumInfo, datum: Datum, hashed: str) -> dict[str, object]:
    """What Pachyderm's workers keep of a datum."""
    return {
        "job": MessageToDict(info.datum.job),
        "inputs": [
            {"fileInfo": MessageToDict(data), "name": each.name, "branch": each.branch.name}
            for data, each in zip(info.data, datum.inputs, strict=True)
        ],
        "hash": hashed,
        "stats": MessageToDict(info.stats),
        "imageId": info.image_id,
    }
