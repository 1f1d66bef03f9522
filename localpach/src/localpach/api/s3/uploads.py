"""Uploads in parts: each is a commit in the making, and a part a file of it, by its number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple
from xml.etree.ElementTree import Element

from localpach.api.s3.buckets import LOCATION, OWNER, Buckets
from localpach.api.s3.conditions import within
from localpach.api.s3.errors import S3Error
from localpach.api.s3.listing import etag
from localpach.api.s3.objects import ObjectRequests, check_unconditional, checked_path
from localpach.api.s3.parts import PARTS, UPLOAD, all_begun, begin, forget
from localpach.api.s3.payload import Body
from localpach.api.s3.request import Answer, Request, xml_answer
from localpach.api.s3.xml import Node, iso, parse
from localpach.errors import NotFound, Refused
from localpach.names import Commit
from localpach.pfs.records import CommitRecord, Entry
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Add, Change, Copy, Delete

MOST_PARTS = 10_000
MOST_LISTED = 1000
LEAST_BYTES = 5 << 20
COMPLETE_BYTES = 8 << 20


class Upload(NamedTuple):
    """An upload, and the commit that its parts are in, each a file named by its number."""

    record: CommitRecord
    bucket: str
    key: str

    @property
    def commit(self) -> Commit:
        """Its id is the upload's."""
        return self.record.commit


