"""gRPC for one command: a server that nobody but it reaches, at a port of its own loopback."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from localpach.relay import Relay

MESSAGE_BYTES = 64 << 20


class InsideServer:
    """Serves a command what `add` adds to a server, so many calls at once."""

    def __init__(self, add: Callable[[grpc.Server], None], calls: int, listener: socket.socket) -> None:
        self._threads = ThreadPoolExecutor(calls, thread_name_prefix="inside")
        self._server = grpc.server(
            self._threads,
            maximum_concurrent_rpcs=calls,
            options=[("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.http2.bdp_probe", 0)],
        )
        add(self._server)
        # It can't be given a socket that listens. Nobody else gets into this folder, which a kill would leave if it stayed.
        with tempfile.TemporaryDirectory(prefix="localpach-") as folder:
            path = Path(folder, "socket")
            self._server.add_insecure_port(f"unix:{path}")
            self._socket = os.open(path, os.O_PATH)
        self._server.start()
        self._relay = Relay(listener, self._connect)

    def _connect(self) -> socket.socket:
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"/proc/self/fd/{self._socket}")
        return far

    def close(self) -> None:
        """Takes no more calls."""
        self._relay.close()
        self._server.stop(None)
        self._threads.shutdown(wait=False)
        os.close(self._socket)
