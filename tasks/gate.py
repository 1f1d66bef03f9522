"""The gate: a new model is released only if it is not worse than the released one on text that neither has seen.

The released model is the head of the branch `released` of `GoT_train`. Pachyderm takes no two branches of a repo into one DAG,
so the repo `GoT_released` has a copy of it, with the scripts that it was trained on (copies cost nothing in PFS). The
pipeline `GoT_evaluate` compares that with every new model; how, `model/evaluate.py` says. A decision is the event
`model.released` or `model.rejected` about `model.GoT_train@ID`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import python_pachyderm
from prefect import get_run_logger, task

from prefect_pachyderm import events
from prefect_pachyderm.calls import LIVE, readable
from prefect_pachyderm.commits import ensure_repo, has_exactly, head_of, input_commits
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.pipelines import Template, are_up_to_date
from tasks.errors import ScriptwrightError
from tasks.project import BRANCH, EVALUATE, RELEASED_REPO, SCRIPTS_REPO, TRAIN

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
        verdict = _verdict(client, candidate, before, tolerance)
        if verdict is None or verdict.released:
            return None
        return f"{unchanged}. {verdict.reason}"


@task(name="released model", **LIVE)
def has_released() -> bool:
    """Whether there is a released model; sees to it that `GoT_released` has it."""
    client = connect()
    with readable("Looking for the released model"):
        before = _heads(client)[1]
        if before is not None:
            _copy(client, before)
    return before is not None


@task(name="decide on the new model", **LIVE)
def decide(tolerance: float) -> Verdict:
    """Releases the newest model if there is none yet, or if it is not worse than the released one; emits an event.

    Args:
        tolerance: By which share the new model's perplexity may be above that of the released one.

    Raises:
        ScriptwrightError: the models have changed since they were compared.
    """
    client = connect()
    with readable("Deciding on the new model"):
        candidate, before = _heads(client)
        if candidate is None:
            raise ScriptwrightError("There is no model to decide on; run train first.")
        if before in (None, candidate):
            reason = f"{MODEL_REPO}@{candidate[:7]} is the first model."
            verdict: Verdict | None = Verdict(True, reason, candidate, None)
        else:
            verdict = _verdict(client, candidate, before, tolerance)
        if verdict is None:
            raise ScriptwrightError(
                f"{MODEL_REPO}@{candidate} was not compared with the released model: another run has made it since; "
                "run again."
            )
        scripts = _scripts_of(client, candidate)
        if verdict.released:
            client.create_branch(MODEL_REPO, RELEASED, head_commit=(MODEL_REPO, candidate))
            _copy(client, candidate)
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


def _verdict(client: python_pachyderm.Client, candidate: str, before: str | None, tolerance: float) -> Verdict | None:
    """What the newest comparison says, if it is one of these two models."""
    job = head_of(client, EVALUATE.name, BRANCH)
    if job is None or job.error or not job.finished.seconds:
        return None
    inputs = input_commits(client, EVALUATE.name, job.commit.id)
    copy = head_of(client, RELEASED_REPO, BRANCH)
    if copy is None or copy.description != _description(before):
        return None
    if (MODEL_REPO, candidate) not in inputs or (RELEASED_REPO, copy.commit.id) not in inputs:
        return None
    (evaluation,) = EVALUATE.outputs
    compared: dict[str, Any] = json.loads(client.get_file((EVALUATE.name, job.commit.id), f"/{evaluation}").read())
    new, old, tokens = compared["candidate"], compared["released"], compared["tokens"]
    if not tokens:
        reason = "No text is held out from both models: the released one is kept."
        return Verdict(False, reason, candidate, before)
    better = new <= old * (1 + tolerance)
    reason = (
        f"The perplexity of {MODEL_REPO}@{candidate[:7]} on {tokens:,} held-out tokens is {new:.3f}, that of the released "
        f"{MODEL_REPO}@{(before or '')[:7]} is {old:.3f}: {'released' if better else 'kept, but not released'} "
        f"(tolerance {tolerance:.1%})."
    )
    return Verdict(better, reason, candidate, before)


def _scripts_of(client: python_pachyderm.Client, model: str) -> str:
    """The commit of scripts that a model was trained on."""
    return next(commit for repo, commit in input_commits(client, MODEL_REPO, model) if repo == SCRIPTS_REPO)


def _description(model: str | None) -> str:
    return f"{MODEL_REPO}@{model}"


def _copy(client: python_pachyderm.Client, model: str) -> None:
    """Makes a model and its scripts the content of `GoT_released`, if it is another."""
    ensure_repo(client, RELEASED_REPO, "The released model and the scripts that it was trained on.")
    there = head_of(client, RELEASED_REPO, BRANCH)
    if there is not None and there.finished.seconds and there.description == _description(model):
        return
    if there is not None and not there.finishing.seconds:
        # A run that died has left it open.
        client.drop_commit(there.commit.id)
    commit = client.start_commit(RELEASED_REPO, BRANCH, description=_description(model))
    client.delete_file(commit, "/")
    client.copy_file((MODEL_REPO, model), "/", commit, "/model")
    client.copy_file((SCRIPTS_REPO, _scripts_of(client, model)), "/", commit, "/scripts")
    client.finish_commit(commit)
    client.wait_commit((RELEASED_REPO, commit.id))
