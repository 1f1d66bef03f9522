"""A job's log as it comes, each line once and in order, whatever happens to the connection or to who takes the lines."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import Logger, pps, readable
from prefect_pachyderm.credentials import PachydermCredentials

LAST_LINES = 20
QUIET_SECONDS = 2.0
# How long the end of a log is asked for that can't be read.
LAST_CHANCE_SECONDS = 10.0
RECONNECT_SECONDS = 0.5
# A log that can't be read for longer is told of; before that the job may be starting.
PATIENCE_SECONDS = 10.0

Take = Callable[[pps_proto.LogMessage], None]


class LogFollower:
    """Hands each message of a job's log to all `takers` from a thread of its own, in the context of who started it.

    It goes on until it is told that the job is over, by `finish` or `stop`. A log that is read again after a break starts at its
    beginning: what has been handed out is known by how often each message has been seen, which holds for several workers whose
    lines interleave differently the second time. A taker that fails is told of once, and gets the next message all the same.
    """

    def __init__(
        self, credentials: PachydermCredentials, job: pps_proto.Job, takers: Sequence[Take], logger: Logger
    ) -> None:
        self._credentials = credentials
        self._job = job
        self._takers = takers
        self._logger = logger
        self._told: set[str] = set()
        self._seen: Counter[bytes] = Counter()
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._last_at = time.monotonic()
        self._failing_since: float | None = None
        self._job_is_over = threading.Event()
        self._over = threading.Event()
        self._stream: Any = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._follow,), daemon=True)
        self._thread.start()

    def finish(self) -> list[str]:
        """The last lines, once the log of the ended job has been read: it ends, or says no more for a while."""
        began = self._last_at = time.monotonic()
        self._job_is_over.set()
        while self._thread.is_alive():
            now = time.monotonic()
            quiet = now - self._last_at > QUIET_SECONDS
            if quiet and (self._failing_since is None or now - began > LAST_CHANCE_SECONDS):
                break
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
                self._failing_since = None
                if self._job_is_over.is_set():
                    return
            except BaseException as error:
                now = time.monotonic()
                self._failing_since = self._failing_since or now
                if now - self._failing_since > PATIENCE_SECONDS and not self._over.is_set():
                    self._tell_once("log", f"{error} The job goes on, and its log is asked for again and again.")
            self._over.wait(RECONNECT_SECONDS)

    def _read(self) -> None:
        request = pps_proto.GetLogsRequest(job=self._job, follow=True)
        stream = self._stream = pps(self._credentials.get_client()).GetLogs(request)
        if self._over.is_set():
            stream.cancel()
        again: Counter[bytes] = Counter()
        for message in stream:
            self._failing_since = None
            key = message.SerializeToString()
            again[key] += 1
            if again[key] <= self._seen[key]:
                continue
            self._seen[key] += 1
            self._last_at = time.monotonic()
            line = message.message.rstrip("\n")
            if message.user or line.startswith("errored"):
                self._last.append(line)
            self._hand_out(message)

    def _hand_out(self, message: pps_proto.LogMessage) -> None:
        for take in self._takers:
            try:
                take(message)
            except BaseException as error:
                # Rich, which prints for Prefect, answers a terminal that is gone with SystemExit. Whatever it is, this thread
                # is ours, and nobody cancels it.
                self._tell_once(
                    repr(take), f"A line of the job's log can't be handed on ({error!r}); the next ones are."
                )

    def _tell_once(self, what: str, sentence: str) -> None:
        if what not in self._told:
            self._told.add(what)
            with suppress(BaseException):
                self._logger.warning("%s", sentence)
