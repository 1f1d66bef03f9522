"""What a run has made: perplexities and the new script, fetched from PFS into `output/`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from prefect import task

from tasks.pachyderm import connect, readable

PERPLEXITY = re.compile(r"(Train|Valid|Test) Perplexity: ([\d.]+)")


@dataclass(frozen=True)
class Results:
    """Perplexity by split, the script, where both are kept, and the jobs that made them (pipeline → job id)."""

    jobs: dict[str, str]
    perplexity: dict[str, float]
    script: str
    directory: Path
    stored: list[str]


def output_root() -> Path:
    """Where results are kept: `SCRIPTWRIGHT_OUTPUT`, or `output` in the working directory."""
    return Path(os.environ.get("SCRIPTWRIGHT_OUTPUT", "output"))


@task(name="fetch results")
def fetch_results(jobs: dict[str, str]) -> Results:
    """Fetches log, metrics and script of these jobs (pipeline → job id) into `output/<commit set of the script>/`."""
    train, generate = jobs["GoT_train"], jobs["GoT_generate"]
    wanted = {
        "model-results": ("GoT_train", train),
        "metrics.json": ("GoT_train", train),
        "new_script.txt": ("GoT_generate", generate),
        "script_facts.json": ("GoT_generate", generate),
    }
    directory = output_root() / generate
    directory.mkdir(parents=True, exist_ok=True)
    client = connect()
    with readable("Fetching the results"):
        for name, commit in wanted.items():
            partial = directory / f".{name}.partial"
            partial.write_bytes(client.get_file(commit, f"/{name}").read())
            partial.replace(directory / name)
    found = PERPLEXITY.findall((directory / "model-results").read_text())
    return Results(
        jobs=jobs,
        perplexity={split.lower(): float(value) for split, value in found},
        script=(directory / "new_script.txt").read_text(),
        directory=directory,
        stored=[f"{repo}@{commit}:/{name}" for name, (repo, commit) in wanted.items()],
    )
