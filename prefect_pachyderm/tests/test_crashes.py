"""A process that triggers, waits and fetches is killed at random moments: who comes next takes up the same job."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.settings import get_current_settings
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import PachydermPipeline
from server import Server

KILLS = int(os.environ.get("KILLS", "40"))
RUN_SECONDS = 300
HERE = Path(__file__).parent


def spec(number: int) -> dict[str, Any]:
    """A pipeline whose job takes a moment and writes this number."""
    return {
        "pipeline": {"name": "count"},
        "input": {"pfs": {"repo": "in", "glob": "/"}},
        "transform": {"image": "host", "cmd": ["sh", "-c", f"echo begins; sleep 1; echo {number} > /pfs/out/number"]},
    }


@flow
def count(number: int, result: str) -> None:
    job = PachydermPipeline(spec=spec(number)).trigger()
    job.wait_for_completion()
    Path(result).write_bytes(job.fetch_result().read("/number"))


def run(number: int, result: str) -> None:
    """In a process of its own."""
    count(number, result)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_who_comes_after_a_kill_takes_up_the_same_job(
    prefect: None, server: Server, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", str(get_current_settings().api.url))
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)
    # Processes are forked from one that has imported everything.
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE / 'helpers'}")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    result, moments = tmp_path / "result", random.Random(3)
    number, kills, whole = 0, 0, 0.0

    def start() -> BaseProcess:
        process = context.Process(target=run, args=(number, str(result)))
        process.start()
        return process

    while kills < KILLS:
        number += 1
        # The first two are undisturbed: one waits for the imports, one tells how long it takes without them.
        for _ in range(moments.choice((2, 3, 4)) if number > 2 else 0):
            process = start()
            process.join(moments.uniform(0, whole))
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        begun = time.monotonic()
        process = start()
        process.join(RUN_SECONDS)
        assert process.exitcode == 0, f"after {kills} kills"
        whole = time.monotonic() - begun
        assert result.read_text() == f"{number}\n"
        jobs = list(client.list_job("count", history=-1))
        assert [info.state for info in jobs] == [pps_proto.JOB_SUCCESS] * number, f"after {kills} kills"
        assert sorted(info.pipeline_version for info in jobs) == list(range(1, number + 1))
    print(f"{kills} kills of processes that trigger, wait and fetch, {number} jobs, each once")
