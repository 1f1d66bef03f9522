"""What the tests of tasks share: a site to download from, and a Pachyderm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger
from python_pachyderm import Client

from tasks.corpus import fetch
from tests.servers import Server
from tests.site import Site, serving


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, short pauses, and no run whose log is kept."""
    monkeypatch.setenv("SCRIPTWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.01)
    with disable_run_logger():
        yield tmp_path / "cache"


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server of the test's own."""
    with serving() as site:
        yield site


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client of the Pachyderm that the tasks use, too, with nothing in it."""
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", (server.root / "token").read_text())
    client = server.client
    client.delete_all()
    return client
