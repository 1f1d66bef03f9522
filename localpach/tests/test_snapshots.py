"""Snapshots: all data as it was, by number, beside what is served."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from localpach import __main__ as program
from localpach.proto import snapshot_pb2
from tests.client import Client
from tests.helpers import content, put, refused
from tests.servers import serving


def create(client: Client, **metadata: str) -> int:
    request = snapshot_pb2.CreateSnapshotRequest(metadata=metadata)
    id: int = client.snapshot.CreateSnapshot(request).id
    return id


def listed(client: Client, since: Timestamp | None = None, limit: int = 0) -> list[snapshot_pb2.SnapshotInfo]:
    request = snapshot_pb2.ListSnapshotRequest(since=since, limit=limit)
    return [answer.info for answer in client.snapshot.ListSnapshot(request)]


def inspect(client: Client, id: int) -> snapshot_pb2.SnapshotInfo:
    info: snapshot_pb2.SnapshotInfo = client.snapshot.InspectSnapshot(snapshot_pb2.InspectSnapshotRequest(id=id)).info
    return info


def delete(client: Client, id: int) -> None:
    client.snapshot.DeleteSnapshot(snapshot_pb2.DeleteSnapshotRequest(id=id))


def test_snapshots_are_numbered_told_of_and_deleted(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        ids = [create(client, why=word) for word in ("first", "second", "third")]
        assert ids == [1, 2, 3]
        newest_first = listed(client)
        assert [info.id for info in newest_first] == [3, 2, 1]
        assert listed(client, limit=2) == newest_first[:2]
        # What was made at the moment itself is not after it.
        assert listed(client, since=newest_first[1].created_at) == newest_first[:1]
        info = inspect(client, 2)
        assert info == newest_first[1]
        assert dict(info.metadata) == {"why": "second"}
        assert info.pachyderm_version.startswith("v2.")
        delete(client, 3)
        delete(client, 3)
        assert listed(client) == newest_first[1:]
        assert refused(lambda: inspect(client, 3)) == ("NOT_FOUND", "snapshot 3 not found")
    with serving(tmp_path) as server:
        assert create(server.client) == 4
        assert [info.id for info in listed(server.client)] == [4, 2, 1]


def test_what_is_no_number_or_no_key_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for id in (0, -1):
            assert refused(partial(inspect, server.client, id))[1] == (
                f"a snapshot's id is a number from 1 on, not {id}"
            )
            assert refused(partial(delete, server.client, id))[0] == "UNKNOWN"
        request = snapshot_pb2.CreateSnapshotRequest(metadata={"": "x"})
        assert refused(lambda: server.client.snapshot.CreateSnapshot(request))[0] == "UNKNOWN"
        assert listed(server.client) == []


def test_a_state_that_somebody_saved_is_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as server:
        monkeypatch.setattr(sys, "argv", ["localpach", "state", "save", "snapshot-9", "--root", str(tmp_path)])
        with pytest.raises(SystemExit):
            program.main()
        delete(server.client, 9)
        assert (tmp_path / "states" / "snapshot-9").exists()
        assert listed(server.client) == []


def test_a_snapshot_is_loaded_as_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as server:
        server.client.create_repo("in")
        put(server.client, "in", {"/a": b"before", "/big": bytes(100_000)})
        create(server.client)
        put(server.client, "in", {"/a": b"after"})
    monkeypatch.setattr(sys, "argv", ["localpach", "state", "load", "snapshot-1", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 0
    with serving(tmp_path) as server:
        assert content(server.client, "in", "/a") == b"before"
        assert content(server.client, "in", "/big") == bytes(100_000)
        assert [info.id for info in listed(server.client)] == [1]
