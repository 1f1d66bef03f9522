"""What a run has made: perplexities and the new script, fetched from PFS into `output/`."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.context import TaskRunContext

from tasks.pachyderm import RETRIES, connect, readable

# Who writes what a run is judged by.
FILES = {
    "model-results": "GoT_train",
    "metrics.json": "GoT_train",
    "new_script.txt": "GoT_generate",
    "script_facts.json": "GoT_generate",
}
PERPLEXITY = re.compile(r"^(?:Epoch: \d+ )?(Train|Valid|Test) Perplexity: ([\d.]+)$", re.MULTILINE)


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


def _key(context: TaskRunContext, parameters: dict[str, Any]) -> str | None:
    """What commits hold does not change: fetched once, as long as the files are there."""
    jobs: dict[str, str] = parameters["jobs"]
    directory = output_root() / jobs["GoT_generate"]
    if not all((directory / name).exists() for name in FILES):
        return None
    # What was kept by a version of the project whose `Results` are others is of no use.
    parts = (jobs["GoT_train"], jobs["GoT_generate"], str(directory.absolute()), *Results.__annotations__)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@task(name="fetch results", cache_key_fn=_key, persist_result=True, **RETRIES)
def fetch_results(jobs: dict[str, str]) -> Results:
    """Fetches log, metrics and script of these jobs (pipeline → job id) into `output/<commit set of the script>/`."""
    wanted = {name: (pipeline, jobs[pipeline]) for name, pipeline in FILES.items()}
    directory = output_root() / jobs["GoT_generate"]
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
