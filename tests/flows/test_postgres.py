"""Prefect on PostgreSQL, as larger teams run it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import cheap
from tests.flows.deployed import Deployed, deployed

START_SECONDS = 60


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a PostgreSQL of the test's own."""
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
    if programs is None:
        assert "CI" not in os.environ, "CI must have PostgreSQL"
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # It refuses to run as root; Debian's package has made a user for it.
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    shutil.chown(folder, user)
    initdb = [str(programs / "initdb"), "--auth=trust", "--username=prefect", "--no-sync", str(folder / "data")]
    subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = ["-D", str(folder / "data"), "-k", str(folder), "-h", "127.0.0.1", "-p", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([programs / "postgres", *places], user=user, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(
            [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
        ).returncode:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        # Without waiting for those who are still connected.
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_of_a_deployment_with_its_events(database: str, tmp_path: Path) -> None:
    def use(it: Deployed) -> None:
        it.env["PREFECT_API_DATABASE_CONNECTION_URL"] = database

    with deployed(tmp_path, use) as it:
        source = cheap.scripts(tmp_path / "scripts.tar.gz", 1, 50.0)
        assert it.run("train/train-and-write", source=str(source), tokens=200).state_name == "Completed"
        it.until(lambda: len(it.events("pachyderm.job.succeeded")) == 2)
        assert not list((tmp_path / "prefect").glob("*.db"))
