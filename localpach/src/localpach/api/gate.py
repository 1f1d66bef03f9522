"""The token: it is looked at before a byte of a call's body is read."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc

from localpach.proto import admin_pb2, version_pb2

TOKEN_KEY = "authn-token"
NO_TOKEN = "no authentication token (try logging in)"
WRONG_TOKEN = "provided auth token is corrupted or has expired (try logging in again)"
# What Pachyderm answers strangers, too, each with the body that is taken for theirs: theirs is not read.
OPEN = {
    "/admin_v2.API/InspectCluster": admin_pb2.InspectClusterRequest(
        client_version=version_pb2.Version()
    ).SerializeToString(),
    "/auth_v2.API/WhoAmI": b"",
    "/grpc.health.v1.Health/Check": b"",
    "/grpc.health.v1.Health/Watch": b"",
    "/versionpb_v2.API/GetVersion": b"",
}


def refusal_of(given: str, token: str) -> str:
    """Why who gives `given` for the token is not let in; empty where it is the token."""
    if not given:
        return NO_TOKEN
    return "" if hmac.compare_digest(given.encode(), token.encode()) else WRONG_TOKEN


class Gate(grpc.ServerInterceptor):
    """Lets in whoever has the token. All handlers behind it take a stream of bodies, as bytes."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        given = next((str(value) for key, value in details.invocation_metadata if key == TOKEN_KEY), "")
        refusal = refusal_of(given, self._token)
        if not refusal:
            return continuation(details)
        if details.method in OPEN:
            return _unread(continuation(details), OPEN[details.method])
        return _refuse(refusal)


def _unread(handler: Any, body: bytes) -> grpc.RpcMethodHandler[Any, Any]:
    """Answers a call as if `body` were what it asks."""
    streams = handler.response_streaming
    answer = handler.stream_stream if streams else handler.stream_unary
    make = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
    return make(lambda _, call: answer(iter([body]), call), response_serializer=handler.response_serializer)


def _refuse(sentence: str) -> grpc.RpcMethodHandler[Any, Any]:
    def refuse(bodies: Iterator[bytes], call: grpc.ServicerContext) -> NoReturn:
        call.abort(grpc.StatusCode.UNAUTHENTICATED, sentence)

    return grpc.stream_unary_rpc_method_handler(refuse)
