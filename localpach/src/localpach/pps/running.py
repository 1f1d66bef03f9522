"""The jobs that are being done right now, by number."""

from __future__ import annotations

import threading
from typing import Protocol

from localpach.pps.records import RunningDatum


class Work(Protocol):
    """A job being done."""

    def kill(self) -> None:
        """Ends what runs; nothing more is written."""

    def restart(self, filters: list[str]) -> bool:
        """Starts the running datums that have an input of each path or hash once more; says whether there are any."""

    def retire(self) -> None:
        """Ends what runs for ever; the job has gone well."""

    def running(self) -> list[RunningDatum]:
        """What runs right now."""


class Running:
    """Who does which job."""

    def __init__(self) -> None:
        self._work: dict[int, Work] = {}
        self._lock = threading.Lock()

    def add(self, num: int, work: Work) -> bool:
        """Takes note that a job is being done; False where it is already."""
        with self._lock:
            return self._work.setdefault(num, work) is work

    def remove(self, num: int) -> None:
        with self._lock:
            self._work.pop(num, None)

    def has(self, num: int) -> bool:
        return num in self._work

    @property
    def is_empty(self) -> bool:
        """Whether no job is being done."""
        return not self._work

    def kill(self, num: int) -> None:
        """Ends what runs of a job."""
        work = self._work.get(num)
        if work is not None:
            work.kill()

    def retire(self, num: int) -> None:
        """Ends a job that runs until a newer one comes."""
        work = self._work.get(num)
        if work is not None:
            work.retire()

    def kill_all(self) -> None:
        with self._lock:
            works = list(self._work.values())
        for work in works:
            work.kill()

    def restart(self, num: int, filters: list[str]) -> bool:
        """Starts running datums of a job once more; says whether there are any."""
        work = self._work.get(num)
        return work is not None and work.restart(filters)

    def datums(self, num: int) -> list[RunningDatum]:
        """What runs of a job right now."""
        work = self._work.get(num)
        return work.running() if work is not None else []
