"""HTTP on loopback: a server with a thread for each connection, and what all connections have in common."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localpach.errors import Precondition

IDLE_SECONDS = 10
# How often it looks whether it shall end.
LOOK_SECONDS = 0.2
LOOPBACK = ("127.0.0.1", "localhost")


class Connection(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # Else what follows a head waits until the client has acknowledged that, which takes it 40 ms.
    disable_nagle_algorithm = True

    @property
    def stranger(self) -> str:
        """The site of whose page a request is, by whatever name it found this machine; empty for all others."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        name = host.rpartition(":")[0] or host
        if name not in LOOPBACK or origin not in (None, f"http://{host}"):
            return origin or host or "nowhere"
        return ""

    def log_message(self, *args: object) -> None: ...


class LoopbackServer:
    """Serves connections of a kind on one port."""

    def __init__(self, connection: type[Connection], at: int | socket.socket, name: str, advice: str = "") -> None:
        """At a port, or a socket that listens; `name` is that of the thread. Raises Precondition, with advice, where the port
        is taken."""
        try:
            self._http = _listening(at, connection) if isinstance(at, socket.socket) else _bound(at, connection)
        except OSError as error:
            raise Precondition(f"port {at} of 127.0.0.1 is taken; {advice}") from error
        self._thread = threading.Thread(target=self._http.serve_forever, args=[LOOK_SECONDS], name=name, daemon=True)
        self.address = f"127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Takes no more requests."""
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.server_close()


def _bound(port: int, connection: type[Connection]) -> ThreadingHTTPServer:
    return ThreadingHTTPServer(("127.0.0.1", port), connection)


def _listening(listener: socket.socket, connection: type[Connection]) -> ThreadingHTTPServer:
    made = ThreadingHTTPServer(listener.getsockname(), connection, bind_and_activate=False)
    made.socket.close()
    made.socket = listener
    return made
