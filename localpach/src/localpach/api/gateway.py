"""All RPCs as HTTP with JSON, in the form that Pachyderm serves since 2.8: `POST /api/<service>/<method>`."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from localpach.api import page
from localpach.api.dispatch import TRANSACTION_KEY
from localpach.api.gate import TOKEN_KEY, refusal_of
from localpach.api.loopback import Connection, LoopbackServer
from localpach.errors import Precondition, shortened

PREFIX = "/api/"
_SPACE = re.compile(r"[ \t\r\n]*")
# What of a request's headers the RPC is given as metadata.
METADATA = (TOKEN_KEY, TRANSACTION_KEY)
STATUSES = {
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Refusal(Exception):
    """What a request is answered with in place of an RPC's answer."""

    def __init__(self, status: HTTPStatus, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code.value[0], "message": shortened(message), "details": []}


class Gateway(LoopbackServer):
    """An HTTP server on loopback that asks a gRPC server."""

    def __init__(
        self, target: str, token: str | None, services: list[ServiceDescriptor], message_bytes: int, port: int
    ) -> None:
        """Asks for the token, if there is one. Raises Precondition where the port is taken."""
        limits = [(f"grpc.max_{way}_message_length", message_bytes) for way in ("receive", "send")]
        self._channel = grpc.insecure_channel(target, options=limits)
        calls = {
            f"{service.full_name}/{method.name}": Rpc(self._channel, method)
            for service in services
            for method in service.methods
        }

        class Bound(Handler):
            rpcs = calls
            expected = token
            max_bytes = message_bytes

        try:
            super().__init__(Bound, port, "gateway", "choose another with --json-port")
        except Precondition:
            self._channel.close()
            raise

    def close(self) -> None:
        """Takes no more requests; those that are going on end with the gRPC server's calls."""
        super().close()
        self._channel.close()


class Rpc:
    """One RPC, from and to JSON."""

    def __init__(self, channel: grpc.Channel, method: MethodDescriptor) -> None:
        self._request = GetMessageClass(method.input_type)
        self._takes_stream = method.client_streaming
        self.gives_stream = method.server_streaming
        kind = "_".join("stream" if many else "unary" for many in (method.client_streaming, method.server_streaming))
        self._call: Callable[..., Any] = getattr(channel, kind)(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=self._request.SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def __call__(self, body: str, metadata: list[tuple[str, str]]) -> Any:
        """The answer to a request, or to several that follow each other where the RPC takes a stream: a message or an
        iterator of them."""
        try:
            requests = [
                json_format.ParseDict(value, self._request(), ignore_unknown_fields=True) for value in _values(body)
            ]
        except (ValueError, RecursionError, json_format.ParseError) as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        if self._takes_stream:
            return self._call(iter(requests), metadata=metadata)
        if len(requests) > 1:
            raise Refusal(HTTPStatus.BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT, "more than one request in the body")
        return self._call(requests[0] if requests else self._request(), metadata=metadata)


class Handler(Connection):
    """One connection."""

    rpcs: dict[str, Rpc]
    expected: str | None
    max_bytes: int

    def do_GET(self) -> None:
        try:
            self._send_file()
        except ConnectionError:
            # The client has gone.
            self.close_connection = True

    def do_POST(self) -> None:
        try:
            self._answer()
        except ConnectionError:
            self.close_connection = True

    def _send_file(self) -> None:
        """A file of the page, which nobody needs a token for."""
        try:
            self._check_origin()
            file = page.files().get(urlsplit(self.path).path)
            if file is None:
                message = f"{self.path} is no file of the page at /; RPCs are asked for by POST"
                raise Refusal(HTTPStatus.NOT_FOUND, grpc.StatusCode.NOT_FOUND, message)
        except Refusal as refusal:
            self.close_connection = True
            self._send(refusal.status, refusal.body)
            return
        self.send_response(HTTPStatus.OK)
        for header in (page.HEADERS | {"Content-Type": file.type, "Content-Length": str(len(file.data))}).items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(file.data)

    def _answer(self) -> None:
        try:
            self._check_origin()
            self._check_token()
            body = self._body()
            rpc = self.rpcs.get(self.path.removeprefix(PREFIX)) if self.path.startswith(PREFIX) else None
            if rpc is None:
                message = (
                    f"{self.path} is no RPC; they are at {PREFIX}<service>/<method>, as {PREFIX}pfs_v2.API/ListRepo"
                )
                raise Refusal(HTTPStatus.NOT_FOUND, grpc.StatusCode.NOT_FOUND, message)
            answer = rpc(body, [(key, self.headers[key]) for key in METADATA if key in self.headers])
            if rpc.gives_stream:
                self._send_stream(answer)
            else:
                self._send(HTTPStatus.OK, _shown(answer))
        except Refusal as refusal:
            # What is left of the request is not read.
            self.close_connection = True
            self._send(refusal.status, refusal.body)
        except grpc.RpcError as error:
            told = _refusal(error)
            self._send(told.status, told.body)

    def _body(self) -> str:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,15}", length) or int(length) > self.max_bytes:
            reason = f"the request needs a Content-Length of at most {self.max_bytes}"
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, grpc.StatusCode.INVALID_ARGUMENT, reason)
        try:
            return self.rfile.read(int(length)).decode()
        except UnicodeDecodeError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error

    def _check_origin(self) -> None:
        """Pages of other sites have no business here."""
        if self.stranger:
            reason = f"a page of {self.stranger} may not ask for anything here"
            raise Refusal(HTTPStatus.FORBIDDEN, grpc.StatusCode.PERMISSION_DENIED, reason)

    def _check_token(self) -> None:
        if self.expected is not None and (reason := refusal_of(self.headers.get(TOKEN_KEY, ""), self.expected)):
            raise Refusal(HTTPStatus.UNAUTHORIZED, grpc.StatusCode.UNAUTHENTICATED, reason)

    def _send(self, status: HTTPStatus, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _send_stream(self, answer: Any) -> None:
        """A line for each message; the status is known by the first."""
        threading.Thread(target=_cancel_when_left, args=[self.connection, answer], name="gateway", daemon=True).start()
        first = next(answer, None)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            if first is not None:
                self._send_line({"result": _shown(first)})
            for message in answer:
                self._send_line({"result": _shown(message)})
        except grpc.RpcError as error:
            self._send_line({"error": _refusal(error).body})
        finally:
            answer.cancel()
        self.wfile.write(b"0\r\n\r\n")

    def _send_line(self, value: Any) -> None:
        data = json.dumps(value).encode() + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def _cancel_when_left(connection: socket.socket, call: Any) -> None:
    """Ends a call once the client has closed its connection, for there may be nothing to send that would tell."""
    while call.is_active():
        try:
            if not connection.recv(1, socket.MSG_PEEK):
                call.cancel()
            return
        except TimeoutError:
            continue
        except OSError:
            call.cancel()


def _values(text: str) -> Iterator[Any]:
    """The JSON values that follow each other in a text."""
    decoder = json.JSONDecoder()
    place = _behind_space(text, 0)
    while place < len(text):
        value, end = decoder.raw_decode(text, place)
        if not isinstance(value, dict):
            raise ValueError(f"a request is a JSON object, not {text[place:end]}")
        yield value
        place = _behind_space(text, end)


def _behind_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    assert match is not None
    return match.end()


def _shown(message: Message) -> Any:
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def _refusal(error: grpc.RpcError) -> Refusal:
    code = error.code()
    return Refusal(STATUSES.get(code, HTTPStatus.INTERNAL_SERVER_ERROR), code, error.details() or "")
