"""The figures of the README's table that are of time: how soon a cancelled run's job stops, and how late a line is."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from prefect import Flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import get_current_settings
from prefect.states import Cancelling
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import PachydermJob, PachydermPipeline
from server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STOPPED_WITHIN_SECONDS = 2.0
LATE_AT_MOST_SECONDS = 1.0
START_SECONDS = 0.05
POOL = "figures"
FLOW = """
from prefect import flow, task
from prefect_pachyderm.waits import stop_jobs
from test_figures import pipeline

@task
def wait():
    pipeline("sleep 300").trigger().wait_for_completion()

@flow(on_cancellation=[stop_jobs])
def waits(submitted: bool):
    wait.submit().result() if submitted else wait()
"""


def pipeline(script: str) -> PachydermPipeline:
    spec = {
        "pipeline": {"name": "p"},
        "input": {"pfs": {"repo": "in", "glob": "/"}},
        "transform": {"image": "host", "cmd": ["sh", "-c", script]},
    }
    return PachydermPipeline(spec=spec)


@pytest.fixture(autouse=True)
def named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the server."""
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)


def until(true: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def slowness() -> float:
    """How much longer than it may a process takes to start on this machine now."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    return max(1.0, (time.monotonic() - began) / START_SECONDS)


@pytest.fixture
def api(prefect: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def worker(api: SyncPrefectClient, tmp_path: Path) -> Iterator[None]:
    """A worker of Prefect's, and the deployment `waits/deployed` for it."""
    (tmp_path / "waits.py").write_text(FLOW)
    here = Path(__file__).parent
    env = {
        **os.environ,
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
        "PYTHONPATH": f"{here}:{here / 'helpers'}",
    }
    api.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
    waits = cast("Flow[..., Any]", Flow.from_source(str(tmp_path), "waits.py:waits"))
    waits.deploy("deployed", work_pool_name=POOL, print_next_steps=False)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    worker = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield
    worker.terminate()
    worker.wait(60)


def ask_to_cancel(api: SyncPrefectClient, run_id: UUID) -> None:
    """As `prefect flow-run cancel` and the UI's button do."""
    api.set_flow_run_state(run_id, Cancelling())


def terminate(api: SyncPrefectClient, run_id: UUID) -> None:
    os.kill(int(str(api.read_flow_run(run_id).infrastructure_pid).rpartition(":")[2]), signal.SIGTERM)


@pytest.mark.parametrize("submitted", [False, True])
@pytest.mark.parametrize("cancel", [ask_to_cancel, terminate])
def test_the_job_of_a_cancelled_run_is_stopped_within_two_seconds(
    cancel: Callable[..., None],
    submitted: bool,
    api: SyncPrefectClient,
    client: Client,
    worker: None,
) -> None:
    deployment = api.read_deployment_by_name("waits/deployed")
    run_id = api.create_flow_run_from_deployment(deployment.id, parameters={"submitted": submitted}).id
    logs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    until(lambda: any("is JOB_RUNNING" in log.message for log in api.read_logs(logs)))
    asked = time.time()
    cancel(api, run_id)
    (job,) = client.list_job("p")
    until(lambda: next(iter(client.inspect_job(job.job.id, "p"))).state == pps_proto.JOB_KILLED)
    assert time.time() - asked < STOPPED_WITHIN_SECONDS * slowness()


def test_a_line_is_there_once_and_less_than_a_second_late(client: Client) -> None:
    job = pipeline("for i in $(seq 30); do echo line $i; sleep 0.1; done").trigger()
    came: list[tuple[str, float]] = []
    PachydermJob("p", job.job_id, on_line=lambda line: came.append((line, time.time()))).wait_for_completion()
    said = [each for each in client.get_job_logs("p", job.job_id) if each.user]
    assert [line for line, _ in came] == [each.message.rstrip() for each in said] == [f"line {n}" for n in range(1, 31)]
    late = [at - (each.ts.seconds + each.ts.nanos / 1e9) for each, (_, at) in zip(said, came, strict=True)]
    assert statistics.median(late) < LATE_AT_MOST_SECONDS * slowness()
