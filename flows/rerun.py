"""Tears down and runs again, with the `small` model unless told otherwise."""

from __future__ import annotations

from prefect import flow

from flows.teardown import teardown
from flows.terminal import run_from_terminal
from flows.train import Model, train
from tasks.corpus import DEFAULT_SOURCE


@flow(name="rerun", flow_run_name="rerun {model}")
def rerun(source: str = DEFAULT_SOURCE, members: str | None = None, model: Model = "small", seed: int = 1) -> str:
    """Deletes this project's pipelines and repos, then trains `model`; returns the summary of `train`."""
    teardown()
    return train(source=source, members=members, model=model, seed=seed)


if __name__ == "__main__":
    run_from_terminal(rerun)
