"""Objects: the files of a bucket."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote

from localpach.api.s3 import conditions
from localpach.api.s3.buckets import Buckets
from localpach.api.s3.errors import S3Error
from localpach.api.s3.listing import etag
from localpach.api.s3.payload import Body
from localpach.api.s3.request import Answer, Request, xml_answer
from localpach.api.s3.xml import Node, iso, parse
from localpach.errors import NotFound, Refused
from localpach.names import Branch, Commit
from localpach.pfs import paths
from localpach.pfs.records import CommitRecord, Entry
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Add, Change, Copy, Delete
from localpach.storage.objects import Batch
from localpach.storage.refs import Ref

MOST_KEYS = 1000
# 1,000 keys of 1,024 characters, each of which may be escaped.
DELETE_BYTES = 8 << 20


class Found(NamedTuple):
    """An object, in the commit in which it was looked up."""

    record: CommitRecord
    entry: Entry

    @property
    def modified(self) -> int:
        """In microseconds since 1970."""
        return self.record.finishing or self.record.started


class ObjectRequests:
    """Gives, takes, copies and deletes objects."""

    def __init__(self, pfs: Pfs, buckets: Buckets) -> None:
        self._pfs = pfs
        self._buckets = buckets

    def find(self, bucket: str, key: str, version: str = "") -> Found:
        """The object of a key."""
        found = self._in(self._buckets.readable(bucket, version), key)
        if found is None:
            raise S3Error("NoSuchKey", f"{key} is no file of {bucket}")
        return found

    def _in(self, record: CommitRecord, key: str) -> Found | None:
        try:
            entry = self._pfs.files.entry(record, key)
        except NotFound:
            return None
        # Other paths lead to a file, too, but are not its key.
        return None if entry.is_dir or entry.path[1:] != key else Found(record, entry)

    def read(self, found: Found, wanted: range) -> Iterator[bytes]:
        """Some of an object's bytes."""
        left = len(wanted)
        for piece in self._pfs.files.read(found.record, found.entry, wanted.start) if left else ():
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return

    def get(self, request: Request, body: Body) -> Answer:
        """With its bytes, which are left out where the request is for the head alone."""
        found = self.find(request.bucket, request.key, request.arguments.get("versionId", ""))
        tag, modified = etag(found.entry), found.modified // 1_000_000
        headers = {
            "ETag": tag,
            "Last-Modified": formatdate(modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "x-amz-version-id": found.record.commit.id,
        }
        if conditions.is_known(request, tag, modified):
            return Answer(HTTPStatus.NOT_MODIFIED, headers)
        headers["Content-Type"] = mimetypes.guess_type(request.key)[0] or "application/octet-stream"
        size = found.entry.size
        part = conditions.part(request, tag, modified, size)
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        wanted = range(size) if part is None else part
        status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
        return Answer(status, headers, pieces=self.read(found, wanted), length=len(wanted))

    def put(self, request: Request, body: Body) -> Answer:
        """In place of what is there; a commit of its own, unless one is open."""
        check_unconditional(request)
        target = self._buckets.writable(request.bucket)
        batch = self._pfs.writes.batch()
        if request.key.endswith("/"):
            # What some clients put in place of a directory, which PFS has with the files in it.
            if any(body):
                raise S3Error("InvalidFilePath", f"{request.key} ends in /, and names no file")
            return Answer()
        path = checked_path(request.key)
        ref = self.store(body, batch)
        return Answer(headers=self.written(request, target, [Delete(path, ""), Add(path, "", (ref,))], batch))

    def store(self, pieces: Iterator[bytes] | Body, batch: Batch) -> Ref:
        """A content, in constant memory."""
        writer = self._pfs.objects.writer(batch)
        try:
            for piece in pieces:
                writer.write(piece)
            return writer.close()
        finally:
            writer.abandon()

    def written(self, request: Request, target: Branch | Commit, changes: list[Change], batch: Batch) -> dict[str, str]:
        """Makes changes; gives the headers that tell of the object that came of them."""
        commit = self._buckets.write(target, changes, batch)
        found = self._in(self._pfs.commits.get(commit), request.key)
        return {"ETag": etag(found.entry) if found else "", "x-amz-version-id": commit.id}

    def copy(self, request: Request, body: Body) -> Answer:
        """Without its bytes being copied."""
        check_unconditional(request)
        source = self.source(request)
        path = checked_path(request.key)
        target = self._buckets.writable(request.bucket)
        changes: list[Change] = [Copy(source.record.root, source.entry.path, path, "", append=False)]
        headers = self.written(request, target, changes, self._pfs.writes.batch())
        nodes: list[Node] = [("ETag", headers["ETag"]), ("LastModified", iso(source.modified))]
        return xml_answer("CopyObjectResult", nodes, headers)

    def source(self, request: Request) -> Found:
        """The object that is to be copied."""
        place, _, version = request.header("X-Amz-Copy-Source").partition("?versionId=")
        bucket, _, key = unquote(place).removeprefix("/").partition("/")
        found = self.find(bucket, key, version)
        match = request.header("X-Amz-Copy-Source-If-Match")
        if match and match.strip('"') != found.entry.hash.hex():
            raise S3Error("PreconditionFailed", f"{key} of {bucket} is not the one that is wanted, by its ETag")
        return found

    def delete(self, request: Request, body: Body) -> Answer:
        """What is not there needs no commit."""
        if request.arguments.get("versionId", "null") not in ("", "null"):
            raise S3Error("NotImplemented", "an object of a commit that is finished can't be deleted")
        target = self._buckets.writable(request.bucket)
        self._delete(request.bucket, target, [request.key])
        return Answer(HTTPStatus.NO_CONTENT)

    def delete_many(self, request: Request, body: Body) -> Answer:
        """All in one commit."""
        target = self._buckets.writable(request.bucket)
        asked = parse(body.read_all(DELETE_BYTES), "Delete")
        keys = [element.findtext("Key", "") for element in asked.iter("Object")]
        if len(keys) > MOST_KEYS:
            raise S3Error("MalformedXML", f"there are {len(keys)} keys, more than {MOST_KEYS}")
        self._delete(request.bucket, target, keys)
        is_quiet = asked.findtext("Quiet") == "true"
        return xml_answer("DeleteResult", [] if is_quiet else [("Deleted", [("Key", key)]) for key in keys])

    def _delete(self, bucket: str, target: Branch | Commit, keys: list[str]) -> None:
        """Deletes what is there of some keys."""
        record = self._buckets.readable(bucket)
        changes = [Delete(found.entry.path, "") for key in keys if (found := self._in(record, key))]
        if changes:
            self._buckets.write(target, changes, self._pfs.writes.batch())


def checked_path(key: str) -> str:
    """The path that a key stands for.

    Raises:
        S3Error: it is none of PFS's, or the one of another key.
    """
    try:
        path = paths.check(key)
    except Refused as error:
        raise S3Error("InvalidFilePath", error.message) from error
    if path != f"/{key}":
        raise S3Error("InvalidFilePath", f"{key} names no file: it begins or ends with /, or has // in it")
    return path


def check_unconditional(request: Request) -> None:
    """Raises S3Error where an object is to be written only if it is, or is not, there."""
    if request.header("If-Match") or request.header("If-None-Match"):
        raise S3Error("NotImplemented", "writing under a condition (If-Match, If-None-Match) is not served")
