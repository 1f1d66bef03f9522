"""What a command with `datum_batching` finds at its worker's port: the RPC that brings the next datum."""

from __future__ import annotations

import shutil
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from localpach.api.dispatch import Unknown
from localpach.pps.tools import NextDatum
from localpach.proto import worker_pb2
from localpach.relay import Relay

# A command has one datum at a time.
CALLS = 2


class WorkerServer:
    """`pachyderm.worker.Worker`, for one command."""

    def __init__(self, next_datum: NextDatum, listener: socket.socket) -> None:
        def answer(request: worker_pb2.NextDatumRequest, call: grpc.ServicerContext) -> worker_pb2.NextDatumResponse:
            env = next_datum(request.error)
            return worker_pb2.NextDatumResponse(env=[f"{name}={value}" for name, value in env.items()])

        method = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=worker_pb2.NextDatumRequest.FromString,
            response_serializer=worker_pb2.NextDatumResponse.SerializeToString,
        )
        service = worker_pb2.DESCRIPTOR.services_by_name["Worker"].full_name
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix="next datum")
        self._server = grpc.server(self._threads, maximum_concurrent_rpcs=CALLS)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"NextDatum": method}), Unknown())
        )
        # It can't be given a socket that listens; nobody else gets into this folder.
        self._folder = tempfile.mkdtemp(prefix="localpach-")
        self._path = str(Path(self._folder, "worker"))
        self._server.add_insecure_port(f"unix:{self._path}")
        self._server.start()
        self._relay = Relay(listener, self._connect)

    def _connect(self) -> socket.socket:
        far = socket.socket(socket.AF_UNIX)
        far.connect(self._path)
        return far

    def close(self) -> None:
        """Takes no more calls."""
        self._relay.close()
        self._server.stop(None)
        self._threads.shutdown(wait=False)
        shutil.rmtree(self._folder, ignore_errors=True)
