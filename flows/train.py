"""The main flow: from a tarball of scripts to a trained model's perplexity and a new script."""

from __future__ import annotations

from prefect import flow

from flows.parameters import TrainParameters, takes
from flows.terminal import run_from_terminal
from tasks.corpus import download, extract
from tasks.image import build_image, choose_builder
from tasks.jobs import stop_jobs, wait_for_job
from tasks.names import name_run
from tasks.pachyderm import find_pachyderm
from tasks.pipelines import PIPELINES, Arguments, create_pipelines
from tasks.reports import report
from tasks.repos import commit_scripts
from tasks.results import fetch_results
from tasks.turns import turn


@flow(name="train", flow_run_name="train {model}", log_prints=True, persist_result=True, on_cancellation=[stop_jobs])
@takes(TrainParameters)
def train(run: TrainParameters) -> str:
    """Commits the scripts, trains the model on them, has it write a script, and returns a summary of both."""
    find_pachyderm()
    builder = choose_builder()
    tarball = download(run.source, run.sha256)
    scripts = extract(tarball, run.members)
    image = build_image(builder)
    arguments = pipeline_arguments(run, image)
    with turn(arguments):
        commit = commit_scripts(scripts, tarball.source, tarball.sha256)
        jobs = create_pipelines(arguments)
    name_run(f"train {run.model} on GoT_scripts@{commit[:7]}")
    for pipeline in PIPELINES:
        wait_for_job(pipeline, jobs[pipeline], run.timeout_minutes)
    summary = report(run.model, fetch_results(jobs))
    print(summary)
    return summary


def pipeline_arguments(run: TrainParameters, image: str) -> Arguments:
    """What the pipelines' specs are rendered with."""
    return {
        "GoT_train": {"image": image, "model": run.model, "seed": str(run.seed)},
        "GoT_generate": {"image": image, "tokens": str(run.tokens), "seed": str(run.seed)},
    }


if __name__ == "__main__":
    run_from_terminal(train)
