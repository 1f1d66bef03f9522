"""The parsers of this project that read what comes from elsewhere: each gives what its rules say, or refuses."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import requests

from prefect_pachyderm.credentials import PachydermCredentials, active_context
from tasks.corpus.archives import Archive, list_files, read_files
from tasks.corpus.package_index import find_sdist
from tasks.errors import USER_ERRORS

LONGEST_TEXT = 2000
INDEX = "https://index.example/simple"
# Lives as long as the process, where the disk is quickest.
_ASIDE = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
_FILE = Path(_ASIDE.name, "file")


class Parser(NamedTuple):
    """What is fuzzed, and inputs to begin with."""

    parse: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


@contextmanager
def refusal() -> Iterator[None]:
    """A block that ends well, or by one short sentence of ours."""
    try:
        yield
    except USER_ERRORS as error:
        assert 0 < len(str(error)) <= LONGEST_TEXT, f"a sentence of {len(str(error))} characters"


def archive(data: bytes) -> None:
    """What is listed is read, is no longer than it was said to be, and would lie in one folder."""
    _FILE.write_bytes(data)
    given = Archive(_FILE, "scripts")
    with refusal():
        files = list_files(given).files
        for name in files:
            assert os.path.normpath(name) == name
            assert Path(name).parts[0] not in ("/", "..")
        found = {name: sum(map(len, chunks)) for name, chunks in read_files(given, files)}
        assert found.keys() == files.keys()
        assert all(found[name] <= files[name] for name in files)


def index_page(data: bytes) -> None:
    """An answer of a package index: a line with its type, and its body."""
    kind, _, body = data.partition(b"\n")
    response = requests.Response()
    response.status_code, response.url = 200, f"{INDEX}/scripts/"
    response.headers["Content-Type"] = kind.decode("iso-8859-1")
    response._content = body
    answered = patch.object(requests.Session, "get", lambda *_, **__: response)
    with refusal(), patch.dict(os.environ, {"PIP_INDEX_URL": INDEX}), answered:
        found = find_sdist("scripts==1.0")
        assert found.sha256 is None or re.fullmatch("[0-9a-f]{64}", found.sha256)


def context(data: bytes) -> None:
    """A configuration of pachctl."""
    _FILE.write_bytes(data)
    with patch.dict(os.environ, {"PACH_CONFIG": str(_FILE)}), refusal():
        for name in ("PACHYDERM_BLOCK", "PACHD_ADDRESS"):
            os.environ.pop(name, None)
        if active_context() is not None:
            assert PachydermCredentials.from_environment().address


def tar(*names: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            made.addfile(info, io.BytesIO(b"abc"))
    return packed.getvalue()[: 6 * tarfile.BLOCKSIZE]


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.txt", "abc")
        made.writestr("d/b.txt", "abc")
    return packed.getvalue()


PARSERS = {
    "archive": Parser(
        archive,
        (
            tar("a.txt", "d/b.txt"),
            tar("..a", "../b"),
            zipped(),
            gzip.compress(tar("a.txt", "d/b.txt")),
            b"BZh91AY&SY",
            b"\xfd7zXZ\x00",
        ),
    ),
    "index_page": Parser(
        index_page,
        (
            b'json\n{"files": [{"filename": "scripts-1.0.tar.gz", "url": "s.tar.gz", "hashes": {"sha256": "'
            + b"0" * 64
            + b'"}}]}',
            b'html\n<a href="../scripts-1.0.tar.gz#sha256=../../x">s</a><a href="scripts-2.zip">',
            b'html\n<a href="//[scripts-1.0.tar.gz">',
            b'json\n{"files": [{"filename": 1, "url": "s", "hashes": {"sha256": 5}}]}',
            b"json\n[]",
            b'json\n{"files": 1}',
            b"json\n" + b"[" * 2000,
        ),
    ),
    "context": Parser(
        context,
        (
            b'{"v2": {"active_context": "a", "contexts": {"a": {"pachd_address": "grpc://h:1", "session_token": "t", "server_cas": "eA=="}}}}',
            b'{"v2": {"active_context": "a", "contexts": {"a": {"pachd_address": 1}}}}',
            b'{"v2": {"active_context": "a", "contexts": {"a": {"pachd_address": "h", "server_cas": "e"}}}}',
            b'{"v2": {"active_context": "a", "contexts": {"a": {"pachd_address": "h", "session_token": [1]}}}}',
        ),
    ),
}
