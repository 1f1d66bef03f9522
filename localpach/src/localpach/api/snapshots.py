"""snapshot.API: states of all data, kept by number: since Pachyderm 2.12. Each is a state for `localpach state load`, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format

from localpach import VERSION
from localpach.clock import now
from localpach.disk import write_atomically
from localpach.errors import NotFound, Refused
from localpach.messages import timestamp
from localpach.proto import snapshot_pb2
from localpach.states import States
from localpach.waiting import Call

NAME = "snapshot-{}"
# In the folder of a state, what is told of the snapshot that it is.
INFO = "snapshot.json"
# Beside the states: the newest number, which is not given again.
NEWEST = "newest-snapshot"


class SnapshotServicer:
    """Translates requests into calls of `States`."""

    def __init__(self, root: Path) -> None:
        self._states = States(root)
        self._newest = root / NEWEST
        # Numbers are given one at a time.
        self._lock = threading.Lock()

    def CreateSnapshot(
        self, request: snapshot_pb2.CreateSnapshotRequest, context: Call
    ) -> snapshot_pb2.CreateSnapshotResponse:
        if "" in request.metadata:
            raise Refused("a snapshot's metadata can't have an empty key")
        info = snapshot_pb2.SnapshotInfo(
            id=self._next(),
            metadata=request.metadata,
            pachyderm_version="v" + ".".join(map(str, VERSION)),
            created_at=timestamp(now()),
        )
        self._states.save(NAME.format(info.id), {INFO: json_format.MessageToJson(info)})
        return snapshot_pb2.CreateSnapshotResponse(id=info.id)

    def _next(self) -> int:
        with self._lock:
            number = 1 + (int(self._newest.read_text()) if self._newest.exists() else 0)
            write_atomically(self._newest, str(number))
        return number

    def InspectSnapshot(
        self, request: snapshot_pb2.InspectSnapshotRequest, context: Call
    ) -> snapshot_pb2.InspectSnapshotResponse:
        _check(request.id)
        info = self._info(NAME.format(request.id))
        if info is None:
            raise NotFound(f"snapshot {request.id} not found")
        return snapshot_pb2.InspectSnapshotResponse(info=info)

    def ListSnapshot(
        self, request: snapshot_pb2.ListSnapshotRequest, context: Call
    ) -> Iterator[snapshot_pb2.ListSnapshotResponse]:
        """The newest first; only those made after `since`, and no more than `limit`, if they are given."""
        infos = [info for name, _ in self._states.list() if (info := self._info(name))]
        wanted = [info for info in infos if info.created_at.ToNanoseconds() > request.since.ToNanoseconds()]
        wanted.sort(key=lambda info: info.id, reverse=True)
        for info in wanted[: request.limit or None]:
            yield snapshot_pb2.ListSnapshotResponse(info=info)

    def DeleteSnapshot(
        self, request: snapshot_pb2.DeleteSnapshotRequest, context: Call
    ) -> snapshot_pb2.DeleteSnapshotResponse:
        """Deletes it; as in Pachyderm, one that is not there is no error."""
        _check(request.id)
        if self._info(NAME.format(request.id)):
            self._states.delete(NAME.format(request.id))
        return snapshot_pb2.DeleteSnapshotResponse()

    def _info(self, name: str) -> snapshot_pb2.SnapshotInfo | None:
        """What is told of the snapshot that a state is; None if it is none."""
        try:
            text = (self._states.folder(name) / INFO).read_text()
        except FileNotFoundError:
            return None
        return json_format.Parse(text, snapshot_pb2.SnapshotInfo())


def _check(id: int) -> None:
    if id < 1:
        raise Refused(f"a snapshot's id is a number from 1 on, not {id}")
