"""Flipped bits are found before they are data: refused with the file's name, never made output of, healed by the same bytes."""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
from pathlib import Path

import grpc
import pytest

from localpach.errors import Corrupt
from localpach.pfs.service import Pfs
from localpach.proto import pfs_pb2, pps_pb2
from localpach.storage.objects import INLINE_BYTES
from localpach.storage.store import Store
from localpach.waiting import Bulletin
from tests.client import Client
from tests.helpers import last_job, lines, pfs, pipeline, put, refused
from tests.servers import Server, serving

SMALL, BIG = os.urandom(INLINE_BYTES), os.urandom(3_000_000)
FILES = {"/d/small": SMALL, "/d/big": BIG, "/whole": b"whole", "/e/whole": BIG[1:]}
TO_DO = "put the file again, or restore it from a backup"


def flip(root: Path, data: bytes, byte: int) -> None:
    """Changes one bit of a content on disk."""
    for file in (root / "objects").glob("*/*"):
        if file.read_bytes() == data:
            file.chmod(0o600)
            with file.open("r+b") as stream:
                stream.seek(byte)
                stream.write(bytes([data[byte] ^ 1]))
            return
    changed = bytearray(data)
    changed[byte] ^= 1
    with sqlite3.connect(root / "metadata.sqlite", timeout=60) as connection:
        assert connection.execute("UPDATE contents SET data = ? WHERE data = ?", (bytes(changed), data)).rowcount == 1
    connection.close()


def filled(server: Server) -> str:
    server.client.create_repo("in")
    return put(server.client, "in", FILES)


@pytest.mark.parametrize(("path", "data"), [("/d/small", SMALL), ("/d/big", BIG)])
@pytest.mark.parametrize("byte", [0, 40_000, -1])
@pytest.mark.parametrize("restart", [False, True])
def test_a_flipped_bit_is_refused_by_its_files_name(
    tmp_path: Path, path: str, data: bytes, byte: int, restart: bool
) -> None:
    with serving(tmp_path) as server:
        id = filled(server)
        assert server.client.get_file(("in", id), path) == data
        if not restart:
            flip(tmp_path, data, byte % len(data))
            check(server.client, id, path)
    if restart:
        flip(tmp_path, data, byte % len(data))
        with serving(tmp_path) as server:
            check(server.client, id, path)


def check(client: Client, id: str, path: str) -> None:
    """A file is refused each time and however it is asked for, and the others are not."""
    commit = ("in", id)
    for _ in range(2):
        for call in (client.get_file, client.get_file_tar):
            for place in (path, "/d", "/") if call == client.get_file_tar else (path,):
                code, told = refused(lambda call=call, place=place: call(commit, place))  # type: ignore[misc]
                assert code == "DATA_LOSS"
                assert told.startswith(f"file {path} of default/in@{id} can't be read: content ")
                assert told.endswith(TO_DO)
    assert client.get_file(commit, "/whole") == b"whole"
    assert client.get_file_tar(commit, "/e")


def test_nothing_of_a_file_is_given_when_its_last_piece_is_damaged_and_a_tar_breaks_off_in_it(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        client.create_repo("in")
        with client.commit("in", "master") as commit:
            for data in (BIG, SMALL):
                client.put_file_bytes(commit, "/b", data, append=True)
            client.put_file_bytes(commit, "/a", b"a")
        client.wait_commit(commit)
        flip(tmp_path, SMALL, 1)
        stream = client.pfs.GetFile(pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path="/b")))
        with pytest.raises(grpc.RpcError):
            next(stream)
        got = bytearray()
        with pytest.raises(grpc.RpcError):
            for chunk in client.pfs.GetFileTAR(pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path="/*"))):
                got += chunk.value
        with tarfile.open(fileobj=io.BytesIO(got), mode="r|") as tar, pytest.raises(tarfile.ReadError):
            list(tar)


@pytest.mark.parametrize(("path", "data"), [("/d/small", SMALL), ("/d/big", BIG)])
def test_a_job_that_reads_it_fails_with_that_sentence_and_goes_well_once_it_is_put_again(
    tmp_path: Path, path: str, data: bytes
) -> None:
    with serving(tmp_path) as server:
        client = server.client
        id = filled(server)
        flip(tmp_path, data, 7)
        pipeline(client, "copy", "cp -r /pfs/in/. /pfs/out/", pfs("in"), datum_tries=1)
        job = last_job(client, "copy")
        assert job.state == pps_pb2.JOB_FAILURE
        assert f"file {path} of default/in@{id} can't be read: content " in job.reason
        assert any(f"file {path} of default/in@{id}" in line for line in lines(client, "copy", job))
        # The same bytes in another file, that no commit that was there before knows of.
        put(client, "in", {"/again": data})
        job = last_job(client, "copy")
        assert (job.state, job.reason) == (pps_pb2.JOB_SUCCESS, "")
        for commit in (("in", id), ("copy", "master")):
            assert client.get_file(commit, path) == data
        assert not list((tmp_path / "quarantine").glob("*"))


def test_a_damaged_directory_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        id = filled(server)
    with sqlite3.connect(tmp_path / "metadata.sqlite") as connection:
        statement = "UPDATE nodes SET data = CAST(replace(CAST(data AS TEXT), 'small', 'smell') AS BLOB)"
        connection.execute(f"{statement} WHERE CAST(data AS TEXT) LIKE '%small%'")
    connection.close()
    with serving(tmp_path) as server:
        code, told = refused(lambda: server.client.list_file(("in", id), "/d"))
        assert code == "DATA_LOSS"
        assert told.startswith("directory node ")
        assert server.client.get_file(("in", id), "/whole") == b"whole"
    store = Store(tmp_path)
    with pytest.raises(
        Corrupt, match=f"nothing is freed, for what default/in@{id} holds can't be told: directory node"
    ):
        Pfs(store, Bulletin(store.after_commit)).fsck.collect()
    store.close()
    assert list((tmp_path / "objects").glob("*/*"))
