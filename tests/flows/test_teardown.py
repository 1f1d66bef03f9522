"""A teardown while others are at work: complete, and told to them in a sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect import flow
from python_pachyderm.service import pps_proto

from flows.teardown import teardown
from flows.train import train
from prefect_pachyderm import PrefectPachydermError, events
from prefect_pachyderm.credentials import connect
from tasks import project
from tasks.project import LOCK_REPO
from tasks.turns import lock
from tests.flows import cheap

# Tells the jobs' processes from any other.
SECONDS = 97.25


class Train(threading.Thread):
    """A run of `train`, and how it ends."""

    def __init__(self, source: Path) -> None:
        super().__init__()
        self._source = source
        self.error: PrefectPachydermError | None = None
        self.start()

    def run(self) -> None:
        try:
            train(source=str(self._source), tokens=200)
        except PrefectPachydermError as error:
            self.error = error


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running() -> bool:
    client = connect()
    there = [info.pipeline.name for info in client.list_pipeline()]
    return any(job.state == pps_proto.JOB_RUNNING for name in there for job in client.list_job(name))


def sleepers() -> list[str]:
    """Processes of the jobs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if line.startswith(f"sleep {SECONDS}")]


def nothing_is_left() -> bool:
    client = connect()
    return not list(client.list_repo()) and not list(client.list_pipeline()) and not sleepers()


@pytest.fixture
def source(embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scripts that are trained on for minutes."""
    monkeypatch.setattr(project, "SPECS", cheap.specs(tmp_path / "specs", seconds=SECONDS))
    return cheap.scripts(tmp_path / "scripts.tar.gz", 1, 9.0)


@pytest.mark.parametrize("everything", [False, True])
def test_a_run_that_waits_for_its_job_is_told(everything: bool, source: Path) -> None:
    run = Train(source)
    until(lambda: is_running() and bool(sleepers()))
    time.sleep(2)  # The flow waits, too.
    teardown(everything=everything)
    run.join(30)
    assert not run.is_alive()
    assert "somebody has deleted it or its pipeline; run again" in str(run.error)
    assert nothing_is_left()


def test_each_pipeline_that_is_deleted_is_an_event(embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted: list[tuple[str, str]] = []
    monkeypatch.setattr(events, "emit", lambda event, kind, name, *_: emitted.append((event, name)))
    client = connect()
    client.create_repo("some_input")
    for name in ("GoT_train", "of_somebody"):
        transform = pps_proto.Transform(cmd=["true"], image="host")
        given = pps_proto.Input(pfs=pps_proto.PFSInput(repo="some_input", glob="/"))
        client.create_pipeline(name, transform=transform, input=given)
    teardown()
    assert emitted == [("pachyderm.pipeline.deleted", "GoT_train")]
    teardown(everything=True)
    assert emitted[1:] == [("pachyderm.pipeline.deleted", "of_somebody")]


def test_it_waits_for_who_changes_the_pipelines(source: Path) -> None:
    client = connect()
    down = threading.Thread(target=teardown)

    @flow
    def hold() -> None:
        with lock(client):
            client.create_repo("GoT_scripts")
            down.start()
            down.join(2)
            assert down.is_alive()

    hold()
    down.join(30)
    assert nothing_is_left()


def test_who_waits_for_the_lock_has_it_when_its_repo_was_deleted(embedded: Path) -> None:
    client = connect()

    @flow
    def take() -> None:
        with lock(client):
            pass

    waiting = threading.Thread(target=take)

    @flow
    def hold() -> None:
        with lock(client):
            waiting.start()
            waiting.join(1)
            assert waiting.is_alive()
            client.delete_repo(LOCK_REPO, force=True)
            waiting.join(20)
            assert not waiting.is_alive()

    hold()
    assert not [info for info in client.list_commit(LOCK_REPO) if not info.finished.seconds]
    teardown()
