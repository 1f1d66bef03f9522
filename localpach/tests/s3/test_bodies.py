"""Bodies in frames, with checksums, and those that are not what they say."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import socket
import zlib
from email.message import Message
from typing import Any

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given
from hypothesis import strategies as st

from localpach.api.s3.crc import crc32c, crc64nvme
from localpach.api.s3.errors import S3Error
from localpach.api.s3.payload import CHECKSUMS, Body
from localpach.api.s3.request import Request
from localpach.api.s3.signature import Seal, mac
from tests.client import Client
from tests.s3.helpers import BUCKET, content, keys
from tests.s3.test_signatures import Signed
from tests.servers import Server

# From the documentation of version 4 of AWS's signatures, on uploads in signed pieces.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SIGNED = (
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ("10000", "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", b"a" * 65536),
    ("400", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", b"a" * 1024),
    ("0", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", b""),
)


def key() -> bytes:
    """What the pieces of the example are signed with."""
    made = f"AWS4{SECRET}".encode()
    for part in ("20130524", "us-east-1", "s3", "aws4_request"):
        made = mac(made, part)
    return made


def body_of(data: bytes, payload: str, seed: str = "", **headers: str) -> Body:
    message = Message()
    message["Content-Length"] = str(len(data))
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    seal = Seal(payload, seed, key(), "20130524T000000Z", "20130524/us-east-1/s3/aws4_request")
    return Body(Request("PUT", "/b/k", message), io.BytesIO(data), seal)


def example(pieces: Any = SIGNED[1:]) -> bytes:
    return b"".join(f"{size};chunk-signature={signed}\r\n".encode() + data + b"\r\n" for size, signed, data in pieces)


def test_signed_pieces_are_as_documented() -> None:
    body = body_of(example(), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", SIGNED[0], x_amz_decoded_content_length="66560")
    assert b"".join(body) == b"a" * 66560


@pytest.mark.parametrize(
    "pieces",
    [
        [("10000", SIGNED[1][1], b"a" * 65535 + b"b"), *SIGNED[2:]],
        [SIGNED[2], SIGNED[1], SIGNED[3]],
        [SIGNED[1], SIGNED[3]],
        [SIGNED[1], ("400", "0" * 64, b"a" * 1024), SIGNED[3]],
        [SIGNED[1], SIGNED[2], ("0", "", b"")],
    ],
)
def test_pieces_that_were_changed_are_refused(pieces: Any) -> None:
    body = body_of(example(pieces), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", SIGNED[0])
    assert error(body) == "SignatureDoesNotMatch"


def test_a_signed_body_ends_with_its_last_piece() -> None:
    body = body_of(example(SIGNED[1:3]), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", SIGNED[0])
    assert error(body) == "IncompleteBody"


def test_trailers_are_signed_as_documented() -> None:
    seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    signatures = (
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    )
    pieces = [(size, signed, data) for signed, (size, _, data) in zip(signatures, SIGNED[1:], strict=True)]
    signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
    for sent, code in ((signature, ""), ("0" * 64, "SignatureDoesNotMatch")):
        trailers = f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{sent}\r\n\r\n"
        framed = example(pieces).removesuffix(b"\r\n") + trailers.encode()
        kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
        body = body_of(framed, kind, seed, x_amz_trailer="x-amz-checksum-crc32c")
        assert error(body) == code


def error(body: Body) -> str:
    """The code of what is wrong with a body."""
    try:
        list(body)
    except S3Error as error:
        return error.code
    return ""


def crc(data: bytes, polynomial: int, size: int) -> bytes:
    """A CRC, byte by byte."""
    table = list(range(256))
    for _ in range(8):
        table = [entry >> 1 ^ (polynomial if entry & 1 else 0) for entry in table]
    state = invert = (1 << 8 * size) - 1
    for byte in data:
        state = state >> 8 ^ table[(state ^ byte) & 255]
    return (state ^ invert).to_bytes(size, "big")


@given(st.lists(st.binary(max_size=400), max_size=4))
def test_crcs_of_pieces_are_those_of_the_whole(pieces: list[bytes]) -> None:
    for made, polynomial, size in ((crc32c(), 0x82F63B78, 4), (crc64nvme(), 0x9A6C9329AC4BC9B5, 8)):
        for piece in pieces:
            made.update(piece)
        assert made.digest() == crc(b"".join(pieces), polynomial, size)


def sum_of(name: str, data: bytes) -> str:
    """What a client sends for a checksum."""
    made = {
        "content-md5": lambda: hashlib.md5(data).digest(),
        "x-amz-checksum-crc32": lambda: zlib.crc32(data).to_bytes(4, "big"),
        "x-amz-checksum-crc32c": lambda: crc(data, 0x82F63B78, 4),
        "x-amz-checksum-crc64nvme": lambda: crc(data, 0x9A6C9329AC4BC9B5, 8),
        "x-amz-checksum-sha1": lambda: hashlib.sha1(data).digest(),
        "x-amz-checksum-sha256": lambda: hashlib.sha256(data).digest(),
    }
    return base64.b64encode(made[name]()).decode()


@pytest.mark.parametrize("name", CHECKSUMS)
def test_checksums_are_compared(s3: Any, server: Server, address: str, name: str) -> None:
    data = bytes(range(256)) * 1000
    for sent, code in (
        (sum_of(name, data), ""),
        (sum_of(name, data + b"x"), "BadDigest"),
        ("AAAA", "InvalidDigest"),
        ("no base64", "InvalidDigest"),
    ):
        s3.delete_object(Bucket=BUCKET, Key="a")
        assert Signed(server, address, "PUT", "/master.in/a", data, **{name: sent}).send()[1] == code
        assert keys(s3.list_objects_v2(Bucket=BUCKET)) == ([] if code else ["a"])


def test_the_checksum_of_what_asks_for_deletions_is_compared(s3: Any, server: Server, address: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")
    sent = {"x-amz-checksum-crc32": sum_of("x-amz-checksum-crc32", b"x")}
    assert Signed(server, address, "POST", "/master.in?delete", DELETE.encode(), **sent).send() == (400, "BadDigest")
    assert content(s3, "a") == b"1"


def framed(data: bytes, piece: int) -> bytes:
    """As boto3 sends what is not signed, with a trailer."""
    made: bytes = AwsChunkedWrapper(
        io.BytesIO(data), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=piece
    ).read()
    return made


@pytest.mark.parametrize("coding", ["length", "chunks"])
def test_pieces_with_a_trailer(s3: Any, server: Server, address: str, coding: str) -> None:
    """Sent with their length, and in HTTP's own chunks, which cut them elsewhere."""
    data = bytes(range(256)) * 1000
    whole = framed(data, 70_000)
    # The trailer is none; a byte is another; the trailer is missing; a piece is longer than it says; its length is none; and
    # there is more than was announced.
    attempts = [
        (whole, ""),
        (whole.replace(b"crc32:", b"crc32:AAAA"), "InvalidDigest"),
        (whole.replace(b"\xff\r\n0\r\n", b"\xfe\r\n0\r\n"), "BadDigest"),
        (whole[:-30], "InvalidDigest"),
        (whole.replace(b"11170", b"11171", 1), "IncompleteBody"),
        (whole.replace(b"11170", b"-1170", 1), "IncompleteBody"),
        (whole.replace(b"11170", b"0x111", 1), "IncompleteBody"),
        (framed(data + b"x", 70_000), "IncompleteBody"),
    ]
    for sent, code in attempts:
        s3.delete_object(Bucket=BUCKET, Key="a")
        request = Signed(
            server,
            address,
            "PUT",
            "/master.in/a",
            x_amz_trailer="x-amz-checksum-crc32",
            x_amz_decoded_content_length=str(len(data)),
        )
        assert transfer(request, sent, coding) == code
        assert keys(s3.list_objects_v2(Bucket=BUCKET)) == ([] if code else ["a"])
        if not code:
            assert content(s3, "a") == data


