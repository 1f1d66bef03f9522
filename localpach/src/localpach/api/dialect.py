"""In which form of Pachyderm a caller is answered: since 2.11 a commit names its repo and no branch.

All else from 2.7 to 2.12 is added, and can be sent to everybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from localpach.api.nested import may_hold, messages_in
from localpach.proto import pfs_pb2

# What pachyderm_sdk says of itself; pachctl and python-pachyderm tell no version.
SDK = re.compile(r"\bpachyderm-sdk\b.*\bv(\d+\.\d+)")
WITHOUT_BRANCH = (2, 11)


class Dialect(grpc.ServerInterceptor):
    """Answers whoever says that they speak 2.11 or later accordingly, or, by `version`, everybody or nobody."""

    def __init__(self, version: str | None) -> None:
        self._version = version

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(details)
        version = self._version or _version_of(details)
        if handler is None or tuple(map(int, version.split("."))) < WITHOUT_BRANCH:
            return handler  # type: ignore[no-any-return]
        answer = handler.stream_stream if handler.response_streaming else handler.stream_unary
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        serialize = handler.response_serializer
        return make(answer, response_serializer=lambda message: serialize(without_branches(message)))


def _version_of(details: grpc.HandlerCallDetails) -> str:
    agent = next((str(value) for key, value in details.invocation_metadata if key == "user-agent"), "")
    told = SDK.search(agent)
    return told[1] if told else "2.7"


def without_branches(message: Message) -> Message:
    """The message, in which no commit names a branch; itself where it can hold no commit."""
    if not may_hold(message.DESCRIPTOR, pfs_pb2.Commit.DESCRIPTOR):
        return message
    answer = type(message)()
    answer.CopyFrom(message)
    _clear(answer)
    return answer


def _clear(message: Message) -> None:
    if isinstance(message, pfs_pb2.Commit):
        if message.HasField("branch"):
            if not message.HasField("repo"):
                message.repo.CopyFrom(message.branch.repo)
            message.ClearField("branch")
        return
    if may_hold(message.DESCRIPTOR, pfs_pb2.Commit.DESCRIPTOR):
        for _, each in messages_in(message):
            _clear(each)
