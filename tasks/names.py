"""Names that say what a flow run does, known only once it runs."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run


def name_run(name: str) -> None:
    """Gives the current flow run another name."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.id), name=name)
