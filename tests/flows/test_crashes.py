"""Runs that are killed at any point, and runs at once: counted in commits, pipelines and jobs."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from prefect import flow
from prefect.settings import get_current_settings
from python_pachyderm import Client
from python_pachyderm.service import pps_proto
from rich.console import Console

import flows
from flows.train import train
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.embedded import run_localpach
from tasks import project, turns
from tasks.turns import lock
from tests.flows import cheap

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / name) for name in ("flows", "tasks", "prefect_pachyderm/src"))
CHAIN = tuple(pipeline.name for pipeline in project.CHAIN)


def run_train(specs: Path, parameters: dict[str, Any], kill_at: int, calls: str) -> None:
    """In a process of its own: the train flow, killed at the `kill_at`-th call of a function of ours."""
    project.SPECS = specs
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)
    try:
        train(**parameters)
    finally:
        sys.setprofile(None)
        Path(calls).write_text(str(count))


class Runs:
    """Starts runs of the train flow as processes, forked from one that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.specs = cheap.specs(folder / "specs")
        self.calls = folder / "calls"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    def source(self, number: int) -> str:
        return str(cheap.scripts(self.folder / f"scripts-{number}.tar.gz", number, 9.0))

    def start(self, number: int, kill_at: int = 0, **parameters: Any) -> BaseProcess:
        given = {"source": self.source(number), "tokens": 200, **parameters}
        process = self._context.Process(target=run_train, args=(self.specs, given, kill_at, str(self.calls)))
        process.start()
        return process

    def run(self, number: int, kill_at: int = 0, **parameters: Any) -> int:
        """Exit status of a run."""
        process = self.start(number, kill_at, **parameters)
        process.join(240)
        assert process.exitcode is not None, "the run does not end"
        return process.exitcode


@pytest.fixture
def runs(embedded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    monkeypatch.setenv("PREFECT_API_URL", str(get_current_settings().api.url))
    connect().delete_all()
    return Runs(tmp_path)


def counts(client: Client) -> dict[str, int]:
    """Commits of scripts, pipelines and their versions, and jobs by outcome; nothing may be open or on."""
    commits = [info for info in client.list_commit("GoT_scripts") if info.commit.branch.name == "master"]
    assert all(info.finished.seconds and not info.error for info in commits)
    lock = [info for info in client.list_commit("GoT_lock") if not info.finished.seconds]
    assert not lock, "the lock is held"
    found = {"commits": len(commits), "pipelines": len(list(client.list_pipeline()))}
    for name in CHAIN:
        jobs = list(client.list_job(name, history=-1))
        states = [info.state for info in jobs]
        assert set(states) <= {pps_proto.JOB_SUCCESS, pps_proto.JOB_KILLED}
        found[name] = states.count(pps_proto.JOB_SUCCESS)
    return found


def kill_and_run_again(runs: Runs, rounds: int) -> None:
    """Each round has new scripts: killed at another point, then run again to the end."""
    assert runs.run(0) == 0
    total = int(runs.calls.read_text())
    client = connect()
    assert counts(client) == {"commits": 1, "pipelines": 2, "GoT_train": 1, "GoT_generate": 1}
    for number in range(1, rounds + 1):
        kill_at = max(1, total * number // (rounds + 1))
        assert runs.run(number, kill_at) == -signal.SIGKILL, f"not killed at call {kill_at} of {total}"
        assert runs.run(number) == 0, f"killed at call {kill_at} of {total}"
        done = number + 1
        told = f"after a kill at call {kill_at} of {total}"
        assert counts(client) == {"commits": done, "pipelines": 2, "GoT_train": done, "GoT_generate": done}, told


@pytest.mark.slow
def test_a_run_that_was_killed_is_gone_on_with(runs: Runs) -> None:
    kill_and_run_again(runs, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_runs_killed_at_every_step_are_gone_on_with(runs: Runs) -> None:
    kill_and_run_again(runs, 24)


def test_a_lock_that_could_not_be_given_back_is_taken_again_by_the_same_run(
    embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pachyderm was gone at that moment; what failed so is tried again in the same process, which is alive."""
    monkeypatch.setattr(turns, "HELD_SECONDS", float("inf"))

    @flow
    def hold_twice() -> None:
        with lock(connect()):
            run_localpach("stop", "--root", str(embedded / "localpach"))
        with lock(connect()):
            pass

    hold_twice()


def test_a_run_outlives_the_worker_that_reads_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "as in a worker")
    monkeypatch.setattr(Console, "on_broken_pipe", Console.on_broken_pipe)
    importlib.reload(flows)
    run = os.fork()
    if run == 0:
        reader, writer = os.pipe()
        os.close(reader)
        for descriptor in (1, 2):
            os.dup2(writer, descriptor)
        with suppress(SystemExit):
            for stderr in (False, True, False):
                Console(file=os.fdopen(2 if stderr else 1, "w", closefd=False)).print("nobody reads this")
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]) == 0


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_runs_of_the_same_at_once_share_one_job(runs: Runs) -> None:
    together = [runs.start(1), runs.start(1)]
    for process in together:
        process.join(240)
    assert [process.exitcode for process in together] == [0, 0]
    assert counts(connect()) == {"commits": 1, "pipelines": 2, "GoT_train": 1, "GoT_generate": 1}


@pytest.mark.slow
def test_a_run_with_another_model_waits_for_the_job_that_is_on(runs: Runs) -> None:
    client = connect()
    first = runs.start(1)
    wait_for(lambda: any(client.list_job("GoT_train")) if pipeline_exists(client) else False)
    second = runs.start(1, seed=2)
    for process in (first, second):
        process.join(240)
    assert (first.exitcode, second.exitcode) == (0, 0)
    assert counts(client) == {"commits": 1, "pipelines": 2, "GoT_train": 2, "GoT_generate": 2}
    assert not [info for info in client.list_job("GoT_train", history=-1) if info.state == pps_proto.JOB_KILLED]


def pipeline_exists(client: Client) -> bool:
    return any(info.pipeline.name == "GoT_train" for info in client.list_pipeline())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_runs_of_four_kinds_at_once(runs: Runs) -> None:
    """Two sources and two seeds: each run has a model of its own at the end, or has been refused."""
    together = [runs.start(number, seed=seed) for number in (1, 2) for seed in (1, 2)]
    for process in together:
        process.join(400)
    assert {process.exitcode for process in together} <= {0, 1}
    assert 0 in {process.exitcode for process in together}
    found = counts(connect())
    assert found["pipelines"] == 2
    assert found["GoT_train"] >= sum(process.exitcode == 0 for process in together)
