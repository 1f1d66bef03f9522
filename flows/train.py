"""The main flow: from a tarball of scripts to a trained model's perplexity and a new script."""

from __future__ import annotations

from prefect import flow

from flows.parameters import TrainParameters, takes
from prefect_pachyderm.credentials import find_pachyderm
from prefect_pachyderm.pipelines import create_pipelines
from prefect_pachyderm.specs import Template
from prefect_pachyderm.waits import stop_jobs, wait_for_job
from tasks.corpus.corpus import download, extract
from tasks.image.image import build_image, choose_builder
from tasks.names import name_run
from tasks.progress import Progress
from tasks.project import CHAIN, GENERATE, TRAIN
from tasks.report.reports import report
from tasks.report.results import Results, fetch_results
from tasks.scripts import commit_scripts
from tasks.turns import turn


@flow(name="train", flow_run_name="train {model}", log_prints=True, persist_result=True, on_cancellation=[stop_jobs])
@takes(TrainParameters)
def train(run: TrainParameters) -> Results:
    """Commits the scripts, trains the model on them, has it write a script, prints a summary of both, and returns them."""
    recipe = run.recipe
    find_pachyderm()
    builder = choose_builder()
    tarball = download(run.source, run.sha256 or None)
    scripts = extract(tarball, run.members or None)
    image = build_image(builder)
    templates = templates_of(run, image)
    with turn(templates):
        commit = commit_scripts(scripts, tarball.source, tarball.sha256)
        jobs = create_pipelines(templates)
    name_run(f"train {recipe} on GoT_scripts@{commit[:7]}")
    seconds = 60 * run.timeout_minutes
    with Progress(TRAIN.name, jobs[TRAIN.name]) as progress:
        wait_for_job(TRAIN.name, jobs[TRAIN.name], seconds, on_line=progress.read)
    wait_for_job(GENERATE.name, jobs[GENERATE.name], seconds)
    results = fetch_results(jobs)
    print(report(recipe, results))
    return results


def templates_of(run: TrainParameters, image: str) -> list[Template]:
    """What the pipelines' specifications are made of."""
    minutes = f"{run.minutes:g}" if run.minutes else ""
    return [pipeline.template({**run.model_dump(), "minutes": minutes, "image": image}) for pipeline in CHAIN]
