"""What time it is. Whatever is kept, or waits, has its time from here."""

from __future__ import annotations

import time


def now() -> int:
    """Microseconds since 1970, by the system's clock, which may be set."""
    return now_ns() // 1000


def now_ns() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()


def elapsed() -> float:
    """Seconds since some moment, by a clock that nobody sets."""
    return time.monotonic()
