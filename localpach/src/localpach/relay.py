"""Carries connections on, from a socket that listens to one that somebody else serves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

CONNECTIONS = 64
PIECE_BYTES = 1 << 16


class Relay:
    """Each connection is carried on to what `connect` opens; more than a few at once are closed."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._listener = listener
        self._connect = connect
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_closing = False
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def close(self) -> None:
        """Takes no more connections, and ends those that there are."""
        with self._lock:
            self._is_closing = True
            for each in (self._listener, *self._open):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    near, _ = self._listener.accept()
                except OSError:
                    return
                if not self._begin(near):
                    near.close()

    def _begin(self, near: socket.socket) -> bool:
        """Starts to carry on what comes, unless it is too much."""
        with self._lock:
            if self._is_closing or len(self._open) >= 2 * CONNECTIONS:
                return False
            try:
                far = self._connect()
            except OSError:
                return False
            self._open |= {near, far}
        threading.Thread(target=self._carry, args=(near, far), name="relay", daemon=True).start()
        return True

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=_pump, args=(far, near), name="relay", daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
            near.close()
            far.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Sends on what comes, until no more does."""
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    for each, way in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):
            each.shutdown(way)
