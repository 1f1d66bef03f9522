"""Where results come from, as an in-toto statement beside them: https://slsa.dev/provenance/v1, unsigned.

Its subjects are all files that the jobs have made, with their SHA-256. What they were made of is the jobs' transforms and inputs,
with seeds and all, the commits from outside with a hash over all their files (`dirHash`), the archive that these came from, and the image.
`tasks/verify.py` makes the subjects again from this alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import python_pachyderm
from google.protobuf.json_format import MessageToDict
from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import pps, readable
from prefect_pachyderm.commits import stream_file
from prefect_pachyderm.names import job_of
from tasks.files import write_whole
from tasks.report.lineage import Job, Lineage

PROVENANCE = "provenance.json"
BUILD_TYPE = "urn:scriptwright:pachyderm-jobs:1"
Statement = dict[str, Any]


def write_provenance(client: python_pachyderm.Client, directory: Path, lineage: Lineage) -> Path:
    """Writes the statement of what these jobs have made into the folder of the results.

    Raises:
        PachydermError: a job or commit is gone, or nobody answers.
    """
    with readable("Writing down where the results come from"):
        statement = describe(client, lineage)
    write_whole(directory / PROVENANCE, json.dumps(statement, indent=2, ensure_ascii=False) + "\n")
    return directory / PROVENANCE


def describe(client: python_pachyderm.Client, lineage: Lineage) -> Statement:
    """The statement of what these jobs have made."""
    made = {
        f"{job.pipeline}/{path}": digest
        for job in lineage.jobs
        for path, digest in digests(client, job.pipeline, job.id).items()
    }
    commits = [
        {
            "name": commit.repo,
            "uri": f"pachyderm:{commit.repo}@{commit.commit}",
            "digest": {"dirHash": hash_of(digests(client, commit.repo, commit.commit))},
        }
        for commit in lineage.inputs
    ]
    archives = [
        {"name": "archive", "uri": each.source, "digest": {"sha256": each.sha256}}
        for each in lineage.inputs
        if each.sha256
    ]
    images = [_image(name) for name in dict.fromkeys(job.image for job in lineage.jobs)]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in made.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"jobs": [_parameters(client, job) for job in lineage.jobs]},
                "resolvedDependencies": [*commits, *archives, *images],
            },
            "runDetails": {
                "builder": {"id": "urn:scriptwright", "version": {"scriptwright": version("scriptwright")}},
                "metadata": {
                    "invocationId": lineage.jobs[-1].output_commit,
                    "startedOn": min(job.started for job in lineage.jobs).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "finishedOn": max(job.finished for job in lineage.jobs).strftime("%Y-%m-%dT%H:%M:%SZ"),
                },
            },
        },
    }


def _image(name: str) -> dict[str, Any]:
    """An image; one that is named by its build has the hash of what went into it in its tag."""
    _, _, digest = name.partition("@sha256:")
    return {"name": "image", "uri": name} | ({"digest": {"sha256": digest}} if digest else {})


def digests(client: python_pachyderm.Client, repo: str, commit: str) -> dict[str, str]:
    """SHA-256 of each file of a commit, by path."""
    paths = [info.file.path for info in client.walk_file((repo, commit), "/") if not info.file.path.endswith("/")]
    return {path.removeprefix("/"): _sha256(client, (repo, commit), path) for path in paths}


def hash_of(files: Mapping[str, str]) -> str:
    """One hash over SHA-256 by path: that of the lines which sha256sum writes of the sorted files."""
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(client: python_pachyderm.Client, commit: tuple[str, str], path: str) -> str:
    digest = hashlib.sha256()
    for piece in stream_file(client, commit, path):
        digest.update(piece)
    return digest.hexdigest()


def _parameters(client: python_pachyderm.Client, job: Job) -> dict[str, Any]:
    """What was asked of a job: its pipeline's transform and input as they were then."""
    details = (
        pps(client).InspectJob(pps_proto.InspectJobRequest(job=job_of(job.pipeline, job.id), details=True)).details
    )
    return {
        "pipeline": job.pipeline,
        "version": job.version,
        "job": job.id,
        "transform": MessageToDict(details.transform),
        "input": MessageToDict(details.input),
    }
