"""A project on a played machine: pipelines with schedules, and clients that commit, change pipelines, and set the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial

from localpach.clock import now
from localpach.names import Branch, Commit, Repo
from localpach.pfs.writes import Add
from localpach.pps.records import PipelineName
from localpach.proto import pps_pb2
from tests.faults.clients import Clients, Files
from tests.faults.simulation import Machine

START = datetime(2027, 10, 3, 1, 30, tzinfo=UTC)
DAY = 86_400.0
ZONES = ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "UTC")
# Schedules, and what they mean for a day: hours and minutes.
CRONS: dict[str, tuple[str, Callable[[date], list[tuple[int, int]]]]] = {
    "nightly": ("0 3 * * *", lambda day: [(3, 0)]),
    "often": ("15 */6 * * *", lambda day: [(hour, 15) for hour in (0, 6, 12, 18)]),
    "weekly": ("30 2 * * 0", lambda day: [(2, 30)] if day.weekday() == 6 else []),
    "monthly": ("0 12 31 * *", lambda day: [(12, 0)] if day.day == 31 else []),
    "leaping": ("59 23 29 2 *", lambda day: [(23, 59)] if (day.month, day.day) == (2, 29) else []),
}
SCRIPTS, NOTES = (Branch(Repo("default", name), "master") for name in ("scripts", "notes"))
OUTPUTS = [*CRONS, "score"]


class Project(Clients):
    """A retraining project on a machine: its clients, who do as much as `pace` says, and what of it was acknowledged."""

    def __init__(self, machine: Machine, pace: float) -> None:
        super().__init__(machine)
        self._pace = pace
        self.scripts: Files = {}
        self.commits: dict[str, Files] = {}
        self.notes: Files = {}
        self.told_to_tick: set[str] = set()
        for branch in (SCRIPTS, NOTES):
            machine.pfs.repos.create(branch.repo)
        self._start()
        self.put(self.begun, "/s0", b"first")
        self.finish(self.begun)
        self._put_note("/first", b"")
        self.commits[self.begun.id] = self.scripts = {"/s0": b"first"}
        for name in OUTPUTS:
            self._create(name)
        for make in (self._commit, self._note, self._note, self._change_pipelines, self._set_clock):
            machine.add(make)

    def _create(self, name: str, update: bool = False) -> None:
        read = "nightly" if name == "score" else "scripts"
        leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo=read, glob="/" if read == "scripts" else "/*"))
        if name in CRONS:
            cron = pps_pb2.CronInput(name="tick", spec=CRONS[name][0], overwrite=name in ("nightly", "often"))
            ticks = pps_pb2.Input(cron=cron)
            leaf = pps_pb2.Input(cross=[ticks, leaf]) if name == "nightly" else ticks
        request = pps_pb2.CreatePipelineRequest(
            pipeline=PipelineName("default", name).to_proto(),
            transform=pps_pb2.Transform(cmd=["copy"], image="image"),
            input=leaf,
            update=update,
        )
        self.machine.pps.lifecycle.create(request)

    # Clients.

    def _pause(self, days: float) -> float:
        return self.random.expovariate(self._pace / (days * DAY))

    def _commit(self) -> Iterator[float]:
        """Commits scripts, in steps."""
        # What of this a kill came into was never said to be done.
        head = self.head(SCRIPTS)
        if head.finishing is None:
            yield from self.until_it_is_done("finish what was begun", partial(self.finish, head.commit))
        self.scripts = self.files(self.head(SCRIPTS))
        while True:
            yield self._pause(4)
            yield from self.until_it_is_done("start", self._start)
            yield self.random.random()
            files = dict(self.scripts)
            for _ in range(self.random.randrange(1, 3)):
                path, data = f"/s{self.random.randrange(9)}", self.random.randbytes(self.random.choice((0, 9, 70_000)))
                yield from self.until_it_is_done(f"put {path}", partial(self.put, self.begun, path, data))
                files[path] = data
                yield self.random.random() * 3600
            yield from self.until_it_is_done("finish", partial(self.finish, self.begun))
            self.commits[self.begun.id] = self.scripts = files

    def _start(self) -> None:
        self.begun = self.machine.pfs.commits.start(SCRIPTS)

    def finish(self, commit: Commit) -> None:
        self.machine.pfs.commits.finish(commit)

    def _note(self) -> Iterator[float]:
        """Puts a file of its own, in a commit at once."""
        while True:
            yield self._pause(6)
            path, data = f"/{self.random.randrange(10**9)}", self.random.randbytes(9)
            yield from self.until_it_is_done(f"note {path}", partial(self._put_note, path, data))
            self.notes[path] = data

    def _put_note(self, path: str, data: bytes) -> None:
        batch = self.machine.pfs.writes.batch()
        self.machine.pfs.writes.apply_to_branch(NOTES, [Add(path, "", (batch.add(data),))], batch)

    def _change_pipelines(self) -> Iterator[float]:
        """Updates, stops and starts them, and has one tick out of its turn."""
        while True:
            yield self._pause(8)
            name = self.random.choice(OUTPUTS)
            change = self.random.choice((self._update, self._stop, self._tick))
            yield from self.until_it_is_done(f"{change.__name__} {name}", partial(change, name))
            yield self._pause(2)
            yield from self.until_it_is_done(f"start {name}", partial(self.resume, name))

    def _update(self, name: str) -> None:
        self._create(name, update=True)

    def _stop(self, name: str) -> None:
        self.machine.pps.lifecycle.stop(PipelineName("default", name))

    def resume(self, name: str) -> None:
        self.machine.pps.lifecycle.start(PipelineName("default", name))

    def _tick(self, name: str) -> None:
        """Whichever was drawn: the others tick by their schedules alone."""
        self.told_to_tick.add(stamp(datetime.fromtimestamp(now() // 10**6, tz=UTC)))
        self.machine.pps.crons.run(PipelineName("default", "weekly"))

    def _set_clock(self) -> Iterator[float]:
        """Sets it, and moves the machine to another zone."""
        while True:
            yield self._pause(10)
            seconds = self.random.choice((-3600, -3600, 3600, DAY, -5, 0))
            self.machine.time.set(seconds)
            os.environ["TZ"] = self.random.choice(ZONES)
            time.tzset()
            self.machine.note(f"clock set by {seconds}")
            yield self.random.random() * 3600
            # What has just ticked must not do so again.
            for name in CRONS:
                yield from self.until_it_is_done(f"update {name}", partial(self._update, name))
            yield from self.until_it_is_done("tick", partial(self._tick, "weekly"))


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
