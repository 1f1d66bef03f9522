"""How calls reach servicers: bodies as messages, transactions, and errors as gRPC statuses.

A servicer is a plain class with a method per RPC, `method(request, call)`, returning a message or an iterator of messages;
a service may have several. RPCs that they lack answer UNIMPLEMENTED with a sentence, which their `refusals` may give.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from localpach.api.bodies import Bodies
from localpach.api.versions import SINCE
from localpach.errors import (
    AlreadyExists,
    Corrupt,
    Exhausted,
    LocalpachError,
    Malformed,
    NotFound,
    Precondition,
    Refused,
    Unavailable,
    Unimplemented,
)
from localpach.faults import fault_of_disk
from localpach.waiting import Cancelled

TRANSACTION_KEY = "pach-transaction"
MISSING = "{method} is not a part of Pachyderm that localpach has; a Pachyderm cluster has it"
NEWER = "{method} came with Pachyderm {version}, and localpach lacks it; a Pachyderm cluster of that version has it"
CODES = {
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    Refused: grpc.StatusCode.UNKNOWN,
    Precondition: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    Corrupt: grpc.StatusCode.DATA_LOSS,
    Malformed: grpc.StatusCode.INVALID_ARGUMENT,
}

Handler = Callable[[Any, Any], Any]
Staging = Callable[[str, str, Any], Any]

log = logging.getLogger("localpach")


def register(
    server: grpc.Server,
    service: ServiceDescriptor,
    servicers: Sequence[object],
    bodies: Bodies,
    staging: Staging | None = None,
    missing: str = MISSING,
) -> None:
    """Serves all RPCs of a service. `staging(transaction, method, request)` keeps requests made within a transaction."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    refusals: dict[str, str] = {}
    for servicer in servicers:
        refusals |= getattr(servicer, "refusals", {})
    for method in service.methods:
        found = (getattr(servicer, method.name, None) for servicer in servicers)
        function = next(filter(None, found), None) or _refuse(
            _sentence(service.full_name, method.name, missing, refusals.get(method.name))
        )
        make = (
            grpc.stream_stream_rpc_method_handler if method.server_streaming else grpc.stream_unary_rpc_method_handler
        )
        handlers[method.name] = make(
            _guard(function, bodies.reader(method), method.name, staging, method.server_streaming),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _sentence(service: str, method: str, missing: str, reason: str | None = None) -> str:
    """Why a method is refused, and which version brought it, if it is newer than 2.7."""
    version = SINCE.get(f"{service}/{method}")
    if version is None:
        return reason or missing.format(method=method)
    told = NEWER.format(method=method, version=version)
    return f"{told}; {reason}" if reason else told


class Unknown(grpc.GenericRpcHandler):
    """Answers calls of services that are not served at all; it comes after all others."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        service, _, method = details.method.strip("/").rpartition("/")
        refuse = _refuse(_sentence(service, method, MISSING))
        return grpc.stream_unary_rpc_method_handler(_guard(refuse, lambda stream, _: stream, method, None, False))


def _refuse(sentence: str) -> Handler:
    def refuse(request: Any, context: grpc.ServicerContext) -> NoReturn:
        raise Unimplemented(sentence)

    return refuse


def _guard(function: Handler, read: Handler, name: str, staging: Staging | None, streams: bool) -> Handler:
    def unary(stream: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        try:
            request = read(stream, context)
            transaction = _transaction(context)
            if transaction and staging is not None:
                staged = staging(transaction, name, request)
                if staged is not None:
                    return staged
            return function(request, context)
        except Exception as error:
            _abort(error, context)

    def stream(stream: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from function(read(stream, context), context)
        except Exception as error:
            _abort(error, context)

    return stream if streams else unary


def _transaction(context: grpc.ServicerContext) -> str:
    """The transaction that a call belongs to, if any."""
    return next((str(value) for key, value in context.invocation_metadata() if key == TRANSACTION_KEY), "")


def _abort(error: Exception, context: grpc.ServicerContext) -> NoReturn:
    """Ends the call with the status that an error stands for."""
    told = error if isinstance(error, LocalpachError) else fault_of_disk(error)
    if told is not None:
        context.abort(CODES[type(told)], told.message)
    if isinstance(error, Cancelled):
        context.abort(grpc.StatusCode.CANCELLED, "context canceled")
    if not context.is_active():
        raise error
    log.exception("unexpected error in a call")
    context.abort(grpc.StatusCode.INTERNAL, f"unexpected {type(error).__name__}: {error}; the server's log has more")
