"""The S3 gateway of one datum's commands, which reach no other: its inputs by their names, and `out`."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from secrets import token_hex

from localpach.api.s3.buckets import Buckets
from localpach.api.s3.errors import S3Error
from localpach.api.s3.parts import OUT, UPLOAD, all_begun, begin, forget
from localpach.api.s3.payload import Body
from localpach.api.s3.request import Answer, Request, xml_answer
from localpach.api.s3.server import S3Server
from localpach.api.s3.xml import iso
from localpach.names import Branch, Commit
from localpach.pfs.records import CommitRecord
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Collected


class JobBuckets(Buckets):
    """Commits by the names of inputs, to be read; `out`, where there is one, is an open commit."""

    def __init__(self, pfs: Pfs, commits: Mapping[str, Commit], out: Commit | None) -> None:
        super().__init__(pfs)
        self._commits = {**commits, **({OUT: out} if out else {})}

    def readable(self, name: str, version: str = "") -> CommitRecord:
        if version not in ("", "null"):
            raise S3Error("NotImplemented", "a job sees one version of its inputs")
        return self._pfs.commits.readable(self._pfs.commits.get(self._named(name)))

    def _named(self, name: str) -> Commit:
        if name not in self._commits:
            raise S3Error("NoSuchBucket", f"this job has no bucket {name}, but {', '.join(self._commits)}")
        return self._commits[name]

    def writable(self, name: str) -> Branch | Commit:
        found = self._named(name)
        if name != OUT:
            raise S3Error("NotImplemented", f"{name} is an input, which jobs only read")
        return found

    def identity(self, name: str) -> str:
        return str(self._named(name))

    def list_all(self, request: Request, body: Body) -> Answer:
        moments = {name: iso(self.readable(name).started) for name in self._commits}
        nodes = [("Bucket", [("Name", name), ("CreationDate", moment)]) for name, moment in moments.items()]
        return xml_answer("ListAllMyBucketsResult", [("Buckets", nodes)])

    def versioning(self, request: Request, body: Body) -> Answer:
        """There is none."""
        return xml_answer("VersioningConfiguration", [])

    def create(self, request: Request, body: Body) -> Answer:
        raise S3Error("NotImplemented", "a job makes no buckets")

    def delete(self, request: Request, body: Body) -> Answer:
        raise S3Error("NotImplemented", "a job deletes no buckets")


class JobGateway:
    """What a datum's commands reach by S3; with `s3_out` what they write to `out` is what they have written."""

    def __init__(self, pfs: Pfs, commits: Mapping[str, Commit], has_out: bool) -> None:
        self._pfs = pfs
        self._commits = commits
        self._has_out = has_out
        self._out: Commit | None = None
        # Access key and secret.
        self.key = token_hex(32)

    def begin_try(self) -> None:
        """Forgets what an earlier try has written."""
        self.close()
        if self._has_out:
            self._out = begin(self._pfs, OUT)

    def serve(self, listener: socket.socket) -> S3Server:
        server = S3Server(self._pfs, JobBuckets(self._pfs, self._commits, self._out), self.key, listener)
        server.start()
        return server

    def collect(self, datum: str) -> Collected:
        """What was written, as written by a datum."""
        assert self._out is not None
        return self._pfs.writes.collect_commit(self._out, datum)

    def close(self) -> None:
        """Forgets what was written."""
        if self._out is not None:
            _forget_out(self._pfs, self._out)
            self._out = None


def remove_leftovers(pfs: Pfs) -> None:
    """Forgets what jobs were writing when the server was killed: they run again."""
    for record in all_begun(pfs, OUT):
        _forget_out(pfs, record.commit)


def _forget_out(pfs: Pfs, out: Commit) -> None:
    """With the uploads to it that were not completed."""
    for record in [*all_begun(pfs, OUT), *all_begun(pfs, UPLOAD)]:
        if record.commit == out or record.description.startswith(f"{out} "):
            forget(pfs, record)
