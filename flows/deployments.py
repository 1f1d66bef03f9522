"""What `make up` waits for, and the deployments that it makes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from httpx import HTTPError
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectHTTPStatusError

from prefect_pachyderm import PachydermPipeline
from prefect_pachyderm.embedded import LocalpachError, embedded_root, run_localpach
from tasks.errors import USER_ERRORS, ScriptwrightError
from tasks.image.image import RegistryCredentials
from tasks.report.index_page import write_index
from tasks.report.results import output_root

POOL = "scriptwright"
WAIT_SECONDS = 300.0
READY = """
Everything answers.
  Prefect's UI   {ui}   (it asks once for what is in .prefect-login)
  reports        {reports}
  localpach      {page}   (`.venv/bin/localpach page --root {root}` prints a link that logs in)
In a second terminal, after
  export PREFECT_API_URL={api}
  export PREFECT_UI_URL={ui}
  export PREFECT_API_AUTH_STRING="$(cat .prefect-login)"
try:
  .venv/bin/prefect deployment run train/train-and-write --param model=test --watch
  .venv/bin/prefect deployment run rerun/start-over --param model=small
  make status
Ctrl-C here ends all.
"""


def make_ready(say: Callable[[str], None]) -> str:
    """Waits until all processes answer and makes the deployments; returns what to try. Exits with 1 on an error."""
    started = datetime.now(UTC)
    try:
        _until("Prefect's server", _server_answers)
        _until("Prefect's worker", lambda: _worker_has_answered(started))
        _until("localpach", _localpach_answers)
        say("All answer; making the deployments")
        for block in (PachydermPipeline, RegistryCredentials):
            block.register_type_and_schema()
        deploy()
        write_index(output_root())
    except USER_ERRORS as error:
        sys.exit(f"Error: {error}")
    places = {
        "ui": "PREFECT_UI_URL",
        "reports": "SCRIPTWRIGHT_REPORTS_URL",
        "page": "SCRIPTWRIGHT_PAGE_URL",
        "api": "PREFECT_API_URL",
    }
    told = {name: os.environ[variable] for name, variable in places.items()}
    return READY.format(root=embedded_root(), **told)


def _until(who: str, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            raise ScriptwrightError(f"{who} has not answered for {WAIT_SECONDS:.0f} s; its own lines above say why.")
        time.sleep(0.5)


def _server_answers() -> bool:
    with get_client(sync_client=True) as client:
        return client.api_healthcheck() is None


def _worker_has_answered(since: datetime) -> bool:
    """Whether a worker has been heard of; those of an earlier `make up` are still in the list."""
    with get_client(sync_client=True) as client:
        try:
            workers = client.read_workers_for_work_pool(POOL)
        except (PrefectHTTPStatusError, HTTPError):
            return False
    return any(worker.last_heartbeat_time and worker.last_heartbeat_time > since for worker in workers)


def _localpach_answers() -> bool:
    try:
        run_localpach("status", "--root", str(embedded_root()))
    except LocalpachError:
        return False
    return True


def deploy() -> None:
    """Makes the deployments of `prefect.yaml`. What somebody has set meanwhile stays: schedules, and whether they are on."""
    with get_client(sync_client=True) as client:
        before = {deployment.id: deployment for deployment in client.read_deployments()}
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ScriptwrightError(f"`prefect deploy --all` failed:\n{(done.stdout + done.stderr)[-2000:]}")
        for deployment in client.read_deployments():
            if deployment.entrypoint and deployment.entrypoint.startswith("flows/"):
                _close(client, deployment)
            if deployment.id in before:
                _restore(client, before[deployment.id], deployment)


def _close(client: SyncPrefectClient, deployment: DeploymentResponse) -> None:
    """Has the server refuse parameters that the form does not have; a run that got one would crash."""
    schema = {**(deployment.parameter_openapi_schema or {}), "additionalProperties": False}
    client.update_deployment(deployment.id, DeploymentUpdate(parameter_openapi_schema=schema))


def _restore(client: SyncPrefectClient, before: DeploymentResponse, now: DeploymentResponse) -> None:
    """Deploying has dropped the schedules that `prefect.yaml` lacks, set the others to what it says, and ended a pause."""
    there = {schedule.slug or schedule.id: schedule for schedule in now.schedules}
    for schedule in before.schedules:
        same = there.get(schedule.slug or schedule.id)
        if same and same.active != schedule.active:
            client.update_deployment_schedule(now.id, same.id, active=schedule.active)
        elif not same and not schedule.slug:
            client.create_deployment_schedules(now.id, [(schedule.schedule, schedule.active)])
    if before.paused:
        client.pause_deployment(now.id)
