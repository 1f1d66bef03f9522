"""A server for each module of tests; the parts of PFS and a store for tests that need no server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from localpach.names import Repo
from localpach.pfs.service import Pfs
from localpach.storage.store import Store
from localpach.waiting import Bulletin
from tests.client import Client
from tests.servers import Server, serving

# The machine may be slow, and what failed once has to fail again.
settings.register_profile("localpach", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("localpach")


@pytest.fixture(autouse=True)
def _nothing_unexpected(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """A log with a traceback in it is a failed test; one that wants it clears it. Slow ones look for themselves."""
    yield
    if "slow" in request.keywords:
        return
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert not [record.getMessage() for record in records if record.exc_info and record.levelno >= logging.ERROR]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for a module's tests, on which images that are missing run on the host."""
    with serving(tmp_path_factory.mktemp("localpach")) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Client:
    """A client of the module's server, on which nothing is."""
    server.client.delete_all()
    return server.client


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in a fresh folder."""
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def pfs(store: Store) -> Pfs:
    """With a repo `default/in`; nothing finishes commits but the tests."""
    pfs = Pfs(store, Bulletin(store.after_commit))
    pfs.repos.create(Repo("default", "in"))
    return pfs
