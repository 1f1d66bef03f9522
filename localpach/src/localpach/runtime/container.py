"""One command in a container, from its start until the container is removed. All that the `docker` library raises is an
OSError, as its requests are.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from localpach.runtime.interface import TIMED_OUT, Ended, OnLine, RunSpec
from localpach.runtime.network import Network, open_gate

if TYPE_CHECKING:
    from docker import APIClient

API_SECONDS = 60
LINE_BYTES = 1 << 20
KILLED = 137
NOT_RUN = 127

log = logging.getLogger("localpach")


class Container:
    """One command running in a container."""

    def __init__(self, api: APIClient, settings: dict[str, Any], spec: RunSpec, on_line: OnLine) -> None:
        self._api = api
        self._timeout = spec.timeout
        self._memory = spec.resources.memory
        self._problem = ""
        self._is_killed = False
        self._closing = ExitStack()
        self._id = api.create_container(**settings)["Id"]
        try:
            self._stream = api.attach(self._id, stream=True, demux=True)
            self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
            self._reader.start()
            if spec.stdin:
                pipe = api.attach_socket(self._id, params={"stdin": 1, "stream": 1})
                threading.Thread(target=_feed, args=(pipe, spec.stdin.encode()), daemon=True).start()
            self._failure = self._launch(on_line)
            if (spec.serve or spec.reach) and self._failure is None:
                self._connect(spec)
        except BaseException:
            self._remove()
            raise

    def _launch(self, on_line: OnLine) -> Ended | None:
        """Starts the container; gives the end of one whose command can't be run."""
        from docker.errors import APIError  # noqa: PLC0415

        try:
            self._api.start(self._id)
        except APIError as error:
            problem = re.search(r"exec: (\"?.*)", error.explanation or "")
            if problem is None:
                raise
            on_line(f"can't run {problem[1]}")
            return Ended(code=NOT_RUN)
        return None

    def _connect(self, spec: RunSpec) -> None:
        """Serves the command, or brings others to it."""
        path = self._api.inspect_container(self._id)["NetworkSettings"]["SandboxKey"]
        network = self._closing.enter_context(closing(Network(path)))
        if spec.serve:
            self._closing.enter_context(closing(spec.serve(network.listen(spec.port))))
            self._closing.callback(os.close, open_gate(spec.layout.gate))
        if spec.reach:
            self._closing.enter_context(closing(spec.reach(partial(network.connect, spec.reach_port))))

    def kill(self) -> None:
        """Ends the command and all that it started."""
        self._is_killed = True
        with suppress(OSError):
            self._api.kill(self._id)

    def wait(self) -> Ended:
        """Waits for the end and removes the container."""
        try:
            if self._failure is not None:
                return self._failure
            code = self._wait()
            self._reader.join()
            state = self._api.inspect_container(self._id)["State"]
            if self._problem:
                return Ended(problem=self._problem)
            if self._is_killed:
                return Ended(problem="it was killed before it ended")
            if state["OOMKilled"] and code:
                limit = f"its limit of {self._memory} bytes" if self._memory else "what this machine has"
                return Ended(problem=f"out of memory: it was killed for holding more than {limit}")
            if code == KILLED:
                return Ended(problem="its container was killed from outside")
            return Ended(code=code)
        except OSError as error:
            if getattr(getattr(error, "response", None), "status_code", None) == 404:
                return Ended(problem="its container was removed from outside")
            return Ended(problem=f"Docker's daemon does not answer any more: {sentence(error)}")
        finally:
            self._remove()

    def _wait(self) -> int:
        from requests import ConnectionError, ReadTimeout  # noqa: PLC0415

        start = time.monotonic()
        try:
            return int(self._api.wait(self._id, timeout=self._timeout)["StatusCode"])
        except (ConnectionError, ReadTimeout):
            if self._timeout is None or time.monotonic() - start < self._timeout:
                raise
        self._problem = TIMED_OUT
        self.kill()
        return int(self._api.wait(self._id, timeout=API_SECONDS)["StatusCode"])

    def _read(self, on_line: OnLine) -> None:
        try:
            for line in _lines(self._stream):
                on_line(line)
        except OSError as error:
            log.warning("the log of a container breaks off: %s", error)

    def _remove(self) -> None:
        self._closing.close()
        with suppress(OSError):
            self._api.remove_container(self._id, force=True, v=True)


def _lines(frames: Iterator[tuple[bytes | None, bytes | None]]) -> Iterator[str]:
    """The lines of both streams as they come; very long ones in pieces."""
    left = [b"", b""]
    for frame in frames:
        for number, data in enumerate(frame):
            *whole, rest = (left[number] + (data or b"")).split(b"\n")
            if len(rest) >= LINE_BYTES:
                whole, rest = [*whole, rest], b""
            left[number] = rest
            yield from (line.decode(errors="replace") for line in whole)
    yield from (line.decode(errors="replace") for line in left if line)


def _feed(pipe: Any, data: bytes) -> None:
    """Writes a container's input and ends it."""
    with suppress(OSError), closing(pipe):
        pipe._sock.sendall(data)
        pipe._sock.shutdown(socket.SHUT_WR)


def sentence(error: Exception) -> str:
    """The daemon's own words, or the system's."""
    text = getattr(error, "explanation", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().splitlines()[-1]
