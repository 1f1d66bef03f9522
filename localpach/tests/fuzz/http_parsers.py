"""The parsers of what comes by HTTP."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest.mock import patch

from localpach.api.gateway import Handler, Rpc
from localpach.api.s3 import conditions, signature, xml
from localpach.api.s3.buckets import Bucket, Buckets
from localpach.api.s3.payload import PIECES, Body
from localpach.api.s3.request import Request
from localpach.api.s3.server import Operations, S3Connection
from localpach.api.s3.signature import UNSIGNED, Seal
from localpach.pfs.service import Pfs
from localpach.proto import pps_pb2
from tests.fuzz.refusals import Parser, lines_of, refusal

TOKEN = "0123456789abcdef"
# When the requests below were signed.
NOW = 1_795_694_400
PATH = "pps_v2.API/CreatePipeline"


class Wire:
    """A connection whose other end has sent something, and nothing more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answer = b""

    def makefile(self, mode: str, size: int) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._data))

    def sendall(self, data: bytes) -> None:
        self.answer += data

    def recv(self, size: int) -> bytes:
        return b""

    def setsockopt(self, *option: int) -> None: ...

    def settimeout(self, seconds: float | None) -> None: ...

    def shutdown(self, how: int) -> None: ...


class Channel:
    """Takes requests, and answers with nothing."""

    def unary_unary(self, path: str, request_serializer: Any, response_deserializer: Any) -> Any:
        return lambda request, metadata: response_deserializer(request_serializer(request)[:0])


CREATE_PIPELINE = pps_pb2.DESCRIPTOR.services_by_name["API"].methods_by_name["CreatePipeline"]
RPCS = {PATH: Rpc(Channel(), CREATE_PIPELINE)}  # type: ignore[arg-type]


class JsonConnection(Handler):
    """Of a gateway with one RPC."""

    rpcs = RPCS
    expected = None
    max_bytes = 1 << 20


def json_request(data: bytes) -> None:
    """All of a connection, to the message that the RPC is asked by."""
    wire = Wire(data)
    JsonConnection(wire, ("127.0.0.1", 1), None)  # type: ignore[arg-type]


def post(body: bytes) -> bytes:
    """A request of the RPC."""
    return b"POST /api/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        PATH.encode(),
        len(body),
        body,
    )


def signed(data: bytes) -> None:
    """`TOKEN` in what is signed stands for the token."""
    first, _, head = data.replace(b"TOKEN", TOKEN.encode()).partition(b"\n")
    words = first.decode("iso-8859-1").split()
    headers = headers_of(head)
    if len(words) == 2 and headers is not None:
        with refusal(), patch.object(signature, "now", lambda: NOW):
            signature.check(Request(words[0], words[1], headers), TOKEN)
            raise AssertionError("nobody can guess a signature")


def headers_of(head: bytes) -> http.client.HTTPMessage | None:
    """As a connection reads them."""
    try:
        return http.client.parse_headers(io.BytesIO(head + b"\r\n\r\n"))
    except http.client.HTTPException:
        return None


def body(data: bytes) -> None:
    """A letter for how it is framed, headers, an empty line, and the body; what is whole is as long as was announced."""
    kind, _, rest = data.partition(b"\n")
    head, _, sent = rest.partition(b"\n\n")
    headers = headers_of(head)
    payload = dict(zip((b"signed", b"trailer", b"pieces"), PIECES, strict=True)).get(kind, UNSIGNED)
    if headers is None:
        return
    with refusal():
        request = Request("PUT", "/b/k", headers)
        read = b"".join(Body(request, io.BytesIO(sent), Seal(payload, "", b"k", "m", "s")))
        announced = request.header("X-Amz-Decoded-Content-Length" if payload in PIECES else "Content-Length")
        assert not announced or int(announced) == len(read)


def parts(data: bytes) -> None:
    """A bucket's name, a range, a date, and XML."""
    bucket, span, date, text = lines_of(data, 4)
    headers = http.client.HTTPMessage()
    headers["If-Modified-Since"] = headers["If-Range"] = headers["If-None-Match"] = date.replace("\r", "")
    request = Request("GET", "/b/k", headers)
    for read in (
        lambda: conditions.is_known(request, '"e"', 0),
        lambda: conditions.part(request, '"e"', 0, 100),
        lambda: Bucket.named(bucket),
        lambda: xml.parse(text.encode(), "Delete"),
    ):
        with refusal():
            read()
    with refusal():
        found = conditions.within(span, 100)
        assert found is None or 0 <= found.start < found.stop <= 100


