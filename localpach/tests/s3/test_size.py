"""What is big passes through the server piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.s3.conftest import connect
from tests.s3.helpers import BUCKET
from tests.servers import ServerProcess, token

SIZE = 256 << 20
MOST = 48 << 20


class Zeros:
    """A file of `SIZE` zeros, but for its beginning."""

    def __init__(self) -> None:
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        count = SIZE - self._at if size < 0 else min(size, SIZE - self._at)
        data = b"x" + bytes(count - 1) if self._at == 0 else bytes(count)
        self._at += count
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, SIZE)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at


def peak(pid: int) -> int:
    """The most memory that a process has had at a time."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def pieces(stream: Any) -> Iterator[bytes]:
    while data := stream.read(1 << 20):
        yield data


@pytest.mark.slow
def test_a_big_object_does_not_stand_in_memory(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        s3 = connect(server, token(tmp_path))
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="small", Body=b"1")
        before = peak(server.pid)
        s3.put_object(Bucket=BUCKET, Key="big", Body=Zeros())
        expected = hashlib.sha256()
        for piece in pieces(Zeros()):
            expected.update(piece)
        found = hashlib.sha256()
        for piece in pieces(s3.get_object(Bucket=BUCKET, Key="big")["Body"]):
            found.update(piece)
        assert found.digest() == expected.digest()
        assert peak(server.pid) - before < MOST
