"""Names in Prefect: of flow runs, which are known only once they run, and of artifacts."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run


def name_run(name: str) -> None:
    """Gives the current flow run another name; where Prefect's server does not answer, or fails, it keeps its own."""
    with suppress(HTTPError), get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.id), name=name)


def artifact_key(name: str) -> str:
    """The key of an artifact, which no other project on the same server has."""
    return f"scriptwright-{name}".lower().replace("_", "-")
