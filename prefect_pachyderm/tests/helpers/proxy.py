"""A gRPC proxy that fails as a network does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal

import grpc

# How the call of this method, the n-th of its name, fails: UNAVAILABLE, also late, when all has been done and the answer is
# lost; another code, or OK for an answer without a message.
Fails = Callable[[str, int], bool | Literal["late"] | grpc.StatusCode]


def _as_it_is(message: bytes) -> bytes:
    return message


class _Forward(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def __init__(self, target: str, fails: Fails) -> None:
        self._channel = grpc.insecure_channel(target)
        self._fails = fails
        self.calls: dict[str, int] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Hands every method on as a stream of bytes."""

        def behaviour(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            method = details.method.rpartition("/")[2]
            self.calls[method] = self.calls.get(method, 0) + 1
            fails = self._fails(method, self.calls[method])
            if fails is grpc.StatusCode.OK:
                return
            if fails and fails != "late":
                context.abort(grpc.StatusCode.UNAVAILABLE if fails is True else fails, "the proxy fails this call")
            kept = ("authn-token", "pach-transaction")
            metadata = tuple(pair for pair in details.invocation_metadata if pair[0] in kept)
            call = self._channel.stream_stream(details.method, _as_it_is, _as_it_is)(requests, metadata=metadata)
            context.add_callback(call.cancel)
            try:
                if fails == "late":
                    list(call)
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the proxy loses this answer")
                yield from call
            except grpc.RpcError as error:
                context.abort(error.code(), str(error.details()))

        return grpc.stream_stream_rpc_method_handler(behaviour)


@contextmanager
def proxy(target: str, fails: Fails, address: str = "127.0.0.1:0") -> Iterator[tuple[str, dict[str, int]]]:
    """The address of a proxy to `target`, and how often each method has been called."""
    server = grpc.server(ThreadPoolExecutor(16))
    handler = _Forward(target, fails)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield f"127.0.0.1:{port}", handler.calls
    finally:
        server.stop(0).wait()
