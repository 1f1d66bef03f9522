"""A real Prefect server and worker with the project's deployments, on a copy of the project whose pipelines are cheap."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from python_pachyderm import Client

from prefect_pachyderm.embedded import find_localpach
from tests.flows import cheap

ROOT = Path(__file__).parents[2]
POOL = "scriptwright"
START_SECONDS = 600


class Deployed:
    """The server, the worker and what is deployed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        left = shutil.ignore_patterns(".[!d]*", "output", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT, self.project, ignore=left)
        cheap.specs(self.project / "pipeline_specs")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        own = ("PACH", "LOCALPACH", "PREFECT", "SCRIPTWRIGHT", "IMAGE_")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        self.env |= {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PACH_CONFIG": str(folder / "no-pachctl.json"),
            "IMAGE_BUILDER": "bundle",
            "LOCALPACH_ROOT": str(folder / "localpach"),
            "SCRIPTWRIGHT_OUTPUT": str(folder / "output"),
            "SCRIPTWRIGHT_CACHE": str(folder / "cache"),
            # The copy's packages come before those that are installed.
            "PYTHONPATH": f"{self.project}:{self.project}/prefect_pachyderm/src",
        }
        self.api = SyncPrefectClient(api=self.env["PREFECT_API_URL"])
        self.server: subprocess.Popen[bytes]
        self.worker: subprocess.Popen[bytes]
        self.root = folder / "localpach"
        # Where server and worker are started.
        self.workplace = self.project

    def cli(self, *arguments: str, check: bool = True) -> str:
        """What a `prefect` command prints."""
        command = [sys.executable, "-m", "prefect", *arguments]
        done = subprocess.run(
            command, cwd=self.project, env=self.env, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout + done.stderr

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a `prefect` command that goes on until `end`, in a session of its own."""
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=self.workplace,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends what `spawn` has started."""
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start_server(self) -> None:
        """Starts Prefect's server and waits until it answers."""
        self.server = self.spawn("server", "start", "--port", str(self.port))
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.api.hello()
                return
            except Exception:
                assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
                time.sleep(0.5)

    def start_worker(self) -> None:
        """Starts a worker of the pool."""
        self.worker = self.spawn("worker", "start", "--pool", POOL, "--type", "process")

    def start(self, deployment: str, **parameters: Any) -> UUID:
        """Asks for a run as the UI does; returns its id."""
        found = self.api.read_deployment_by_name(deployment)
        return self.api.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def wait(self, run_id: UUID, *states: str, seconds: float = 240) -> FlowRun:
        """The run once its state has one of these names, or is final."""
        deadline = time.monotonic() + seconds
        while True:
            run = self.api.read_flow_run(run_id)
            if run.state and (run.state.name in states or run.state.is_final()):
                return run
            assert time.monotonic() < deadline, f"{run.name} is still {run.state_name}\n{self.log_of(run_id)}"
            time.sleep(0.3)

    def run(self, deployment: str, **parameters: Any) -> FlowRun:
        """A run of a deployment, once it is over."""
        return self.wait(self.start(deployment, **parameters))

    def log_of(self, run_id: UUID) -> str:
        """What a flow run has logged of late."""
        query = {"logs": {"flow_run_id": {"any_": [str(run_id)]}}, "sort": "TIMESTAMP_DESC"}
        found = self.api._client.post("/logs/filter", json=query).json()
        return "\n".join(each["message"] for each in reversed(found))

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The events of these names, oldest first."""
        query = {"filter": {"event": {"name": list(names)}, "order": "ASC"}, "limit": 50}
        found: list[dict[str, Any]] = self.api._client.post("/events/filter", json=query).json()["events"]
        return found

    def pid_of(self, run_id: UUID) -> int:
        """The process of a flow run."""
        pid = self.api.read_flow_run(run_id).infrastructure_pid
        assert pid
        return int(re.findall(r"\d+", pid)[-1])

    @property
    def pachyderm(self) -> Client:
        """A client of the embedded Pachyderm."""
        root = self.root
        host, port = json.loads((root / "address").read_text())["address"].split(":")
        return Client(host, int(port), auth_token=(root / "token").read_text().strip())

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Waits for something that is neither a run nor a job."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def stop_pachyderm(self) -> None:
        """Ends the embedded Pachyderm."""
        command = [find_localpach(), "stop", "--root", str(self.root)]
        subprocess.run(command, check=False, capture_output=True)


@contextmanager
def deployed(folder: Path, prepare: Callable[[Deployed], None] = lambda it: None) -> Iterator[Deployed]:
    """Server and worker, with all deployments made as the README says."""
    it = Deployed(folder)
    prepare(it)
    try:
        it.start_server()
        it.cli("work-pool", "create", "--type", "process", "--overwrite", POOL)
        it.cli("--no-prompt", "deploy", "--all")
        it.start_worker()
        try:
            yield it
        finally:
            it.stop_pachyderm()
            it.end(it.worker)
    finally:
        it.end(it.server)
