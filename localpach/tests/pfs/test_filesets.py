"""File sets by the service that Pachyderm 2.10 brought."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localpach.proto import pfs_pb2, storage_pb2
from tests.client import Client
from tests.helpers import refused


def append(path: str, data: bytes) -> storage_pb2.CreateFilesetRequest:
    return storage_pb2.CreateFilesetRequest(append_file=storage_pb2.AppendFile(path=path, data={"value": data}))


def create(client: Client, *requests: storage_pb2.CreateFilesetRequest) -> str:
    id: str = client.storage.CreateFileset(iter(requests)).fileset_id
    return id


def read(client: Client, id: str, *filters: storage_pb2.FileFilter, **fields: Any) -> dict[str, bytes]:
    """The files of a file set."""
    found: dict[str, bytes] = {}
    request = storage_pb2.ReadFilesetRequest(fileset_id=id, filters=filters, **fields)
    for answer in client.storage.ReadFileset(request):
        found[answer.path] = found.get(answer.path, b"") + answer.data.value
    return found


def test_what_is_appended_copied_and_not_deleted_is_read(client: Client) -> None:
    big = bytes(range(256)) * 12_000
    first = create(client, append("/a", b"1"), append("/a", b"2"), append("/empty", b""), append("/d/big", big))
    assert read(client, first) == {"/a": b"12", "/empty": b"", "/d/big": big}
    assert read(client, first, empty_files=True) == {"/a": b"", "/empty": b"", "/d/big": b""}
    delete = storage_pb2.CreateFilesetRequest(delete_file=storage_pb2.DeleteFile(path="/b"))
    copy = storage_pb2.CopyFile(fileset_id=first, src="/a", dst="/c")
    second = create(client, append("/b", b"3"), delete, storage_pb2.CreateFilesetRequest(copy_file=copy))
    assert read(client, second) == {"/c": b"12"}
    assert refused(lambda: create(client, storage_pb2.CreateFilesetRequest()))[0] == "UNKNOWN"


def test_file_sets_are_composed_renewed_and_one_shard(client: Client) -> None:
    ids = [create(client, append(path, b"1")) for path in ("/a", "/b")]
    request = storage_pb2.ComposeFilesetRequest(fileset_ids=ids, ttl_seconds=60)
    id = client.storage.ComposeFileset(request).fileset_id
    assert read(client, id) == {"/a": b"1", "/b": b"1"}
    shards = client.storage.ShardFileset(storage_pb2.ShardFilesetRequest(fileset_id=id)).shards
    assert [(shard.lower, shard.upper) for shard in shards] == [("", "")]
    client.storage.RenewFileset(storage_pb2.RenewFilesetRequest(fileset_id=id, ttl_seconds=0))
    assert refused(lambda: read(client, id))[0] == "NOT_FOUND"
    code, told = refused(lambda: client.storage.ReadFilesetCDR(storage_pb2.ReadFilesetRequest(fileset_id=id)))
    assert code == "UNIMPLEMENTED"
    assert "came with Pachyderm 2.11" in told
    assert "ReadFileset has the same files" in told


def test_a_file_set_of_one_service_is_one_of_the_other(client: Client) -> None:
    client.create_repo("in")
    id = create(client, append("/a", b"1"))
    with client.commit("in", "master") as commit:
        client.pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=id))
    assert client.get_file(("in", "master"), "/a") == b"1"
    old = client.pfs.GetFileSet(pfs_pb2.GetFileSetRequest(commit=commit)).file_set_id
    assert read(client, old) == {"/a": b"1"}


PATHS = [f"/{first}/{second}" for first in "abc" for second in "xyz"]
BOUNDS = st.sampled_from(["", *PATHS, "/b", "/c0"])


@pytest.fixture(scope="module")
def files() -> list[str]:
    """The id of a file set, once it is made."""
    return []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BOUNDS, BOUNDS, st.none() | st.sampled_from(["^/a", "y$", "/[bc]/x", "q", "/"]))
def test_filters_are_all_to_let_a_file_pass(
    client: Client, files: list[str], lower: str, upper: str, regex: str | None
) -> None:
    if not files:
        files.append(create(client, *(append(path, b"1") for path in PATHS)))
    filters = [storage_pb2.FileFilter(path_range=storage_pb2.PathRange(lower=lower, upper=upper))]
    filters += [] if regex is None else [storage_pb2.FileFilter(path_regex=regex)]
    expected = [
        path for path in PATHS if lower <= path and (path < upper or not upper) and re.search(regex or "", path)
    ]
    assert sorted(read(client, files[0], *filters)) == expected


def test_a_filter_that_is_none_is_refused(client: Client) -> None:
    id = create(client, append("/a", b"1"))
    code, text = refused(lambda: read(client, id, storage_pb2.FileFilter(path_regex="(")))
    assert (code, text.startswith("path_regex '(' is no regular expression")) == ("UNKNOWN", True)