class UploadRequests:
    """Begins uploads, takes their parts, makes objects of them."""

    def __init__(self, pfs: Pfs, buckets: Buckets, objects: ObjectRequests) -> None:
        self._pfs = pfs
        self._buckets = buckets
        self._objects = objects

    def begin(self, request: Request, body: Body) -> Answer:
        checked_path(request.key)
        self._buckets.writable(request.bucket)
        commit = begin(self._pfs, UPLOAD, f"{self._buckets.identity(request.bucket)} {request.key}")
        nodes: list[Node] = [("Bucket", request.bucket), ("Key", request.key), ("UploadId", commit.id)]
        return xml_answer("InitiateMultipartUploadResult", nodes)

    def put_part(self, request: Request, body: Body) -> Answer:
        """From the body, or from an object."""
        upload = self._find(request)
        number = request.number("partNumber", 0, least=1)
        if number > MOST_PARTS:
            raise S3Error("InvalidArgument", f"partNumber: {number} is more than {MOST_PARTS}")
        batch = self._pfs.writes.batch()
        is_copy = bool(request.header("X-Amz-Copy-Source"))
        ref = self._objects.store(self._copied(request) if is_copy else body, batch)
        path = f"/{number:05}"
        with _of(upload):
            self._pfs.writes.apply(upload.commit, [Delete(path, ""), Add(path, "", (ref,))], batch)
            entry = self._pfs.files.entry(self._pfs.commits.get(upload.commit), path)
        if not is_copy:
            return Answer(headers={"ETag": etag(entry)})
        return xml_answer("CopyPartResult", [("ETag", etag(entry)), ("LastModified", iso(upload.record.started))])

    def _copied(self, request: Request) -> Iterator[bytes]:
        source = self._objects.source(request)
        size = source.entry.size
        wanted = within(request.header("X-Amz-Copy-Source-Range"), size)
        return self._objects.read(source, range(size) if wanted is None else wanted)

    def complete(self, request: Request, body: Body) -> Answer:
        """Makes an object of the parts that are named, in one commit."""
        check_unconditional(request)
        upload = self._find(request)
        target = self._buckets.writable(request.bucket)
        asked = parse(body.read_all(COMPLETE_BYTES), "CompleteMultipartUpload")
        parts = self._named(upload, asked)
        path = checked_path(request.key)
        changes: list[Change] = [Delete(path, "")]
        changes += [Copy(upload.record.root, part.path, path, "", append=True) for part in parts]
        with self._pfs.transaction():
            headers = self._objects.written(request, target, changes, self._pfs.writes.batch())
            self._remove(upload)
        nodes: list[Node] = [
            ("Location", LOCATION),
            ("Bucket", request.bucket),
            ("Key", request.key),
            ("ETag", headers["ETag"]),
        ]
        return xml_answer("CompleteMultipartUploadResult", nodes, headers)

    def _named(self, upload: Upload, asked: Element) -> list[Entry]:
        """The parts that an upload is to be completed of."""
        there = {int(entry.path[1:]): entry for entry in self._pfs.files.children(upload.record, "/")}
        found: list[Entry] = []
        before = 0
        for element in asked.iter("Part"):
            text, tag = element.findtext("PartNumber", ""), element.findtext("ETag", "").strip('"')
            number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
            if number <= before:
                raise S3Error("InvalidPartOrder", f"part {text} follows part {before}")
            part = there.get(number)
            if part is None or tag != part.hash.hex():
                raise S3Error("InvalidPart", f"part {number} was not uploaded, or is another one by its ETag")
            if found and found[-1].size < LEAST_BYTES:
                raise S3Error("EntityTooSmall", f"part {before} has less than {LEAST_BYTES} bytes, and is not the last")
            found.append(part)
            before = number
        if not found:
            raise S3Error("MalformedXML", "an upload is completed of one part or more")
        return found

    def abort(self, request: Request, body: Body) -> Answer:
        self._remove(self._find(request))
        return Answer(HTTPStatus.NO_CONTENT)

    def _remove(self, upload: Upload) -> None:
        """What nobody needs any more: no commit keeps the parts."""
        with _of(upload), self._pfs.transaction():
            self._pfs.commits.get(upload.commit)
            forget(self._pfs, upload.record)

    def list_parts(self, request: Request, body: Body) -> Answer:
        upload = self._find(request)
        after, most = (
            request.number("part-number-marker", 0),
            min(request.number("max-parts", MOST_LISTED), MOST_LISTED),
        )
        entries = self._pfs.files.children(upload.record, "/", after=f"{after:05}")
        parts = [entry for _, entry in zip(range(most), entries, strict=False)]
        is_truncated = most > 0 and next(entries, None) is not None
        moment = iso(upload.record.started)
        nodes: list[Node] = [
            ("Bucket", request.bucket),
            ("Key", request.key),
            ("UploadId", upload.commit.id),
            ("Initiator", OWNER),
            ("Owner", OWNER),
            ("StorageClass", "STANDARD"),
            ("PartNumberMarker", str(after)),
            ("MaxParts", str(most)),
            ("IsTruncated", "true" if is_truncated else "false"),
        ]
        nodes += [("NextPartNumberMarker", str(int(parts[-1].path[1:])))] if is_truncated else []
        for part in parts:
            shown = [("PartNumber", str(int(part.path[1:]))), ("LastModified", moment)]
            nodes.append(("Part", [*shown, ("ETag", etag(part)), ("Size", str(part.size))]))
        return xml_answer("ListPartsResult", nodes)

    def list_uploads(self, request: Request, body: Body) -> Answer:
        """Those that are neither complete nor aborted."""
        self._buckets.readable(request.bucket)
        prefix = request.arguments.get("prefix", "")
        marker = request.arguments.get("key-marker", ""), request.arguments.get("upload-id-marker", "")
        most = min(request.number("max-uploads", MOST_LISTED), MOST_LISTED)
        uploads = [each for each in self._all() if each.bucket == self._buckets.identity(request.bucket)]
        left = [
            each
            for each in sorted(uploads, key=lambda upload: (upload.key, upload.commit.id))
            if each.key.startswith(prefix)
            and (each.key > marker[0] or (marker[1] and (each.key, each.commit.id) > marker))
        ]
        shown = left[:most]
        is_truncated = most > 0 and len(left) > most
        nodes: list[Node] = [
            ("Bucket", request.bucket),
            ("Prefix", prefix),
            ("KeyMarker", marker[0]),
            ("UploadIdMarker", marker[1]),
            ("MaxUploads", str(most)),
            ("IsTruncated", "true" if is_truncated else "false"),
        ]
        if is_truncated:
            nodes += [("NextKeyMarker", shown[-1].key), ("NextUploadIdMarker", shown[-1].commit.id)]
        for upload in shown:
            began = [("Key", upload.key), ("UploadId", upload.commit.id), ("Initiated", iso(upload.record.started))]
            nodes.append(("Upload", [*began, ("Initiator", OWNER), ("Owner", OWNER), ("StorageClass", "STANDARD")]))
        return xml_answer("ListMultipartUploadsResult", nodes)

    def _all(self) -> list[Upload]:
        return [_upload(record) for record in all_begun(self._pfs, UPLOAD)]

    def _find(self, request: Request) -> Upload:
        id = request.arguments["uploadId"]
        try:
            found = _upload(self._pfs.commits.open_commit(Commit(PARTS, id)))
        except (NotFound, Refused) as error:
            raise S3Error("NoSuchUpload", f"there is no upload {id}; it may be complete, or aborted") from error
        if (found.bucket, found.key) != (self._buckets.identity(request.bucket), request.key):
            raise S3Error("NoSuchUpload", f"upload {id} is not one of {request.key} to {request.bucket}")
        return found


def _upload(record: CommitRecord) -> Upload:
    bucket, _, key = record.description.partition(" ")
    return Upload(record, bucket, key)


@contextmanager
def _of(upload: Upload) -> Iterator[None]:
    """What is told of an upload that somebody else completes or aborts meanwhile."""
    try:
        yield
    except NotFound as error:
        raise S3Error("NoSuchUpload", f"upload {upload.commit.id} is complete, or aborted") from error
