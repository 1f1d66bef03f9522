"""What a spout's command finds for pachd: PFS, as far as it is about the spout's own output."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from localpach.api.admin import VersionServicer
from localpach.api.bodies import Bodies
from localpach.api.dispatch import Unknown, register
from localpach.api.inside import InsideServer
from localpach.errors import Refused
from localpach.names import USER, Repo
from localpach.proto import pfs_pb2, version_pb2
from localpach.waiting import Call

# Each of them may wait for a commit to be finished.
CALLS = 32
ALLOWED = frozenset(
    (
        *("StartCommit", "FinishCommit", "ClearCommit", "InspectCommit", "ListCommit", "ModifyFile"),
        *("InspectRepo", "InspectBranch", "ListBranch"),
        *("GetFile", "GetFileTAR", "InspectFile", "ListFile", "WalkFile", "GlobFile"),
    )
)
MISSING = "{method} is nothing that a spout may do: it writes to its own output and reads that"


class OwnOutput:
    """The RPCs of a servicer that are about one repo, as far as they are."""

    def __init__(self, servicer: object, repo: Repo) -> None:
        self._servicer = servicer
        self._repo = repo

    def __getattr__(self, method: str) -> Any:
        if method not in ALLOWED:
            raise AttributeError(method)
        return partial(self._call, getattr(self._servicer, method))

    def _call(self, function: Any, request: Any, call: Call) -> Any:
        if isinstance(request, Message):
            if not self._repos(request):
                raise Refused(f"a spout writes to its own output and reads that: name the repo {self._repo}")
            return function(request, call)
        return function(map(self._change, request), call)

    def _change(self, request: pfs_pb2.ModifyFileRequest) -> pfs_pb2.ModifyFileRequest:
        if request.add_file.HasField("url"):
            raise Refused("a spout has no URLs fetched for it: put the bytes")
        self._repos(request)
        return request

    def _repos(self, message: Message) -> list[Repo]:
        """The repos that a message is about, all of them the spout's own."""
        found = [Repo.of(each) for each in _repos(message)]
        for repo in found:
            if repo._replace(type=repo.type or USER) != self._repo:
                raise Refused(f"a spout writes to its own output and reads that, {self._repo}, and not {repo}")
        return found


def _repos(message: Message) -> Iterator[pfs_pb2.Repo]:
    if isinstance(message, pfs_pb2.Repo):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in (value,) if isinstance(value, Message) else value:
                yield from _repos(each)


def serve_spout(servicers: Iterable[object], bodies: Bodies, repo: Repo, listener: socket.socket) -> InsideServer:
    """Serves a spout's command what PFS's servicers do about its output, a repo."""

    def add(server: grpc.Server) -> None:
        own = [OwnOutput(each, repo) for each in servicers]
        register(server, pfs_pb2.DESCRIPTOR.services_by_name["API"], own, bodies, missing=MISSING)
        register(server, version_pb2.DESCRIPTOR.services_by_name["API"], [VersionServicer()], bodies)
        server.add_generic_rpc_handlers((Unknown(),))

    return InsideServer(add, CALLS, listener)
