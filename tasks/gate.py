"""The gate: a new model is released only if it is not worse than the released one on text that neither has seen.

The released model is the head of the branch `released` of `GoT_train`. Runs may train at the same time: each decides on the
commit that its own job wrote, whatever the head of `master` is by then. So the two that are compared are not taken from
branches: the repos `GoT_candidate` and `GoT_released` have copies of them, with the scripts that they were trained on (copies
cost nothing in PFS), and the pipeline `GoT_evaluate` compares what is there; how, `model/evaluate.py` says. A decision is the
event `model.released` or `model.rejected` about `model.GoT_train@ID`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import python_pachyderm
from prefect import get_run_logger, task

from prefect_pachyderm import events
from prefect_pachyderm.calls import LIVE, readable
from prefect_pachyderm.commits import ensure_repo, has_exactly, head_of, input_commits
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.pipelines import are_up_to_date, create_pipelines
from prefect_pachyderm.specs import Template
from tasks.project import BRANCH, CANDIDATE_REPO, EVALUATE, RELEASED_REPO, SCRIPTS_REPO, TRAIN
from tasks.turns import lock, turn

MODEL_REPO = TRAIN.name
RELEASED = "released"


@dataclass(frozen=True)
class Verdict:
    """What the gate says of the model of commit `candidate`; `before` is the commit of the one released so far."""

    released: bool
    reason: str
    candidate: str
    before: str | None


@task(name="look whether anything has changed", **LIVE)
def nothing_to_do(scripts: Mapping[str, Path], templates: Iterable[Template], tolerance: float) -> str | None:
    """Why there is nothing to do: the scripts, image and parameters are as they were, and the gate has decided."""
    client = connect()
    with readable("Looking whether anything has changed"):
        head = head_of(client, SCRIPTS_REPO, BRANCH)
        if head is None or not has_exactly(client, head, scripts) or not are_up_to_date(client, templates):
            return None
        candidate, before = _heads(client)
        if candidate is None or before is None:
            return None
        unchanged = f"Scripts, image and parameters are as they were at {SCRIPTS_REPO}@{head.commit.id[:7]}"
        if candidate == before:
            return f"{unchanged}, and the model {MODEL_REPO}@{candidate[:7]} made of them is released."
        evaluation = head_of(client, EVALUATE.name, BRANCH)
        verdict = _verdict(client, evaluation.commit.id, candidate, before, tolerance) if evaluation else None
        if verdict is None or verdict.released:
            return None
        return f"{unchanged}. {verdict.reason}"


@task(name="compare the new model", **LIVE)
def compare(candidate: str, evaluation: Template) -> str | None:
    """Has the model of commit `candidate` compared with the released one; returns the job that does, or None if there is none."""
    with turn([evaluation]):
        client = connect()
        with readable("Putting the models side by side"):
            before = _heads(client)[1]
            if before in (None, candidate):
                return None
            _copy(client, CANDIDATE_REPO, candidate)
            _copy(client, RELEASED_REPO, before)
        # Nobody else changes the two repos meanwhile, so its newest job is about these models.
        return create_pipelines([evaluation])[EVALUATE.name]


@task(name="decide on the new model", **LIVE)
def decide(candidate: str, job_id: str | None, tolerance: float) -> Verdict | None:
    """Releases the model of commit `candidate` if there is none yet, or if it is not worse than the released one.

    Emits an event. There is no verdict if another model has been released since the job compared them.

    Args:
        candidate: The commit that this run's training wrote.
        job_id: The job that compared it with the released model.
        tolerance: By which share the new model's perplexity may be above that of the released one.
    """
    client = connect()
    with lock(client), readable("Deciding on the new model"):
        newest, before = _heads(client)
        if before in (None, candidate):
            state = "the first model" if before is None else "released already"
            verdict: Verdict | None = Verdict(True, f"{MODEL_REPO}@{candidate[:7]} is {state}.", candidate, None)
        else:
            verdict = _verdict(client, job_id, candidate, before, tolerance) if job_id else None
        if verdict is None:
            return None
        if newest not in (None, candidate):
            moved = f"Another run has trained {MODEL_REPO}@{newest[:7]} meanwhile; nothing is said of that one."
            verdict = replace(verdict, reason=f"{verdict.reason} {moved}")
        scripts = _scripts_of(client, candidate)
        if verdict.released:
            client.create_branch(MODEL_REPO, RELEASED, head_commit=(MODEL_REPO, candidate))
    get_run_logger().info("%s", verdict.reason)
    _emit_decision(verdict, scripts)
    return verdict


def _emit_decision(verdict: Verdict, scripts: str) -> None:
    """Emits `model.released` or `model.rejected` about a model made of the scripts of commit `scripts`."""
    candidate = f"{MODEL_REPO}@{verdict.candidate}"
    related = [
        events.related_resource("commit", candidate, role="output-commit"),
        events.related_resource("commit", f"{SCRIPTS_REPO}@{scripts}", role="input-commit"),
    ]
    if verdict.before:
        related.append(events.related_resource("commit", f"{MODEL_REPO}@{verdict.before}", role="released-commit"))
    outcome = "released" if verdict.released else "rejected"
    events.emit(f"model.{outcome}", "model", candidate, related, {"reason": verdict.reason})


def _heads(client: python_pachyderm.Client) -> tuple[str | None, str | None]:
    """The commits of the newest and of the released model."""
    newest, released = (head_of(client, MODEL_REPO, branch) for branch in (BRANCH, RELEASED))
    return newest.commit.id if newest else None, released.commit.id if released else None


def _verdict(
    client: python_pachyderm.Client, job_id: str, candidate: str, before: str, tolerance: float
) -> Verdict | None:
    """What a comparison says, if it is one of these two models."""
    job = next(iter(client.inspect_commit((EVALUATE.name, job_id))))
    if job.error or not job.finished.seconds:
        return None
    inputs = dict(input_commits(client, EVALUATE.name, job_id))
    wanted = {CANDIDATE_REPO: candidate, RELEASED_REPO: before}
    if any(_copied(client, repo, inputs.get(repo)) != _description(model) for repo, model in wanted.items()):
        return None
    (evaluation,) = EVALUATE.outputs
    compared: dict[str, Any] = json.loads(client.get_file((EVALUATE.name, job_id), f"/{evaluation}").read())
    new, old, tokens = compared["candidate"], compared["released"], compared["tokens"]
    if not tokens:
        reason = "No text is held out from both models: the released one is kept."
        return Verdict(False, reason, candidate, before)
    better = new <= old * (1 + tolerance)
    reason = (
        f"The perplexity of {MODEL_REPO}@{candidate[:7]} on {tokens:,} held-out tokens is {new:.3f}, that of the released "
        f"{MODEL_REPO}@{before[:7]} is {old:.3f}: {'released' if better else 'kept, but not released'} "
        f"(tolerance {tolerance:.1%})."
    )
    return Verdict(better, reason, candidate, before)


def _scripts_of(client: python_pachyderm.Client, model: str) -> str:
    """The commit of scripts that a model was trained on."""
    return next(commit for repo, commit in input_commits(client, MODEL_REPO, model) if repo == SCRIPTS_REPO)


def _description(model: str) -> str:
    return f"{MODEL_REPO}@{model}"


def _copied(client: python_pachyderm.Client, repo: str, commit: str | None) -> str | None:
    """What a commit of copies says that it is a copy of."""
    return str(next(iter(client.inspect_commit((repo, commit)))).description) if commit else None


def _copy(client: python_pachyderm.Client, repo: str, model: str) -> None:
    """Makes a model and its scripts the content of `repo`, if it is another."""
    ensure_repo(client, repo, f"The {repo.partition('_')[2]} model and the scripts that it was trained on.")
    there = head_of(client, repo, BRANCH)
    if there is not None and there.finished.seconds and there.description == _description(model):
        return
    if there is not None and not there.finishing.seconds:
        # A run that died has left it open.
        client.drop_commit(there.commit.id)
    commit = client.start_commit(repo, BRANCH, description=_description(model))
    client.delete_file(commit, "/")
    client.copy_file((MODEL_REPO, model), "/", commit, "/model")
    client.copy_file((SCRIPTS_REPO, _scripts_of(client, model)), "/", commit, "/scripts")
    client.finish_commit(commit)
    events.commit_finished(next(iter(client.wait_commit((repo, commit.id)))), BRANCH)
