"""Tears down and runs again, with the `small` model unless told otherwise."""

from __future__ import annotations

from prefect import flow

from flows.parameters import RerunParameters, takes
from flows.teardown import teardown
from flows.train import train
from prefect_pachyderm.waits import stop_jobs
from tasks.report.results import Results


@flow(name="rerun", flow_run_name="rerun {model}", persist_result=True, on_cancellation=[stop_jobs])
@takes(RerunParameters)
def rerun(run: RerunParameters) -> Results:
    """Deletes this project's pipelines and repos, then trains anew; returns what `train` does."""
    given = run.model_dump()
    if run.recipe != run.model:
        del given["model"]
    teardown()
    results: Results = train(**given)
    return results
