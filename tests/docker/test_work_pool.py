"""A work pool of Prefect's type docker: the flow runs in a container, its job on the Pachyderm of the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from docker import DockerClient
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import get_current_settings
from prefect.states import Cancelling
from python_pachyderm.service import pps_proto

from tests.docker.conftest import PLAIN_BASE
from tests.servers import Server

# The first of them to run makes the base image, where it is not there from an earlier session.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
POOL, IMAGE = "containers", "scriptwright-flows:test"
DOCKERFILE = f"""
FROM {PLAIN_BASE}
COPY . /flows
ENV PYTHONPATH=/flows/site:/flows/src
"""
FLOW = """
from prefect import flow
from prefect_pachyderm import PachydermPipeline
from prefect_pachyderm.waits import stop_jobs

@flow(on_cancellation=[stop_jobs])
def waits(seconds: int):
    spec = {
        "pipeline": {"name": "p"},
        "input": {"pfs": {"repo": "in", "glob": "/"}},
        "transform": {"image": "host", "cmd": ["sh", "-c", f"echo a line; sleep {seconds}"]},
    }
    PachydermPipeline(spec=spec).trigger().wait_for_completion()
"""


@pytest.fixture(scope="module")
def pachyderm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """On the host, with a repo."""
    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    server.client.create_repo("in")
    with server.client.commit("in", "master") as commit:
        server.client.put_file_bytes(commit, "/a", b"one")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def image(host: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's Python with the locked packages, prefect_pachyderm and the flow."""
    folder = tmp_path_factory.mktemp("image")
    wanted = ["--require-hashes", "--requirement", str(ROOT / "requirements.txt")]
    target = ["--target", str(folder / "site"), "--python-version", "3.11", "--python-platform", "linux"]
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "--quiet", *target, *wanted], check=True, cwd=folder)
    shutil.copytree(ROOT / "prefect_pachyderm" / "src", folder / "src")
    (folder / "waits.py").write_text(FLOW)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    host.images.build(path=str(folder), tag=IMAGE)
    return IMAGE


@pytest.fixture(scope="module")
def api(prefect: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def deployment(api: SyncPrefectClient, image: str, pachyderm: Server) -> Iterator[UUID]:
    """The flow's, with a worker that starts a container for each run."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "docker"]
    own = {"PREFECT_API_URL": str(get_current_settings().api.url), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    worker = subprocess.Popen(command, env=os.environ | own)
    variables = {
        "image": image,
        "image_pull_policy": "Never",
        "command": "python3 -m prefect flow-run execute",
        "network_mode": "host",
        "auto_remove": True,
        "env": {
            "PACHD_ADDRESS": pachyderm.address,
            "PACH_PYTHON_AUTH_TOKEN": (pachyderm.root / "token").read_text(),
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
        },
    }
    try:
        until(lambda: any(pool.name == POOL for pool in api.read_work_pools()))
        yield api.create_deployment(
            api.create_flow_from_name("waits"),
            "contained",
            work_pool_name=POOL,
            entrypoint="waits.py:waits",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": "/flows"}}],
            job_variables=variables,
        )
    finally:
        worker.terminate()
        worker.wait(60)


def until(true: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def told(api: SyncPrefectClient, run_id: UUID) -> list[str]:
    logs = api.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
    return [log.message for log in logs]


def state(api: SyncPrefectClient, run_id: UUID) -> str:
    found = api.read_flow_run(run_id).state
    return str(found.name) if found and found.is_final() else ""


def test_a_flow_in_a_container_waits_for_a_job_on_the_host(
    api: SyncPrefectClient, deployment: UUID, pachyderm: Server
) -> None:
    run_id = api.create_flow_run_from_deployment(deployment, parameters={"seconds": 5}).id
    until(lambda: state(api, run_id))
    assert state(api, run_id) == "Completed", told(api, run_id)
    until(lambda: told(api, run_id).count("a line") == 1)
    assert [job.state for job in pachyderm.client.list_job("p")] == [pps_proto.JOB_SUCCESS]


def test_a_container_that_is_cancelled_stops_its_job(
    api: SyncPrefectClient, deployment: UUID, pachyderm: Server, host: DockerClient
) -> None:
    run_id = api.create_flow_run_from_deployment(deployment, parameters={"seconds": 300}).id
    until(lambda: "a line" in told(api, run_id))
    api.set_flow_run_state(run_id, Cancelling())
    until(lambda: state(api, run_id))
    assert state(api, run_id) == "Cancelled"
    newest = next(iter(pachyderm.client.list_job("p")))
    assert newest.state == pps_proto.JOB_KILLED
    until(lambda: not host.containers.list())
