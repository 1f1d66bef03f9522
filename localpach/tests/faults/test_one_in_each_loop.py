"""Whatever is done for one object raises: of every kind of object that loops and jobs serve another one is served all the same."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localpach.api import served
from localpach.names import Branch, Repo
from localpach.pfs.commits import Commits
from localpach.pfs.files import Files
from localpach.pfs.firing import Firing
from localpach.pps.crons import Crons
from localpach.pps.datum import DatumRun
from localpach.pps.jobs import Jobs
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineName
from localpach.pps.spouts import _Spout
from localpach.pps.worker import Worker
from localpach.proto import pfs_pb2, pps_pb2
from localpach.runtime.interface import PACHD_PORT, WORKER_PORT, Ended, OnLine, RunSpec
from tests.helpers import pfs, until
from tests.pps import bench as of_bench
from tests.pps.bench import Bench, Pretender, Run, copy_all

SECONDS = 25.0


class Player(Pretender):
    """A runtime of commands of each kind; their images are named by whose they are."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.spouts: list[str] = []

    def start(self, spec: RunSpec, on_line: OnLine) -> Run:
        run = Run(lambda: self._play(spec, on_line, run))
        return run

    def _play(self, spec: RunSpec, on_line: OnLine, run: Run) -> Ended:
        if spec.reach is not None:
            run.killed.wait(SECONDS)
        elif spec.port == PACHD_PORT:
            self.spouts.append(spec.image)
            run.killed.wait(SECONDS)
        elif spec.port == WORKER_PORT:
            self._batch(spec, run)
        elif spec.cmd[0] == "sh":
            # What a command that batches wrote is taken.
            shutil.copytree(spec.layout.out, spec.layout.tmp / "out")
        else:
            copy_all(spec, on_line)
        return Ended(code=0)

    def _batch(self, spec: RunSpec, run: Run) -> None:
        """Has one datum."""
        asks: list[Any] = []
        assert spec.serve is not None
        spec.serve(asks)  # type: ignore[arg-type]
        call = Call(run)
        asks[0]("", call)
        (spec.layout.out / "batched").write_text("done")
        threading.Thread(target=asks[0], args=("", call), daemon=True).start()
        run.killed.wait(SECONDS)
        call.end()


class Call:
    """That of a command which runs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._callbacks: list[Callable[[], None]] = []

    def is_active(self) -> bool:
        return not self._run.killed.is_set()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self._callbacks.append(callback)
        return True

    def end(self) -> None:
        for callback in self._callbacks:
            callback()


class Objects:
    """One of each kind, under one name."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self._name = name
        self._branch = Branch(Repo("default", f"{name}-in"), "master")
        bench.pfs.repos.create(self._branch.repo)
        trigger = pfs_pb2.Trigger(branch="master", commits=1)
        self._triggered = self._branch._replace(name="fired")
        bench.pfs.provenance.create_branch(self._triggered, trigger=trigger)
        source = pfs(self._branch.repo.name, "/")
        self._create("plain", input=source)
        self._create("batching", input=source, batching=True)
        self._create("service", input=source, service=pps_pb2.Service(internal_port=80))
        self._create("spout", spout=pps_pb2.Spout())
        self._create("cron", input=pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@every 1s")))

    def _create(self, kind: str, batching: bool = False, **fields: Any) -> None:
        transform = pps_pb2.Transform(cmd=["x"], image=self._name, datum_batching=batching)
        name = PipelineName("default", f"{self._name}-{kind}").to_proto()
        request = pps_pb2.CreatePipelineRequest(pipeline=name, transform=transform, datum_tries=1, **fields)
        self._bench.pps.lifecycle.create(request)

    def put(self, path: str) -> None:
        commit = self._bench.pfs.commits.start(self._branch)
        self._bench.pfs.writes.put(commit, path, path.encode(), "")
        self._bench.pfs.commits.finish(commit)

    def _states(self, kind: str) -> list[pps_pb2.JobState]:
        """Those of its jobs, newest first."""
        name = PipelineName("default", f"{self._name}-{kind}")
        return [job.state for job in self._bench.pps.queries.select(name, (), -1, reverse=False)]

    def are_served(self) -> bool:
        """Whether all that was put is finished, has fired and is processed, and what is to run and to tick does."""
        commits = self._bench.pfs.commits
        head, fired = commits.head(self._branch), commits.head(self._triggered)
        return (
            (head and head.num) == (fired and fired.num)
            and self._states("service")[:1] == [pps_pb2.JOB_RUNNING]
            and {*self._states("plain"), *self._states("batching")} == {pps_pb2.JOB_SUCCESS}
            # The first one is that of an input without ticks.
            and pps_pb2.JOB_SUCCESS in self._states("cron")[:-1]
            and self._name in self._bench.runtime.spouts  # type: ignore[attr-defined]
        )


# What is done for one object.
DONE: list[tuple[Any, str]] = [
    (Pipelines, "newest_info"),
    (Pretender, "crash_reason"),
    (Pretender, "prepare"),
    (Player, "start"),
    (Player, "_play"),
    (Player, "_batch"),
    (Crons, "tick_if_due"),
    (Crons, "_tick"),
    (Jobs, "inputs"),
    (_Spout, "start"),
    (_Spout, "_run_once"),
    (Worker, "_process"),
    (Worker, "_finish"),
    (DatumRun, "_lay_out"),
    (Files, "glob"),
    (Commits, "set_finished"),
    (Firing, "fire"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "name"), DONE, ids=[f"{place.__name__}.{name}" for place, name in DONE])
def test_the_others_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> None:
    monkeypatch.setattr(served, "serve_worker", lambda next_datum, listener: listener.append(next_datum))
    monkeypatch.setattr(of_bench, "Pretender", Player)
    raised: list[str] = []
    done = getattr(place, name)

    def raising(*args: Any, **named: Any) -> Any:
        about = repr([vars(each) if isinstance(each, (Worker, _Spout, DatumRun)) else each for each in (*args, named)])
        if "damaged" in about:
            raised.append(about)
            raise ValueError("broken")
        return done(*args, **named)

    with closing(Bench(tmp_path)) as bench:
        monkeypatch.setattr(place, name, raising)
        both = [Objects(bench, whose) for whose in ("damaged", "works")]
        for path in ("/1", "/2"):
            for objects in both:
                objects.put(path)
        until(lambda: raised and both[1].are_served(), SECONDS)
