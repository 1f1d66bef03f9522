"""A sign of life for who looks at a terminal, whenever nothing else has been said for a while."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

SECONDS = 8.0


class SignsOfLife(logging.Handler):
    """During the block, says every few seconds what goes on, unless Prefect logs something."""

    def __init__(self, what: str, seconds: float = SECONDS) -> None:
        super().__init__()
        self._what = what
        self._seconds = seconds
        self._since = self._said = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> SignsOfLife:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        logging.getLogger("prefect").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes note that something was said."""
        self._what = "the last line"
        self._since = self._said = time.monotonic()

    def say(self, line: str) -> None:
        """Says what begins now."""
        print(line, flush=True)
        self._what = "the last line"
        self._since = self._said = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(self._seconds / 8):
            # Prefect, which may be imported only meanwhile, sets up all logging anew.
            logging.getLogger("prefect").addHandler(self)
            now = time.monotonic()
            if now - self._said >= self._seconds:
                self._said = now
                print(f"… it goes on, {now - self._since:.0f} s since {self._what}", flush=True)
