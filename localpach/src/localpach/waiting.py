"""Waiting for what others bring: a bulletin with topics, deadlines, and threads that work whenever there is something to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from functools import partial
from typing import Protocol, TypeVar

from localpach.clock import elapsed, now
from localpach.errors import LocalpachError
from localpach.faults import fault_of_disk

T = TypeVar("T")
# What is done for the object of that name in such a block is no reason to leave the others.
Alone = Callable[[str], AbstractContextManager[None]]

RETRY_SECONDS = 1.0
LOOK_AT_CLOCK_SECONDS = 60.0

log = logging.getLogger("localpach")


class Topic(Enum):
    """What something is told of."""

    COMMITS = auto()
    FINISHING = auto()
    JOBS = auto()
    WORK = auto()
    LOGS = auto()


class Cancelled(Exception):
    """The client that waited has gone."""


class Call(Protocol):
    """What waiting needs of the call that it is done for."""

    def is_active(self) -> bool: ...

    def add_callback(self, callback: Callable[[], None]) -> bool: ...


class Deadline:
    """A moment of the monotonic clock; without seconds it never comes."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else elapsed() + seconds

    @property
    def left(self) -> float | None:
        """Seconds until then, at least 0."""
        return None if self._at is None else max(self._at - elapsed(), 0.0)

    @property
    def is_over(self) -> bool:
        return self.left == 0.0


class Appointment(Deadline):
    """A moment of the system's clock, too, whichever comes first: that clock may be set, and goes on while the machine
    sleeps. `left` is how long to wait at most before looking at it again."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__(seconds)
        self._moment = now() + (seconds or 0.0) * 1_000_000

    @property
    def left(self) -> float | None:
        left = super().left
        if left is None:
            return None
        return min(left, max((self._moment - now()) / 1_000_000, 0.0), LOOK_AT_CLOCK_SECONDS)


class Bulletin:
    """Who waits for a topic looks again when it is told of. `after_commit` runs a call once the open write is durable, or
    at once where none is open."""

    def __init__(self, after_commit: Callable[[Callable[[], None]], None]) -> None:
        self._after_commit = after_commit
        self._changed = {topic: threading.Condition() for topic in Topic}
        self._editions = dict.fromkeys(Topic, 0)
        # The same call for each topic, so that a write makes it once.
        self._calls = {topic: partial(self._publish, topic) for topic in Topic}

    def tell(self, topic: Topic) -> None:
        """Has those look who wait for the topic, once the open write is durable."""
        self._after_commit(self._calls[topic])

    def _publish(self, topic: Topic) -> None:
        with self._changed[topic]:
            self._editions[topic] += 1
            self._changed[topic].notify_all()

    def wait(
        self, topic: Topic, look: Callable[[], T | None], call: Call | None = None, timeout: float | None = None
    ) -> T | None:
        """Calls `look` now and whenever the topic is told of, until it gives something; None when `timeout` seconds pass.

        Raises:
            Cancelled: `call` has ended.
        """
        deadline = Deadline(timeout)
        if call is not None:
            self.tell_at_end(call, topic)
        while True:
            edition = self.edition(topic)
            found = look()
            if found is not None or deadline.is_over:
                return found
            self.wait_past(topic, edition, deadline)
            if call is not None and not call.is_active():
                raise Cancelled

    def tell_at_end(self, call: Call, topic: Topic) -> None:
        """Has those look who wait for the topic when a call ends, for they may wait for its sake."""
        call.add_callback(self._calls[topic])

    def edition(self, topic: Topic) -> int:
        """Which changes each time that the topic is told of."""
        return self._editions[topic]

    def wait_past(self, topic: Topic, edition: int, deadline: Deadline) -> None:
        """Blocks until the topic has been told of since that edition, or the deadline."""
        with self._changed[topic]:
            while self._editions[topic] == edition and not deadline.is_over:
                self._changed[topic].wait(deadline.left)


class Loop:
    """A thread that takes a step whenever its topic is told of. The step gives the seconds after which to take the next
    one in any case, or None. What a step raises is logged, and the step is taken again.

    A step takes its objects one by one, each `alone`: what is wrong with one of them is no reason to leave the others.
    """

    def __init__(self, bulletin: Bulletin, topic: Topic, step: Callable[[], float | None], name: str) -> None:
        self._bulletin = bulletin
        self._topic = topic
        self._step = step
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._faults: set[str] = set()
        self._known_faults: set[str] = set()
        self.is_closing = False

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while True:
            # Taken first, so that what is told of during the step makes for another one, and the end is not missed.
            edition = self._bulletin.edition(self._topic)
            if self.is_closing:
                return
            self._bulletin.wait_past(self._topic, edition, self.turn())

    def turn(self) -> Appointment:
        """Takes a step; gives when to take the next one in any case."""
        seconds = self._take_step()
        if self._faults:
            seconds = RETRY_SECONDS if seconds is None else min(seconds, RETRY_SECONDS)
        self._known_faults, self._faults = self._faults, set()
        return Appointment(seconds)

    def _take_step(self) -> float | None:
        try:
            return self._step()
        except Exception as error:
            if not self.is_closing:
                told = fault_of_disk(error)
                text = f": {told.message}" if told else ""
                log.error("unexpected error in the %s; it goes on%s", self._thread.name, text, exc_info=told is None)
            return RETRY_SECONDS

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """What is done for one object of a step. What it raises is logged, once as long as it lasts, and the step goes on;
        the next one comes soon."""
        try:
            yield
        except Exception as error:
            told = error if isinstance(error, LocalpachError) else fault_of_disk(error)
            fault = f"{name}: {error if told is None else told.message}"
            self._faults.add(fault)
            if not self.is_closing and fault not in self._known_faults:
                log.error("%s, %s", self._thread.name, fault, exc_info=told is None)

    def close(self) -> None:
        """Ends the thread once the step that it takes is over."""
        self.is_closing = True
        self._bulletin.tell(self._topic)
        if self._thread.is_alive():
            self._thread.join()
