"""One run at a time: who holds the lock, who waits for it, and whose is taken away."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from python_pachyderm import Client

from prefect_pachyderm.calls import PachydermError
from prefect_pachyderm.commits import ensure_repo
from prefect_pachyderm.pipelines import create_pipelines
from prefect_pachyderm.specs import Template
from tasks import turns
from tests.jobs import last_job, pfs, pipeline, put, until

HOST = socket.gethostname()
# It is alive, and not this process.
SOMEBODY = os.getppid()
SPEC = """
function(script) {
  pipeline: { name: 'GoT_train' },
  input: { pfs: { repo: 'GoT_scripts', glob: '/' } },
  transform: { image: 'host', cmd: ['sh'], stdin: [script] },
}
"""


@pytest.fixture(autouse=True)
def quick(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, a patience without end, and a log that is not a run's."""
    logger = logging.getLogger("scriptwright")
    monkeypatch.setattr(turns, "get_run_logger", lambda: logger)
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(turns, "HELD_SECONDS", float("inf"))


def take(client: Client, holder: str) -> str:
    """The lock in the hands of somebody else; the id of its commit."""
    ensure_repo(client, "GoT_lock")
    return str(client.start_commit("GoT_lock", "master", description=holder).id)


def holders(client: Client) -> list[str]:
    if "GoT_lock" not in {info.repo.name for info in client.list_repo()}:
        return []
    return [info.description for info in client.list_commit("GoT_lock") if not info.finished.seconds]


@contextmanager
def waiting(client: Client) -> Iterator[threading.Event]:
    """Somebody who waits for the lock, and says when he has had it."""
    had = threading.Event()

    def wait() -> None:
        with turns.lock(client):
            had.set()

    thread = threading.Thread(target=wait)
    thread.start()
    yield had
    thread.join(20)
    assert not thread.is_alive()


def test_who_holds_it_is_said_and_it_is_given_back(client: Client) -> None:
    for error in (None, OSError):
        try:
            with turns.lock(client):
                (holder,) = holders(client)
                assert re.fullmatch(rf"{re.escape(HOST)} {os.getpid()} [0-9a-f]{{32}}", holder)
                if error:
                    raise error
        except OSError:
            pass
        assert holders(client) == []
    assert not turns._turns


def test_who_is_alive_is_waited_for(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    holder = f"{HOST} {SOMEBODY} 1a2b"
    commit = take(client, holder)
    with waiting(client) as had:
        assert not had.wait(1)
        assert holders(client) == [holder]
        client.drop_commit(commit)
        assert had.wait(20)
    told = f"Another run is committing or updating the pipelines ({holder}): waiting"
    assert [record.getMessage() for record in caplog.records] == [told]


@pytest.mark.parametrize("another", ["elsewhere.example {} 1a2b", "pachctl {}", ""])
def test_whose_life_can_not_be_seen_from_here_has_his_time(
    another: str, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    holder = another.format(process.pid)
    take(client, holder)
    with waiting(client) as had:
        assert not had.wait(0.7)
        monkeypatch.setattr(turns, "HELD_SECONDS", 0.1)
        assert had.wait(20)
    assert f"The run that held the lock is gone ({holder})" in caplog.text


def test_a_process_of_another_user_is_alive(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (1, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    commit = take(client, f"{HOST} 1 1a2b")
    with waiting(client) as had:
        assert not had.wait(0.7)
        client.drop_commit(commit)
        assert had.wait(20)


def test_what_a_dead_process_has_left_is_taken_at_once(client: Client) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    take(client, f"{HOST} {process.pid} 1a2b")
    with turns.lock(client):
        assert len(holders(client)) == 1
    take(client, f"{HOST} {os.getpid()} 1a2b")
    with turns.lock(client):
        assert len(holders(client)) == 1
    assert holders(client) == []


def test_two_threads_of_a_process_take_turns(client: Client) -> None:
    with turns.lock(client), waiting(client) as had:
        assert not had.wait(0.7)
        client.delete_repo("GoT_lock", force=True)
        assert had.wait(20)


def test_a_refusal_is_told_and_leaves_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BRANCH", "no branch")
    with pytest.raises(PachydermError, match=r"^Taking the lock failed: "), turns.lock(client):
        pass
    assert not turns._turns


def test_a_turn_waits_for_the_job_that_it_would_end_and_lets_others_in_meanwhile(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("prefect_pachyderm.pipelines.get_run_logger", lambda: logging.getLogger("scriptwright"))
    file = tmp_path / "GoT_train.jsonnet"
    file.write_text(SPEC)
    slow = Template(file, {"script": "sleep 600"})
    client.create_repo("GoT_scripts")
    put(client, "GoT_scripts", {"/a": b"a"})
    job = create_pipelines.fn([slow])["GoT_train"]
    with turns.turn([slow]):
        assert len(holders(client)) == 1
    done = threading.Event()

    def update() -> None:
        with turns.turn([Template(file, {"script": "true"})]):
            done.set()

    thread = threading.Thread(target=update)
    thread.start()
    told = f"Another run's job GoT_train@{job} is on: waiting for its end"
    until(lambda: told in caplog.messages)
    until(lambda: holders(client) == [])
    with turns.lock(client):
        assert not done.is_set()
    client.stop_job(job, "GoT_train")
    assert done.wait(20)
    thread.join(20)
    assert last_job(client, "GoT_train").job.id == job
    pipeline(client, "other", "true", pfs("GoT_scripts"))
    with turns.turn([Template(file, {"script": "true"})]):
        pass
