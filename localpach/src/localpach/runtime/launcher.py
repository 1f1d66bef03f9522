"""Starting commands: a program that is already there forks for each, which takes a tenth of starting Python anew."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

STARTER = Path(__file__).with_name("starter.py")


class Keeper:
    """Who keeps a running command, by a descriptor that stands for it even when its number has gone to another process."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self._handle = handle
        self._lock = threading.Lock()

    def wait(self, timeout: float | None) -> bool:
        """Whether it has ended, within `timeout` seconds."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def kill(self) -> None:
        """Ends it and all that it keeps."""
        with self._lock:
            if self._handle >= 0:
                try:
                    signal.pidfd_send_signal(self._handle, signal.SIGTERM)
                except ProcessLookupError:
                    return

    def close(self) -> None:
        """Forgets it, once it has ended."""
        with self._lock:
            os.close(self._handle)
            self._handle = -1


class Launcher:
    """Starts commands. The program behind it ends with this process, and all that it keeps with it."""

    def __init__(self, stage: list[str]) -> None:
        """`stage` is a command to run that program in."""
        self._stage = stage
        self._lock = threading.Lock()
        self._control: socket.socket | None = None

    def start(self, request: dict[str, object], descriptors: list[int]) -> Keeper:
        """Starts one; starter.py says what is in a request, and which descriptors come with it."""
        # Not in the message, which may be no longer than the kernel's buffers.
        request_file = os.memfd_create("request")
        try:
            with os.fdopen(os.dup(request_file), "w") as stream:
                json.dump(request, stream)
            with self._lock:
                try:
                    return self._ask([request_file, *descriptors])
                except (BrokenPipeError, ConnectionResetError):
                    # It was killed; the commands of then are gone with it.
                    self._control = None
                    return self._ask([request_file, *descriptors])
        finally:
            os.close(request_file)

    def _ask(self, descriptors: list[int]) -> Keeper:
        if self._control is None:
            self._control = self._open()
        socket.send_fds(self._control, [b"!"], descriptors)
        pid, handles, _, _ = socket.recv_fds(self._control, 16, 1)
        if not pid:
            raise BrokenPipeError
        os.set_inheritable(handles[0], False)
        return Keeper(int(pid), handles[0])

    def _open(self) -> socket.socket:
        """Starts the program; gives the socket through which it takes requests."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = [sys.executable, "-I", "-S", str(STARTER)]
        with theirs:
            subprocess.Popen(
                [*self._stage, *program, str(theirs.fileno()), *(["staged"] if self._stage else [])],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Whoever sees a command's parents finds nothing of ours there.
                env={},
                cwd="/",
                # A signal to the server's group, such as Ctrl-C in a terminal, is the server's to answer.
                start_new_session=True,
            )
        return ours
