"""Deletes what the project has made in Pachyderm."""

from __future__ import annotations

from prefect import flow

from flows.parameters import TeardownParameters, takes
from tasks.teardown import delete_everything, delete_project


@flow(name="teardown", flow_run_name="teardown")
@takes(TeardownParameters)
def teardown(run: TeardownParameters) -> None:
    """Deletes this project's pipelines and repos, or all that there are."""
    if run.everything:
        delete_everything()
    else:
        delete_project()
