"""What clients send, as messages; who does not send what was announced holds no thread for long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from localpach.api.times import check_times
from localpach.errors import Malformed

# A call whose one request has not come is ended after this long, or at most twice as long.
WAIT_SECONDS = 10.0


class Bodies:
    """Waits for the requests of calls that have one, and ends those calls whose request does not come."""

    def __init__(self) -> None:
        self._waiting: set[grpc.ServicerContext] = set()
        self._closed = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="bodies", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def reader(self, method: MethodDescriptor) -> Callable[[Iterator[bytes], grpc.ServicerContext], Any]:
        """What gives the servicer of a method what it takes: a message, or an iterator that keeps none of its messages."""
        decode = partial(_decode, method.input_type)
        if method.client_streaming:
            return lambda stream, _: map(decode, stream)
        return lambda stream, call: decode(self._the_one(stream, call))

    def _the_one(self, stream: Iterator[bytes], call: grpc.ServicerContext) -> bytes:
        self._waiting.add(call)
        try:
            return next(stream)
        except StopIteration:
            raise Malformed("the call ended before its request came") from None
        finally:
            self._waiting.discard(call)

    def _watch(self) -> None:
        before: set[grpc.ServicerContext] = set()
        while not self._closed.wait(WAIT_SECONDS):
            now = self._waiting.copy()
            for call in before & now:
                call.cancel()
            before = now


def _decode(kind: Descriptor, body: bytes) -> Message:
    try:
        message = GetMessageClass(kind).FromString(body)
    except DecodeError as error:
        raise Malformed(f"the request is not a {kind.full_name}: its {len(body)} bytes are malformed") from error
    check_times(message)
    return message
