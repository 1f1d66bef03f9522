"""Retraining that nobody watches: looks at the source, trains where it has changed, and releases what is good enough.

A run ends as Completed, with one of these names and the reason as its message:

- **Skipped**: scripts, image and parameters are as they were, and the gate has decided on the model made of them. An http(s)
  source is asked by ETag or Last-Modified, so that an unchanged archive is not sent again.
- **Released**: the new model is the head of the branch `released` of `GoT_train`.
- **Rejected**: the new model is on `master` and stays there, and the released one remains.

The deployment's schedule is off until somebody turns it on. Runs that are late are cancelled where one is on.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed

from flows.parameters import RetrainParameters, takes
from flows.train import templates_of, train
from prefect_pachyderm.credentials import find_pachyderm
from prefect_pachyderm.waits import stop_jobs, wait_for_job
from tasks.corpus.corpus import download, extract
from tasks.gate import compare, decide, nothing_to_do
from tasks.image.image import build_image, choose_builder
from tasks.names import name_run
from tasks.project import EVALUATE, TRAIN
from tasks.report.index_page import note, write_index
from tasks.report.results import Results


@flow(name="retrain", flow_run_name="retrain {model}", on_cancellation=[stop_jobs])
@takes(RetrainParameters)
def retrain(run: RetrainParameters) -> State[Any]:
    """Trains again where anything has changed, and releases the new model if it is good enough."""
    recipe = run.recipe
    find_pachyderm()
    builder = choose_builder()
    tarball = download(run.source, run.sha256 or None)
    scripts = extract(tarball, run.members or None)
    image = build_image(builder)
    reason = nothing_to_do(scripts, templates_of(run, image), run.tolerance)
    if reason:
        name_run(f"retrain {recipe}: nothing new")
        return Completed(name="Skipped", message=reason)
    # The very archive that was looked at: it is not asked for again.
    results: Results = train(**{**run.model_dump(exclude={"tolerance"}), "sha256": tarball.sha256})
    candidate = results.jobs[TRAIN.name]
    verdict = None
    # Again, where another run has released its model meanwhile.
    while verdict is None:
        job_id = compare(candidate, EVALUATE.template({"image": image}))
        if job_id:
            wait_for_job(EVALUATE.name, job_id, 60 * run.timeout_minutes)
        verdict = decide(candidate, job_id, run.tolerance)
    note(results.directory, released=verdict.released)
    write_index(results.directory.parent)
    outcome = "Released" if verdict.released else "Rejected"
    name_run(f"retrain {recipe}: {outcome.lower()} GoT_train@{verdict.candidate[:7]}")
    return Completed(name=outcome, message=verdict.reason)
