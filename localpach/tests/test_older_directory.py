"""A data directory that the first version wrote is served with all that is in it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import content, last_job, lines, put
from tests.servers import Server, serving

ARCHIVE = Path(__file__).parent / "data" / "version-1.tar.gz"
BIG = b"0123456789" * 10_000


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("older")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    with serving(root) as server:
        yield server


@pytest.fixture
def client(older: Server) -> Client:
    return older.client


def test_commits_and_files_are_there(client: Client) -> None:
    second, first = client.list_commit("in", to_commit=("in", "master"))
    assert second.parent_commit.id == first.commit.id
    assert client.get_file(first.commit, "/small") == b"small\n"
    assert client.get_file(second.commit, "/big") == client.get_file(("in", "master"), "/big") == BIG
    names = [info.file.path for info in client.glob_file(second.commit, "/**")]
    assert names == ["/big", "/d/", "/d/deep"]
    diff = client.diff_file(second.commit, "/")
    assert [(each.new_file.file.path, each.old_file.file.path) for each in diff] == [
        ("/", "/"),
        ("/big", ""),
        ("", "/small"),
    ]


def test_an_open_commit_goes_on(client: Client) -> None:
    assert not client.inspect_commit(("in", "open")).HasField("finishing")
    client.put_file_bytes(("in", "open"), "/half", b"more\n", append=True)
    client.finish_commit(("in", "open"))
    assert client.get_file(("in", "open"), "/half") == b"half\nmore\n"


def test_pipelines_jobs_datums_and_logs_are_there_and_new_input_makes_a_job(client: Client) -> None:
    (info,) = client.list_pipeline(details=True)
    assert (info.version, info.details.datum_tries, info.details.transform.image) == (1, 3, "host")
    job = last_job(client, "count")
    assert (job.state, job.data_processed, job.data_total) == (pps_pb2.JOB_SUCCESS, 2, 2)
    datums = client.list_datum("count", job.job.id)
    assert [datum.state for datum in datums] == [pps_pb2.SUCCESS] * 2
    assert lines(client, "count", job).count("counting") == 2
    assert int(content(client, "count", "/big")) == len(BIG)
    put(client, "in", {"/new": b"12345"})
    job = last_job(client, "count")
    assert (job.state, job.data_processed, job.data_skipped) == (pps_pb2.JOB_SUCCESS, 1, 2)
    assert int(content(client, "count", "/new")) == 5


def test_secrets_are_there(client: Client) -> None:
    assert [info.secret.name for info in client.pps.ListSecret(Empty()).secret_info] == ["vault"]


def test_nothing_of_it_is_damaged(older: Server) -> None:
    command = [sys.executable, "-m", "localpach", "fsck", "--root", str(older.root), "--read-data"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
