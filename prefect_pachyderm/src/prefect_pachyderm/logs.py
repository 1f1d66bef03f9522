"""A job's log as it comes, each line once and in order, also when the connection breaks off."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import PachydermError, pps, readable
from prefect_pachyderm.credentials import PachydermCredentials

LAST_LINES = 20
QUIET_SECONDS = 2.0
RECONNECT_SECONDS = 0.5


class LogFollower:
    """Hands each line of a job's log to `on_line` from a thread of its own, in the context of who started it.

    A log that is read again after a break starts at its beginning: what has been handed out is known by how often each
    message has been seen, which holds for several workers whose lines interleave differently the second time.
    """

    def __init__(
        self, credentials: PachydermCredentials, job: pps_proto.Job, on_line: Callable[[pps_proto.LogMessage], None]
    ) -> None:
        self._credentials = credentials
        self._job = job
        self._on_line = on_line
        self._seen: Counter[bytes] = Counter()
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._last_at = time.monotonic()
        self._over = threading.Event()
        self._stream: Any = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._follow,), daemon=True)
        self._thread.start()

    def finish(self) -> list[str]:
        """The last lines, once the log of the ended job has been read: it ends, or says no more for a while."""
        self._last_at = time.monotonic()
        while self._thread.is_alive() and time.monotonic() - self._last_at < QUIET_SECONDS:
            self._thread.join(timeout=0.1)
        self.stop()
        return list(self._last)

    def stop(self) -> None:
        """Ends the thread."""
        self._over.set()
        if self._stream is not None:
            self._stream.cancel()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                with readable("Reading the job's log"):
                    self._read()
                return
            except PachydermError as error:
                if not error.transient:
                    return
            self._over.wait(RECONNECT_SECONDS)

    def _read(self) -> None:
        request = pps_proto.GetLogsRequest(job=self._job, follow=True)
        stream = self._stream = pps(self._credentials.get_client()).GetLogs(request)
        if self._over.is_set():
            stream.cancel()
        again: Counter[bytes] = Counter()
        for message in stream:
            key = message.SerializeToString()
            again[key] += 1
            if again[key] <= self._seen[key]:
                continue
            self._seen[key] += 1
            self._last_at = time.monotonic()
            line = message.message.rstrip("\n")
            if message.user or line.startswith("errored"):
                self._last.append(line)
            self._on_line(message)