def transfer(request: Signed, sent: bytes, coding: str) -> str:
    """Sends a request with another body than it was signed with; the code of what is wrong."""
    connection = http.client.HTTPConnection(request.address, timeout=30)
    if coding == "length":
        connection.request(request.method, request.target, sent, request.headers)
    else:
        pieces = (sent[start : start + 50_000] for start in range(0, len(sent), 50_000))
        connection.request(
            request.method,
            request.target,
            pieces,
            request.headers | {"Transfer-Encoding": "chunked"},
            encode_chunked=True,
        )
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer.partition("<Code>")[2].partition("</Code>")[0]


def test_a_body_that_is_cut_off_is_no_object(s3: Any, server: Server, client: Client, address: str) -> None:
    request = Signed(server, address, "PUT", "/master.in/a", b"x" * 100_000)
    request.headers |= {"Host": address, "Content-Length": "100000"}
    commits = len(client.list_commit("in"))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"PUT {request.target} HTTP/1.1\r\n{head}\r\n".encode() + b"x" * 99_999)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"<Code>IncompleteBody</Code>" in answer
    assert len(client.list_commit("in")) == commits
    assert list((server.root / "tmp").iterdir()) == []


BOMB = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
DELETE = "<Delete><Object><Key>a</Key></Object></Delete>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<Delete>",
        b"\xff",
        b"<Other/>",
        f"{BOMB}<Delete><Object><Key>&b;</Key></Object></Delete>".encode(),
        f'<!DOCTYPE d SYSTEM "file:///etc/passwd">{DELETE}'.encode(),
        f'<?xml version="1.0" encoding="UTF-16"?>{BOMB}{DELETE}'.encode("utf-16"),
        ("<Delete>" + "<Object><Key>x</Key></Object>" * 1001 + "</Delete>").encode(),
    ],
    ids=range(9),
)
def test_xml_that_is_none_or_a_bomb(s3: Any, server: Server, address: str, body: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")
    assert Signed(server, address, "POST", "/master.in?delete", body).send() == (400, "MalformedXML")
    assert content(s3, "a") == b"1"


def test_xml_that_is_nested_without_end_hurts_nobody(s3: Any, server: Server, address: str) -> None:
    for body, code in ((b"<Delete>" * 100_000, "MalformedXML"), (b" " * (9 << 20), "InvalidRequest")):
        assert Signed(server, address, "POST", "/master.in?delete", body).send()[1] == code
    nested = b"<Delete>" * 20_000 + b"</Delete>" * 20_000
    assert Signed(server, address, "POST", "/master.in?delete", nested).send()[0] == 200


def test_an_answer_s_xml_holds_what_a_client_asked_for(s3: Any, server: Server, address: str) -> None:
    """Even what XML can't hold."""
    for prefix in ("%00", "%3C%26%3E", "%ED%A0%80"):
        assert Signed(server, address, "GET", f"/master.in?prefix={prefix}").send()[0] in (200, 400)
    page = s3.list_objects_v2(Bucket=BUCKET, Prefix="<&>\"'")
    assert page["Prefix"] == "<&>\"'"
