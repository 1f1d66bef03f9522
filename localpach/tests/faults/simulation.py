"""localpach's parts in one thread, on a machine that is played: a seed decides whose turn it is, and when something breaks.

Time passes when nobody has anything to do; threads take turns; commands are functions; a kill leaves what is in the data
directory at that moment; the disk is full now and then.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import random
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from localpach import clock, waiting
from localpach.api.bodies import Bodies
from localpach.api.served import served
from localpach.pfs.service import Pfs
from localpach.pps import controller, worker
from localpach.pps.service import Pps
from localpach.runtime.choice import Runtimes
from localpach.runtime.interface import Ended, OnLine, RunSpec
from localpach.storage.store import Store, Transaction
from localpach.waiting import Appointment, Bulletin, Loop, Topic
from tests.pps.bench import Act, Run

# Commands that run within one another's time.
DEPTH = 6
DISK_CALLS = ("replace", "link", "fsync", "unlink", "mkdir")
TURN_SECONDS = 0.001


class Killed(BaseException):
    """The server is gone."""


class Time:
    """Stands where the system's clocks do."""

    def __init__(self, seconds: int) -> None:
        self._wall = seconds * 10**9
        self._elapsed = 0

    def time_ns(self) -> int:
        return self._wall

    def monotonic(self) -> float:
        return self._elapsed / 10**9

    def forward(self, seconds: float) -> None:
        self._elapsed += math.ceil(seconds * 10**9)
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Sets the clock on the wall that much later, or earlier."""
        self._wall += math.ceil(seconds * 10**9)


class Turns(Protocol):
    """Who takes turns."""

    def left(self) -> float:
        """Seconds until the next one."""

    def run(self) -> None:
        """Takes it."""


class Looping:
    """One of localpach's loops."""

    def __init__(self, bulletin: Bulletin, loop: Loop, topic: Topic) -> None:
        self._bulletin = bulletin
        self._loop = loop
        self._topic = topic
        self._edition = -1
        self._next: Appointment | None = None

    def left(self) -> float:
        if self._next is None or self._bulletin.edition(self._topic) != self._edition:
            return 0.0
        left = self._next.left
        return math.inf if left is None else left

    def run(self) -> None:
        self._edition = self._bulletin.edition(self._topic)
        self._next = self._loop.turn()


class Later:
    """A thread, or a timer, which has one turn."""

    daemon = True

    def __init__(self, machine: Machine, seconds: float, call: Callable[[], object]) -> None:
        self._machine = machine
        self._due = machine.time.monotonic() + seconds
        self._call = call

    def start(self) -> None:
        self._machine.turns.append(self)

    def cancel(self) -> None:
        if self in self._machine.turns:
            self._machine.turns.remove(self)

    def left(self) -> float:
        return max(self._due - self._machine.time.monotonic(), 0.0)

    def run(self) -> None:
        self.cancel()
        self._call()


class Client:
    """Who asks something of localpach: each of its steps gives the seconds to the next one. After a kill in its turn it
    begins anew."""

    def __init__(self, machine: Machine, make: Callable[[], Iterator[float]]) -> None:
        self._machine = machine
        self._make = make
        self._steps = make()
        self._due = 0.0

    def left(self) -> float:
        return max(self._due - self._machine.time.monotonic(), 0.0)

    def run(self) -> None:
        try:
            self._due = self._machine.time.monotonic() + next(self._steps, math.inf)
        except Killed:
            self._steps = self._make()
            raise


