"""Output sent to a bucket of S3, by boto3, which is there where localpach was installed with `s3`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from localpach.egress.places import Place
from localpach.errors import Refused

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PART_BYTES = 8 << 20
MAX_PARTS = 10_000
# What a job that is stopped does no more; that what it has begun is taken back is not among it.
REQUESTS = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")


class Bucket:
    """A place of S3. Where it is, and how often what fails is tried again, say the server's variables, as for other programs:
    AWS_ENDPOINT_URL, AWS_MAX_ATTEMPTS and so on."""

    def __init__(self, place: Place, login: Mapping[str, str], check_stop: Callable[[], None]) -> None:
        """`login` is what a session of boto3 is given; without one it is the server's own. `check_stop` is called before
        each request that writes, and ends it by what it raises."""
        self._place = place
        try:
            self._client = boto3.Session(**login).client("s3")
        except (BotoCoreError, ValueError) as error:
            # These may name a URL with a login in it.
            kind = type(error).__name__
            raise Refused(
                f"egress to {place}: boto3 can't be set up ({kind}); see the AWS variables and files of the server"
            ) from error
        for request in REQUESTS:
            self._client.meta.events.register(f"before-send.s3.{request}", lambda **_: check_stop())

    def put(self, path: str, size: int, content: Iterable[bytes]) -> None:
        """Sends a file, in parts if it is big; the object is there whole or not at all."""
        part = max(PART_BYTES, -(-size // MAX_PARTS))
        config = TransferConfig(multipart_threshold=part, multipart_chunksize=part, use_threads=False)
        key = "/".join((*self._place.steps, path.strip("/")))
        with self._told(path):
            self._client.upload_fileobj(_stream(content), self._place.bucket, key, Config=config)

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            code = error.response["Error"]["Code"]
            raise Refused(f"egress to {self._place}: the store answers {status} ({code}) to {path}") from error
        except (ConnectionError, HTTPClientError) as error:
            where = urlsplit(self._client.meta.endpoint_url)
            host = where.netloc.rpartition("@")[2]
            raise Refused(f"egress to {self._place}: {host} can't be reached ({type(error).__name__})") from error
        except BotoCoreError as error:
            raise Refused(f"egress to {self._place}: {path} can't be sent: {error}") from error

    def close(self) -> None:
        self._client.close()


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        target = memoryview(buffer)
        taken = self._left[: len(target)]
        target[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def _stream(chunks: Iterable[bytes]) -> io.BufferedReader:
    """Chunks, none of them empty, as a file to be read."""
    return io.BufferedReader(_Chunks(chunks))
