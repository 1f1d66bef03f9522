"""A client of python-pachyderm, of a server as users start it."""

from __future__ import annotations

import pytest
from python_pachyderm import Client

from tests.servers import Server


@pytest.fixture
def client(server: Server) -> Client:
    """A client of the module's server, on which nothing is."""
    server.client.delete_all()
    return server.client
