"""A container's own loopback: what is served to its command alone listens there, and others are brought to where the command
does. A command that is served waits at a gate, a named pipe, until what it is served listens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from localpach.errors import Refused
from localpach.runtime.starter import CLONE_NEWNET, DIAL_SECONDS, enter

# Where a container has its gate.
GATE = "/run/localpach"
WAIT = ["sh", "-c", 'read -r _ <"$0" && exec "$@"', GATE]


class Network:
    """The network of a running container."""

    def __init__(self, path: str) -> None:
        """`path` is where the daemon keeps it.

        Raises:
            Refused: it is not ours to enter.
        """
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise Refused(
                "s3 inputs, s3_out, datum_batching, spouts and services in Docker's containers need a daemon of this machine"
                f" and a localpach that runs as root ({path or 'the container has no network of its own'}:"
                f" {error.strerror}): build the image with `localpach image build`"
            ) from error

    def listen(self, port: int) -> socket.socket:
        """A socket that listens at a port."""
        return self._within(lambda: socket.create_server(("127.0.0.1", port)))

    def connect(self, port: int) -> socket.socket:
        """A connection to a port; an OSError where nobody listens."""
        connection = self._within(lambda: socket.create_connection(("127.0.0.1", port), DIAL_SECONDS))
        connection.setblocking(True)
        return connection

    def close(self) -> None:
        """Lets go of it; sockets made in it stay."""
        os.close(self._handle)

    def _within(self, make: Callable[[], socket.socket]) -> socket.socket:
        def enter_and_make() -> socket.socket:
            enter(self._handle, CLONE_NEWNET)
            return make()

        # A thread that has entered it can't be used for anything else.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter_and_make).result()


def make_gate(path: Path) -> None:
    """A gate, closed."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    # Whoever the command is.
    path.chmod(0o644)


def open_gate(path: Path) -> int:
    """Lets the command begin; gives what is to be closed once that has ended."""
    # As a reader, too: one that has yet to come to it finds it open.
    handle = os.open(path, os.O_RDWR)
    os.write(handle, b"\n")
    return handle
