"""PPS with a runtime that only pretends: a test plays the commands."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from localpach.api.bodies import Bodies
from localpach.api.served import served
from localpach.names import Branch, Repo
from localpach.pfs.service import Pfs
from localpach.pps.jobs import JobName
from localpach.pps.records import JobRecord, PipelineName
from localpach.pps.service import Pps
from localpach.proto import pps_pb2
from localpach.runtime.choice import Runtimes
from localpach.runtime.interface import Ended, OnLine, RunSpec
from localpach.runtime.layout import Layout
from localpach.storage.store import Store
from localpach.waiting import Bulletin

IN = Branch(Repo("default", "in"), "master")
P = PipelineName("default", "p")
Act = Callable[[RunSpec, OnLine], Ended]


class Run:
    """A command that is over when `act` is, or when it is killed."""

    def __init__(self, act: Callable[[], Ended]) -> None:
        self._act = act
        self.killed = threading.Event()

    def kill(self) -> None:
        self.killed.set()

    def wait(self) -> Ended:
        ended = self._act()
        return Ended(code=137) if self.killed.is_set() else ended


class Pretender:
    """A runtime, and the choice of it: `act` plays the command."""

    may_link = False
    weakness = ""

    def __init__(self, root: Path) -> None:
        self.work = root / "work"
        self.work.mkdir()
        self.specs: list[RunSpec] = []
        self.seen: list[dict[str, str]] = []
        self.runs: list[Run] = []
        self.prepared: list[tuple[str, str]] = []
        self.crash = ""
        self.act: Act = copy_all

    def of(self, image: str) -> Pretender:
        return self

    def crash_reason(self, image: str, gpus: int) -> str:
        return self.crash

    def remove_leftovers(self) -> None: ...

    def prepare(self, image: str, credentials: str, say: OnLine, is_stopped: Callable[[], bool]) -> None:
        self.prepared.append((image, credentials))

    def hand_over(self, layout: Layout) -> None: ...

    def start(self, spec: RunSpec, on_line: OnLine) -> Run:
        self.specs.append(spec)
        files = [path for path in spec.layout.view.rglob("*") if path.is_file()]
        self.seen.append({str(path.relative_to(spec.layout.view)): path.read_text() for path in files})
        self.runs.append(Run(lambda: self.act(spec, on_line)))
        return self.runs[-1]


def copy_all(spec: RunSpec, on_line: OnLine) -> Ended:
    """The command of most tests."""
    on_line("copying")
    for folder in spec.layout.view.iterdir():
        for file in folder.rglob("*"):
            if file.is_file():
                (spec.layout.out / file.name).write_bytes(file.read_bytes())
    return Ended(code=0)


class Bench:
    """PPS that works, with a runtime of the test's."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.bulletin = Bulletin(self.store.after_commit)
        self.pfs = Pfs(self.store, self.bulletin)
        self.runtime = Pretender(root)
        self.pps = Pps(self.store, self.bulletin, self.pfs, cast(Runtimes, self.runtime), served(self.pfs, Bodies()))
        self.pfs.repos.create(IN.repo)
        self.pfs.finisher.start()
        self.pps.start()

    def close(self) -> None:
        self.pps.close()
        self.pfs.finisher.close()
        self.store.close()

    def put(self, *paths: str) -> str:
        commit = self.pfs.commits.start(IN)
        for path in paths:
            self.pfs.writes.put(commit, path, path.encode(), "")
        self.pfs.commits.finish(commit)
        return commit.id

    def create(self, **fields: Any) -> JobRecord:
        """A pipeline of one try; its job, once it is over."""
        transform = pps_pb2.Transform(cmd=["run", "it"], stdin=["a", "b"], image="img")
        transform.MergeFrom(fields.pop("transform", pps_pb2.Transform()))
        leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/*"))
        defaults: dict[str, Any] = {"pipeline": P.to_proto(), "input": leaf, "datum_tries": 1}
        self.pps.lifecycle.create(pps_pb2.CreatePipelineRequest(transform=transform, **defaults | fields))
        return self.last()

    def last(self) -> JobRecord:
        """The newest job, once it is over."""
        newest = next(self.pps.queries.select(P, (), -1, reverse=False))
        return self.pps.queries.wait(JobName(P, newest.id), None)

    def output(self) -> dict[str, bytes]:
        head = self.pfs.commits.head(Branch(P.output, "master"))
        assert head is not None
        files = [entry for entry in self.pfs.files.walk(head, "/") if not entry.is_dir]
        return {entry.path: b"".join(self.pfs.files.read(head, entry)) for entry in files}

    def said(self, job: JobRecord) -> list[str]:
        return [message.message for message in self.pps.logs.read(job.pipeline, job.id)]
