"""Bodies of requests: taken out of their frames, piece by piece, and compared with what was said of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from localpach.api.s3.crc import crc32c, crc64nvme
from localpach.api.s3.errors import S3Error
from localpach.api.s3.request import Request
from localpach.api.s3.signature import EMPTY, UNSIGNED, Seal, mac

READ_BYTES = 1 << 20
LINE_BYTES = 8 << 10
MOST_TRAILERS = 16
SIGNED_PIECES = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
PIECES = (SIGNED_PIECES, f"{SIGNED_PIECES}-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})(?:;([^\r\n]*))?\r?\n")


class Checksum(Protocol):
    """What `hashlib` gives."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc32:
    """What most clients send unless they are told otherwise."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


CHECKSUMS: dict[str, Any] = {
    "content-md5": lambda: hashlib.md5(usedforsecurity=False),
    "x-amz-checksum-crc32": Crc32,
    "x-amz-checksum-crc32c": crc32c,
    "x-amz-checksum-crc64nvme": crc64nvme,
    "x-amz-checksum-sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "x-amz-checksum-sha256": hashlib.sha256,
}


class Body:
    """The body of one request, to be read once; what is read counts only when the end was reached without an error."""

    def __init__(self, request: Request, stream: BinaryIO, seal: Seal) -> None:
        """Raises S3Error where it can't be told how long it is."""
        self._request = request
        self._seal = seal
        self._frames: _Frames | None = None
        self._stream = self._unwrapped(stream)
        self._checksums = self._announced()
        self.is_over = not request.has_body

    def _unwrapped(self, stream: BinaryIO) -> BinaryIO:
        request = self._request
        length, coding = request.header("Content-Length"), request.header("Transfer-Encoding")
        if coding:
            if coding.lower() != "chunked" or length:
                raise S3Error(
                    "InvalidRequest", f"Transfer-Encoding: {coding} is not served, or not with a Content-Length"
                )
            whole: BinaryIO = io.BufferedReader(_Frames(stream, None))
        elif length and not re.fullmatch(r"[0-9]{1,15}", length):
            raise S3Error("InvalidRequest", f"Content-Length: {length} is no number of bytes")
        else:
            whole = io.BufferedReader(_Whole(stream, int(length or 0)))
        if self._seal.payload not in PIECES:
            return whole
        self._frames = _Frames(whole, self._seal if self._seal.payload.startswith(SIGNED_PIECES) else None)
        return io.BufferedReader(self._frames)

    def _announced(self) -> dict[str, Checksum]:
        request = self._request
        trailers = [name.strip().lower() for name in request.header("X-Amz-Trailer").split(",")]
        # What completes an upload has those of the object, if any.
        are_of_object = request.method == "POST" and "uploadId" in request.arguments
        kinds = CHECKSUMS if not are_of_object else {"content-md5": CHECKSUMS["content-md5"]}
        return {name: make() for name, make in kinds.items() if name in trailers or request.header(name)}

    def __iter__(self) -> Iterator[bytes]:
        """All of it.

        Raises:
            S3Error: it is not whole, or not what was announced.
        """
        sha256 = hashlib.sha256()
        size = 0
        while data := self._stream.read(READ_BYTES):
            for checksum in (sha256, *self._checksums.values()):
                checksum.update(data)
            size += len(data)
            yield data
        self.is_over = True
        self._check_size(size)
        if self._seal.payload not in (UNSIGNED, *PIECES) and not hmac.compare_digest(
            sha256.hexdigest(), self._seal.payload
        ):
            raise S3Error("XAmzContentSHA256Mismatch", "the body is not the one that was signed, by its SHA-256")
        for name, checksum in self._checksums.items():
            self._check_sum(name, checksum)

    def _check_size(self, size: int) -> None:
        announced = self._request.header("X-Amz-Decoded-Content-Length")
        if self._frames is not None and announced and announced != str(size):
            raise S3Error("IncompleteBody", f"{size} bytes have come in place of {announced}")

    def _check_sum(self, name: str, checksum: Checksum) -> None:
        given = self._request.header(name) or (self._frames.trailers.get(name, "") if self._frames else "")
        try:
            expected = base64.b64decode(given, validate=True)
        except ValueError:
            expected = b""
        if len(expected) != len(checksum.digest()):
            raise S3Error("InvalidDigest", f"{name}: {given} is not of this kind, in base64")
        if expected != checksum.digest():
            raise S3Error("BadDigest", f"the body's {name} is not the one that was sent with it")

    def read_all(self, most: int) -> bytes:
        """All of a small body."""
        found = bytearray()
        for piece in self:
            found += piece
            if len(found) > most:
                raise S3Error("InvalidRequest", f"the body is longer than {most} bytes")
        return bytes(found)


