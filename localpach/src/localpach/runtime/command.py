"""One running command: what it says, what it takes, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from localpach.runtime.interface import TIMED_OUT, Ended, OnLine, RunSpec, Serving
from localpach.runtime.launcher import Launcher
from localpach.runtime.machine import memory_below, memory_of_machine

POLL_SECONDS = 0.1
LINE_BYTES = 1 << 20
NOT_RUN = 127
# How much of a disk is left to the others.
SPARE_BYTES = 512 << 20
SPARE_PART = 0.05
# What bubblewrap says in place of a command that it can't run.
_CANNOT_RUN = re.compile(r"bwrap: (execvp |Can't chdir to )(.*)")
_ITS_WORDS = "bwrap: "

log = logging.getLogger("localpach")


class Command:
    """One running command. It is ended when it takes more memory than its limit, or the last of the disk."""

    def __init__(self, launcher: Launcher, request: dict[str, object], spec: RunSpec, on_line: OnLine) -> None:
        self._timeout = spec.timeout
        self._memory = spec.resources.memory
        self._folder = spec.layout.view
        self._on_line = on_line
        self._problem = ""
        self._last = ""
        self._serving: list[Serving] = []
        self._dialling = threading.Lock()
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self._status, status = os.pipe()
        self._receiver, taker = socket.socketpair()
        try:
            given = [theirs_in, theirs_out, status, *([taker.fileno()] if spec.serve or spec.reach else [])]
            self._keeper = launcher.start(request, given)
            self.pid = self._keeper.pid
        except BaseException:
            for descriptor in (ours_in, ours_out, self._status):
                os.close(descriptor)
            self._receiver.close()
            raise
        finally:
            for descriptor in (theirs_in, theirs_out, status):
                os.close(descriptor)
            taker.close()
        threading.Thread(target=_feed, args=(ours_in, spec.stdin.encode()), daemon=True).start()
        if spec.serve:
            self._serve(spec.serve)
        if spec.reach:
            self._serving.append(spec.reach(self._dial))
        self._reader = threading.Thread(target=self._read, args=(ours_out,), daemon=True)
        self._reader.start()

    def _serve(self, serve: Callable[[socket.socket], Serving]) -> None:
        """Serves the command what it is given alone, unless its sandbox can't be made."""
        _, descriptors, _, _ = socket.recv_fds(self._receiver, 1, 1)
        if descriptors:
            self._serving.append(serve(socket.socket(fileno=descriptors[0])))

    def _dial(self) -> socket.socket:
        """A connection to where the command listens, if it does."""
        with self._dialling:
            self._receiver.send(b"!")
            _, descriptors, _, _ = socket.recv_fds(self._receiver, 1, 1)
        if not descriptors:
            raise ConnectionRefusedError
        return socket.socket(fileno=descriptors[0])

    def kill(self) -> None:
        """Ends the command and all that it started."""
        self._keeper.kill()

    def wait(self) -> Ended:
        """Waits for the end; a command past its time or means is ended."""
        start = time.monotonic()
        left = self._timeout
        while not self._keeper.wait(POLL_SECONDS if left is None else max(0, min(left, POLL_SECONDS))):
            if self._timeout is not None:
                left = self._timeout - (time.monotonic() - start)
            if not self._problem and (problem := self._excess(left)):
                self._problem = problem
                self.kill()
        self._keeper.close()
        for each in self._serving:
            each.close()
        self._receiver.close()
        self._reader.join()
        with os.fdopen(self._status) as stream:
            # What was killed may have said a part of a line.
            told = [json.loads(line) for line in stream if line.endswith("\n")]
        return self._ended([each["exit-code"] for each in told if "exit-code" in each])

    def _excess(self, left: float | None) -> str:
        """Why the command must not go on."""
        if left is not None and left <= 0:
            return TIMED_OUT
        limit = self._memory or memory_of_machine()
        if memory_below(self.pid) > limit:
            held = f"its limit of {limit} bytes" if self._memory else f"the {limit} bytes that this machine can spare"
            return f"out of memory: it held more than {held}"
        disk = shutil.disk_usage(self._folder)
        if disk.free < min(SPARE_BYTES, disk.total * SPARE_PART):
            return f"the disk of the data directory is full: {disk.free >> 20} MiB are left"
        return ""

    def _ended(self, codes: list[int]) -> Ended:
        if self._problem:
            return Ended(problem=self._problem)
        if codes:
            if self._last:
                self._say(self._last)
            return Ended(code=codes[0])
        if not self._last:
            return Ended(problem="it was killed before it ended")
        if match := _CANNOT_RUN.fullmatch(self._last):
            self._say(f"can't run {'' if match[1] == 'execvp ' else 'in '}{match[2]}")
            return Ended(code=NOT_RUN)
        return Ended(problem=f"its sandbox could not be made: {self._last.removeprefix(_ITS_WORDS)}")

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as stream:
            while data := stream.readline(LINE_BYTES):
                lines = [self._last] if self._last else []
                line = data.decode(errors="replace").rstrip("\n")
                # Whose it is shows at the end.
                self._last = line if line.startswith(_ITS_WORDS) else ""
                for each in lines + [line] * (not self._last):
                    self._say(each)

    def _say(self, line: str) -> None:
        try:
            self._on_line(line)
        except OSError as error:
            # A full disk loses lines of the log; the command must not stand still for it.
            log.warning("a line of a log is lost: %s", error)


def _feed(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(data)