def parsers(pfs: Callable[[], Pfs]) -> dict[str, Parser]:
    """All of them; S3's needs something to serve."""

    @cache
    def connection() -> type[S3Connection]:
        class Bound(S3Connection):
            operations = Operations(pfs(), Buckets(pfs()))
            expected = None

        return Bound

    def s3_request(data: bytes) -> None:
        """All of a connection, and what PFS makes of it."""
        wire = Wire(data)
        connection()(wire, ("127.0.0.1", 1), None)  # type: ignore[arg-type]
        assert b"<Code>InternalError</Code>" not in wire.answer, wire.answer

    return {
        "json_request": Parser(
            json_request,
            (
                post(b'{"pipeline": {"name": "p"}, "input": {"cron": {"start": "2026-11-26T00:00:00Z"}}}'),
                b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n",
                post(b"20"),
                post(b"{} {}"),
                post(b'{"description": "\\ud800"}'),
                post(b'{"description": 5, "x": [' + b"[" * 2000),
                post(b"").replace(b": 0", b": " + b"9" * 5000),
            ),
        ),
        "s3_signature": Parser(
            signed,
            (
                b"GET /b/k?x=%C3%A9\nAuthorization: AWS4-HMAC-SHA256 Credential=TOKEN/20261126/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="
                + b"0" * 64
                + b"\nHost: a\nX-Amz-Date: 20261126T120000Z\nx-amz-content-sha256: UNSIGNED-PAYLOAD\n",
                b"GET /b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=TOKEN/20261126/r/s3/aws4_request&X-Amz-Date=20261126T120000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host%3B%E2%82%AC&X-Amz-Signature=0\nHost: a\n",
                b"PUT /b/k?acl=%E2%82%AC\nAuthorization: AWS TOKEN:AAAA\nDate: Thu, 26 Nov 2026 12:00:00 +0000\nContent-MD5: x\n",
                b"GET /b/k?AWSAccessKeyId=TOKEN&Signature=a&Expires=99999999999\n",
            ),
        ),
        "s3_body": Parser(
            body,
            (
                b"pieces\nContent-Length: 62\nX-Amz-Trailer: x-amz-checksum-crc32\nX-Amz-Decoded-Content-Length: 3\n\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n",
                b"plain\nTransfer-Encoding: chunked\nContent-MD5: kAFQmDzST7DWlj99KOF/cg==\n\n3\r\nabc\r\n0\r\n\r\n",
                b"plain\nContent-Length: 0\nContent-MD5: \xe9\n\n",
                b"plain\nContent-Length: " + b"9" * 5000 + b"\n\n",
                b"signed\nContent-Length: 99\n\n3;chunk-signature=0\r\nabc\r\n0;chunk-signature=0\r\n\r\n",
            ),
        ),
        "s3_parts": Parser(
            parts,
            (
                b"0123456789ab4def0123456789abcdef.master.in.default\nbytes=1-5\nThu, 26 Nov 2026 12:00:00 GMT\n<Delete xmlns='x'><Object><Key>a</Key></Object></Delete>",
                b"in\n\nMon, 1 Jan 99999999999999999999 00:00:00 GMT\n<!DOCTYPE d>",
                b"in\nbytes=-5\nMon, 1 Jan 1 00:00:00 -2400\n<?xml version='1.0' encoding='UTF-8'?><Delete/>",
            ),
        ),
        "s3_request": Parser(
            s3_request,
            (
                b"GET /master.in?list-type=2&prefix=&delimiter=%2F&max-keys=1&encoding-type=url HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b'GET /master.in/2 HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-0\r\nIf-None-Match: "x"\r\n\r\nHEAD /in/1 HTTP/1.1\r\nHost: localhost\r\n\r\n',
                b"POST /in?delete HTTP/1.1\r\nHost: localhost\r\nContent-Length: 46\r\n\r\n<Delete><Object><Key>a</Key></Object></Delete>",
                b"PUT /in/a HTTP/1.1\r\nHost: localhost\r\nX-Amz-Copy-Source: in/2?versionId=null\r\n\r\nDELETE /in/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"POST /in/a?uploads HTTP/1.1\r\nHost: localhost\r\n\r\nGET /in?uploads&max-uploads=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            ),
        ),
    }
