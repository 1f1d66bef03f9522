"""Serves buckets and objects by HTTP: which request is which operation, and how it is answered."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import BinaryIO, cast
from uuid import uuid4

from localpach.api.loopback import Connection, LoopbackServer
from localpach.api.s3.buckets import Buckets
from localpach.api.s3.errors import S3Error, as_s3
from localpach.api.s3.listing import Listing
from localpach.api.s3.objects import ObjectRequests
from localpach.api.s3.payload import READ_BYTES, Body
from localpach.api.s3.request import Answer, Request
from localpach.api.s3.signature import check
from localpach.api.s3.uploads import UploadRequests
from localpach.api.s3.xml import document
from localpach.errors import LocalpachError
from localpach.faults import fault_of_disk
from localpach.pfs.service import Pfs
from localpach.waiting import Deadline

LINGER_SECONDS = 2.0
COPY = "X-Amz-Copy-Source"
# What S3 has of buckets and objects, and Pachyderm's gateway has not.
UNSERVED = frozenset(
    (
        *("accelerate", "acl", "analytics", "attributes", "cors", "encryption", "intelligent-tiering", "inventory"),
        *("legal-hold", "lifecycle", "logging", "metrics", "notification", "object-lock", "ownershipControls"),
        *("policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "restore", "retention"),
        *("select", "select-type", "tagging", "torrent", "versions", "website"),
    )
)

Operation = Callable[[Request, Body], Answer]

log = logging.getLogger("localpach")


class Operations:
    """Which operation a request is for."""

    def __init__(self, pfs: Pfs, buckets: Buckets) -> None:
        objects = ObjectRequests(pfs, buckets)
        uploads = UploadRequests(pfs, buckets, objects)
        self._of_all: dict[str, Operation] = {"GET": buckets.list_all}
        # By method and the argument, or header, that makes another operation of it.
        self._of_buckets: dict[tuple[str, str], Operation] = {
            ("GET", ""): Listing(pfs, buckets).list_objects,
            ("HEAD", ""): buckets.head,
            ("PUT", ""): buckets.create,
            ("DELETE", ""): buckets.delete,
            ("GET", "location"): buckets.location,
            ("GET", "versioning"): buckets.versioning,
            ("PUT", "versioning"): buckets.set_versioning,
            ("GET", "uploads"): uploads.list_uploads,
            ("POST", "delete"): objects.delete_many,
        }
        self._of_objects: dict[tuple[str, str], Operation] = {
            ("GET", ""): objects.get,
            ("HEAD", ""): objects.get,
            ("PUT", ""): objects.put,
            ("DELETE", ""): objects.delete,
            ("POST", "uploads"): uploads.begin,
            ("PUT", "uploadId"): uploads.put_part,
            ("POST", "uploadId"): uploads.complete,
            ("GET", "uploadId"): uploads.list_parts,
            ("DELETE", "uploadId"): uploads.abort,
            # After uploads, which have parts that are copied, too.
            ("PUT", COPY): objects.copy,
        }

    def of(self, request: Request) -> Operation:
        """Raises S3Error where it is for none."""
        unserved = UNSERVED.intersection(request.arguments)
        if unserved:
            raise S3Error("NotImplemented", f"{min(unserved)} is not served, here or by Pachyderm's gateway")
        if not request.bucket:
            found = self._of_all.get(request.method)
        else:
            table = self._of_objects if request.key else self._of_buckets
            names = [name for _, name in table if name in request.arguments or (name == COPY and request.header(name))]
            found = table.get((request.method, names[0] if names else ""))
        if found is None:
            raise S3Error("MethodNotAllowed", f"{request.method} {request.path} is no operation of S3 that is served")
        return found


class S3Server(LoopbackServer):
    """An S3 gateway to some buckets."""

    def __init__(self, pfs: Pfs, buckets: Buckets, token: str | None, at: int | socket.socket) -> None:
        """Asks for signatures by the token, if there is one. Raises Precondition where the port is taken."""

        class Bound(S3Connection):
            operations = Operations(pfs, buckets)
            expected = token

        super().__init__(Bound, at, "s3", "the S3 gateway needs another")


class S3Connection(Connection):
    """One connection."""

    operations: Operations
    expected: str | None

    def handle_request(self) -> None:
        try:
            self._answer()
        except (ConnectionError, TimeoutError):
            # The client has gone.
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Who waits to be told to go on is told so once his signature is checked."""
        return True

    def _answer(self) -> None:
        request = Request(self.command, self.path, self.headers)
        self._is_begun = False
        body: Body | None = None
        try:
            if self.stranger:
                raise S3Error("AccessDenied", f"a page of {self.stranger} may not ask for anything here")
            body = Body(request, cast(BinaryIO, self.rfile), check(request, self.expected))
            operation = self.operations.of(request)
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(HTTPStatus.CONTINUE)
                self.end_headers()
            answer = operation(request, body)
            # What can't be read is told in place of the answer's head, not after it.
            first = next(answer.pieces, b"") if answer.pieces and self.command != "HEAD" else answer.body
            self._send(answer, first, body.is_over)
        except Exception as error:
            if self._is_begun or isinstance(error, (ConnectionError, TimeoutError)):
                # What was sent is shorter than it should be, and this tells.
                self.close_connection = True
                return
            told = _told(error)
            answer = _refusal(told, request)
            self._send(answer, answer.body, not request.has_body or (body is not None and body.is_over))

    def _send(self, answer: Answer, first: bytes, is_read: bool) -> None:
        """Sends an answer; where not all of the request was read, it is the last one on this connection."""
        self._is_begun = True
        self.close_connection = self.close_connection or not is_read
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", str(answer.length if answer.pieces else len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(first)
            for piece in answer.pieces or ():
                self.wfile.write(piece)
        if not is_read:
            self._linger()

    def _linger(self) -> None:
        """Lets the client come to read the answer, who may still be sending: else it is cut off, and reads nothing."""
        self.connection.shutdown(socket.SHUT_WR)
        deadline = Deadline(LINGER_SECONDS)
        while not deadline.is_over:
            self.connection.settimeout(deadline.left or 0.001)
            if not self.connection.recv(READ_BYTES):
                return


def _told(error: Exception) -> S3Error:
    told = error if isinstance(error, LocalpachError) else fault_of_disk(error)
    if told is not None:
        return as_s3(told)
    log.error("unexpected error in the S3 gateway", exc_info=error)
    return S3Error("InternalError", f"unexpected {type(error).__name__}: {error}; the server's log has more")


def _refusal(error: S3Error, request: Request) -> Answer:
    nodes = [("Code", error.code), ("Message", error.message), ("Resource", request.path), ("RequestId", uuid4().hex)]
    return Answer(error.status, {"Content-Type": "application/xml"}, document("Error", nodes, namespace=""))
