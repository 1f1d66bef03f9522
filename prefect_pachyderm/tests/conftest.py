"""What all tests share: a Prefect server for the session, a localpach for a module, and nothing of the machine's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness
from python_pachyderm import Client

from prefect_pachyderm.embedded import LocalpachError, find_localpach
from running import Captured
from server import Server


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """A temporary Prefect server with a database of its own."""
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PACHYDERM_BLOCK", "PACHD_ADDRESS", "PACHD_ROOT_CERTIFICATES", "PACH_PYTHON_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACH_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("LOCALPACH_ROOT", str(tmp_path / "localpach"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for a module's tests; it comes back at the same address."""
    try:
        find_localpach()
    except LocalpachError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Client:
    """A client of the module's server, which has the repo `in` with the file `/a` and nothing else."""
    client = server.client
    client.delete_all()
    client.create_repo("in")
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/a", b"one")
    client.wait_commit(commit)
    return client


@pytest.fixture
def captured() -> Iterator[Captured]:
    """What is logged of jobs during the test."""
    handler = Captured()
    logger = logging.getLogger("prefect.PachydermJob")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
