"""What a run has made: perplexities and the new script, fetched from PFS into `output/`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.context import TaskRunContext

from prefect_pachyderm.calls import RETRIES, readable
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.embedded import lasting_folder
from tasks.files import write_whole
from tasks.project import CHAIN, GENERATE

OUTPUT = "output"
# The pipeline that writes it, by file.
FILES = {output: pipeline.name for pipeline in CHAIN for output in pipeline.outputs}


@dataclass(frozen=True)
class Results:
    """Perplexity by split, the script, where both are kept, and the jobs that made them (pipeline → job id)."""

    jobs: dict[str, str]
    perplexity: dict[str, float]
    script: str
    directory: Path
    stored: list[str]


def output_root() -> Path:
    """Where results are kept: `SCRIPTWRIGHT_OUTPUT`, or `output` in the folder that lasts."""
    lasting = lasting_folder()
    # Short where it can be: people read it at the end of a run.
    return Path(os.environ.get("SCRIPTWRIGHT_OUTPUT") or (OUTPUT if lasting == Path.cwd() else lasting / OUTPUT))


def _key(context: TaskRunContext, parameters: dict[str, Any]) -> str | None:
    """What commits hold does not change: fetched once, as long as the files are there."""
    jobs: dict[str, str] = parameters["jobs"]
    directory = output_root() / jobs[GENERATE.name]
    if not all((directory / name).exists() for name in FILES):
        return None
    # What was kept by a version of the project whose `Results` are others is of no use.
    kind = (Results.__module__, *Results.__annotations__)
    parts = (*(jobs[pipeline.name] for pipeline in CHAIN), str(directory.absolute()), *kind)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@task(name="fetch results", cache_key_fn=_key, persist_result=True, **RETRIES)
def fetch_results(jobs: dict[str, str]) -> Results:
    """Fetches log, metrics and script of these jobs (pipeline → job id) into `output/<commit set of the script>/`."""
    wanted = {name: (pipeline, jobs[pipeline]) for name, pipeline in FILES.items()}
    directory = output_root() / jobs[GENERATE.name]
    directory.mkdir(parents=True, exist_ok=True)
    client = connect()
    with readable("Fetching the results"):
        for name, commit in wanted.items():
            write_whole(directory / name, client.get_file(commit, f"/{name}").read())
    return Results(
        jobs=jobs,
        perplexity=json.loads((directory / "metrics.json").read_text())["perplexity"],
        script=(directory / "new_script.txt").read_text(),
        directory=directory,
        stored=[f"{repo}@{commit}:/{name}" for name, (repo, commit) in wanted.items()],
    )