class Unsynced(sqlite3.Connection):
    """A database that is not synced: what was written outlives a kill all the same."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *arguments)


class Pool:
    """Does what it is given at once."""

    def __init__(self, workers: int, thread_name_prefix: str) -> None: ...

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None: ...

    def submit(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)


class Commands:
    """A runtime, and the choice of it, of commands that are functions."""

    may_link = False
    weakness = ""

    def __init__(self, root: Path, act: Act) -> None:
        self.work = root / "work"
        self.work.mkdir(exist_ok=True)
        self._act = act

    def of(self, image: str) -> Commands:
        return self

    def crash_reason(self, image: str, gpus: int) -> str:
        return ""

    def remove_leftovers(self) -> None: ...

    def prepare(self, image: str, credentials: str, say: OnLine, is_stopped: Callable[[], bool]) -> None: ...

    def start(self, spec: RunSpec, on_line: OnLine) -> Run:
        return Run(lambda: self._act(spec, on_line))


class Machine:
    """What localpach runs on. It does `act` for commands; every `rarely` calls to the disk or so, if that is not 0, something
    breaks."""

    def __init__(self, root: Path, seed: str, start: int, act: Act, patch: pytest.MonkeyPatch) -> None:
        self.random = random.Random(seed)
        self.time = Time(start)
        self.turns: list[Turns] = []
        self.history: list[str] = []
        self.starts = self.faults = self.steps = 0
        self._clients: list[Turns] = []
        self._act = act
        self.rarely = 0
        self._folder = root
        self._depth = 0
        self._is_whole = False
        self._take_places(patch)
        self.root = self._next_root()
        self.root.mkdir()
        self._open()

    def _take_places(self, patch: pytest.MonkeyPatch) -> None:
        """Puts what is played where localpach looks for the machine."""
        patch.setattr(clock, "time", self.time)
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=self.random.getrandbits(128), version=4))
        patch.setattr(os, "cpu_count", lambda: DEPTH + 1)
        patch.setattr(waiting, "LOOK_AT_CLOCK_SECONDS", math.inf)
        patch.setattr(Loop, "start", lambda loop: None)
        patch.setattr(controller, "RETRY_SECONDS", 0.0)
        patch.setattr(controller, "Thread", lambda target, args, **_: Later(self, 0.0, lambda: target(*args)))
        patch.setattr(worker, "Timer", lambda seconds, call: Later(self, seconds, call))
        patch.setattr(worker, "ThreadPoolExecutor", Pool)
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Unsynced))
        patch.setattr(os, "fsync", lambda handle: None)
        for name in DISK_CALLS:
            patch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._break(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            return real(*arguments, **named)

        return call

    def _next_root(self) -> Path:
        self.starts += 1
        return self._folder / str(self.starts)

    def _open(self) -> None:
        self.store = Store(self.root)
        bulletin = Bulletin(self.store.after_commit)
        self.pfs = Pfs(self.store, bulletin)
        runtimes = cast(Runtimes, Commands(self.root, self._run_command))
        self.pps = Pps(self.store, bulletin, self.pfs, runtimes, served(self.pfs, Bodies()))
        self.store.before_commit.append(self._before_commit)
        self.pfs.objects.remove_leftovers()
        self.pps.start()
        finisher = Looping(bulletin, self.pfs.finisher.loop, Topic.FINISHING)
        self.turns[:] = [finisher, Looping(bulletin, self.pps.controller.loop, Topic.WORK), *self._clients]
        self._is_whole = True

    def add(self, make: Callable[[], Iterator[float]]) -> None:
        """Lets a client take turns."""
        self._clients.append(Client(self, make))
        self.turns.append(self._clients[-1])

    def dismiss(self) -> None:
        """Sends the clients away, and lets nothing break any more."""
        self.turns[:] = [each for each in self.turns if each not in self._clients]
        self._clients.clear()
        self.rarely = 0

    def note(self, text: str) -> None:
        """Adds to the history."""
        self.history.append(f"{clock.now()} {text}")

    # What breaks.

    def _before_commit(self, transaction: Transaction) -> None:
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        self._break(full)
        if self._is_time_to_break():
            # Once it is durable, and before anybody is told.
            transaction.after = {self._kill: None, **transaction.after}

    def _is_time_to_break(self) -> bool:
        return self._is_whole and self.rarely > 0 and self.random.randrange(self.rarely) == 0

    def _break(self, fault: Exception) -> None:
        if not self._is_time_to_break():
            return
        if self.random.random() < 0.5:
            self._kill()
        self.faults += 1
        self.note(f"fault: {fault}")
        raise fault

    def _kill(self) -> None:
        """What is on the disk now is what the next server finds; nothing that happens on the way out counts."""
        self._is_whole = False
        old, self.root = self.root, self._next_root()
        shutil.copytree(old, self.root, ignore=shutil.ignore_patterns("*-shm"), symlinks=True)
        self.note("killed")
        raise Killed

    # Whose turn it is.

    def run(self, seconds: float) -> None:
        """Goes on for that long."""
        end = self.time.monotonic() + seconds
        while self.time.monotonic() < end:
            try:
                self._take_turn(end)
            except Killed:
                self.store.close()
                self._open()

    def _take_turn(self, end: float) -> None:
        lefts = [(each.left(), each) for each in self.turns]
        soonest = min((left for left, _ in lefts), default=math.inf)
        ready = [each for left, each in lefts if left == 0.0]
        if not ready:
            self.time.forward(max(min(soonest, end - self.time.monotonic()), 1e-6))
            return
        self.time.forward(TURN_SECONDS)
        self.steps += 1
        self.random.choice(ready).run()

    def _run_command(self, spec: RunSpec, on_line: OnLine) -> Ended:
        """Others have their turns while a command runs."""
        seconds = self.random.choice((1.0, 60.0, 4000.0) if self._clients else (1.0,))
        end = self.time.monotonic() + seconds
        self._depth += 1
        try:
            while self._depth < DEPTH and self.time.monotonic() < end:
                self._take_turn(end)
            return self._act(spec, on_line)
        finally:
            self._depth -= 1

    def digest(self) -> str:
        """Of all that happened, and of all that is kept."""
        hashed = hashlib.sha256("\n".join(self.history).encode())
        with self.store.read() as connection:
            for line in connection.iterdump():
                hashed.update(line.encode())
        return hashed.hexdigest()
