"""A server for each module, as users start it, and a client of python-pachyderm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from python_pachyderm import Client

from tests.servers import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Client:
    """A client of the module's server, on which nothing is."""
    server.client.delete_all()
    return server.client