class _Whole(io.RawIOBase):
    """A body of a known length."""

    def __init__(self, source: BinaryIO, length: int) -> None:
        self._source = source
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            return 0
        count = _fill(self._source, buffer, self._left)
        self._left -= count
        return count


class _Frames(io.RawIOBase):
    """A body that comes in pieces, each after a line with its length, then lines of trailers: so are HTTP's chunks, and
    so S3's, whose pieces may each be signed."""

    def __init__(self, source: Any, seal: Seal | None) -> None:
        self._source = source
        self._seal = seal
        self._left = 0
        self._is_begun = self._is_over = False
        self._given = ""
        self._sha256 = hashlib.sha256()
        self.trailers: dict[str, str] = {}

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left and not self._is_over:
            self._begin_piece()
        if self._is_over:
            return 0
        count = _fill(self._source, buffer, self._left)
        self._left -= count
        if self._seal is not None:
            self._sha256.update(memoryview(buffer)[:count])
        if not self._left:
            self._check_piece()
        return count

    def _begin_piece(self) -> None:
        if self._is_begun and self._line() not in (b"\r\n", b"\n"):
            raise S3Error("IncompleteBody", "a piece of the body is longer than it says")
        self._is_begun = True
        match = _SIZE.fullmatch(self._line())
        if match is None:
            raise S3Error("IncompleteBody", "a piece of the body does not begin with its length")
        self._left = int(match[1], 16)
        self._given = (match[2] or b"").decode("iso-8859-1").removeprefix("chunk-signature=")
        if not self._left:
            self._is_over = True
            self._check_piece()
            self._read_trailers()

    def _check_piece(self) -> None:
        if self._seal is None:
            return
        text = f"{self._seal.signature}\n{EMPTY}\n{self._sha256.hexdigest()}"
        self._sha256 = hashlib.sha256()
        self._check("PAYLOAD", text, self._given)

    def _read_trailers(self) -> None:
        lines = []
        while (line := self._line()) not in (b"\r\n", b"\n", b""):
            lines.append(line.rstrip(b"\r\n").decode("iso-8859-1"))
            if len(lines) > MOST_TRAILERS:
                raise S3Error("IncompleteBody", "there are too many trailers")
        pairs = [line.partition(":") for line in lines]
        self.trailers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        signature = self.trailers.pop("x-amz-trailer-signature", "")
        if self._seal is not None and self._seal.payload.endswith("-TRAILER"):
            signed = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            self._check("TRAILER", f"{self._seal.signature}\n{hashlib.sha256(signed.encode()).hexdigest()}", signature)

    def _check(self, kind: str, text: str, given: str) -> None:
        """Compares a signature, which the next one goes on from."""
        assert self._seal is not None
        head = f"AWS4-HMAC-SHA256-{kind}\n{self._seal.moment}\n{self._seal.scope}\n"
        expected = mac(self._seal.key, head + text).hex()
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise S3Error("SignatureDoesNotMatch", "a piece of the body is not signed by the token")
        self._seal = self._seal._replace(signature=expected)

    def _line(self) -> bytes:
        line: bytes = self._source.readline(LINE_BYTES)
        return line


def _fill(source: Any, buffer: Any, most: int) -> int:
    """Reads into a buffer, and no more than is to come."""
    count: int = source.readinto(memoryview(buffer)[:most])
    if not count:
        raise S3Error("IncompleteBody", "the body ended before all of it had come")
    return count
