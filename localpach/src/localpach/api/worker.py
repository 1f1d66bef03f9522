"""What a command with `datum_batching` finds at its worker's port: the RPC that brings the next datum."""

from __future__ import annotations

import socket

import grpc

from localpach.api.dispatch import Unknown
from localpach.api.inside import InsideServer
from localpach.pps.tools import NextDatum
from localpach.proto import worker_pb2

# A command has one datum at a time.
CALLS = 2


def serve_worker(next_datum: NextDatum, listener: socket.socket) -> InsideServer:
    """Serves `pachyderm.worker.Worker` to one command."""

    def answer(request: worker_pb2.NextDatumRequest, call: grpc.ServicerContext) -> worker_pb2.NextDatumResponse:
        env = next_datum(request.error, call)
        return worker_pb2.NextDatumResponse(env=[f"{name}={value}" for name, value in env.items()])

    def add(server: grpc.Server) -> None:
        method = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=worker_pb2.NextDatumRequest.FromString,
            response_serializer=worker_pb2.NextDatumResponse.SerializeToString,
        )
        service = worker_pb2.DESCRIPTOR.services_by_name["Worker"].full_name
        handler = grpc.method_handlers_generic_handler(service, {"NextDatum": method})
        server.add_generic_rpc_handlers((handler, Unknown()))

    return InsideServer(add, CALLS, listener)
