"""The cores of this machine, which the datums of all jobs share."""

from __future__ import annotations

import threading
from collections import deque


class Turn:
    """A place in the queue for a core; as a block it lasts from when a core is free until the block's end."""

    def __init__(self, cores: Cores, job: int) -> None:
        self.job = job
        self.come = threading.Event()
        self._cores = cores

    def __enter__(self) -> None:
        self.come.wait()

    def __exit__(self, *exception: object) -> None:
        self._cores.leave(self)


class Cores:
    """Gives cores to who asks, in the order in which they ask."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._busy: list[Turn] = []
        self._queue: deque[Turn] = deque()
        self._lock = threading.Lock()

    def turn(self, job: int) -> Turn:
        """A new place in the queue, for a job."""
        turn = Turn(self, job)
        with self._lock:
            self._queue.append(turn)
            self._advance()
        return turn

    def leave(self, turn: Turn) -> None:
        """Gives up a core, or the place in the queue."""
        with self._lock:
            (self._busy if turn in self._busy else self._queue).remove(turn)
            self._advance()

    def _advance(self) -> None:
        while self._queue and len(self._busy) < self._count:
            self._busy.append(self._queue.popleft())
            self._busy[-1].come.set()

    def let_go(self, job: int) -> None:
        """Ends the waiting of a job that has nothing to wait for any more, without a core."""
        with self._lock:
            for turn in self._queue:
                if turn.job == job:
                    turn.come.set()

    def before(self, job: int) -> int:
        """How many other jobs have a core, or get one earlier, while this one waits for its first; else 0."""
        with self._lock:
            others: set[int] = set()
            for turn in (*self._busy, *self._queue):
                if turn.job == job:
                    return 0 if turn.come.is_set() else len(others)
                others.add(turn.job)
        return 0
