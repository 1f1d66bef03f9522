"""Calls of RPCs by their names, made from the descriptors of services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

Metadata = tuple[tuple[str, str], ...]


def rpc(channel: grpc.Channel, method: MethodDescriptor) -> Callable[..., Any]:
    """What calls a method: it takes a message, or an iterator of them, and gives one, or a stream."""
    kind = "_".join("stream" if many else "unary" for many in (method.client_streaming, method.server_streaming))
    make: Callable[..., Callable[..., Any]] = getattr(channel, kind)
    return make(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


class Rpcs:
    """The RPCs of a file's one service, such as `pfs.CreateRepo(request)`, each sent with what `metadata` gives."""

    def __init__(self, channel: grpc.Channel, file: FileDescriptor, metadata: Callable[[], Metadata]) -> None:
        self._channel = channel
        self._metadata = metadata
        (self._service,) = file.services_by_name.values()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = rpc(self._channel, self._service.methods_by_name[name])

        def with_metadata(request: object) -> Any:
            return call(request, metadata=self._metadata())

        return with_metadata
