"""Where results come from, as Pachyderm remembers it: commits, pipelines, jobs and datums, and their Mermaid graph."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import python_pachyderm
from python_pachyderm.service import pfs_proto, pps_proto

from prefect_pachyderm.calls import pps, readable
from prefect_pachyderm.credentials import is_embedded
from prefect_pachyderm.names import job_of
from tasks.errors import ScriptwrightError

MAX_DATUMS = 100
MAX_FILES = 8
DESCRIPTION = re.compile(r"(?P<source>.*) sha256:(?P<sha256>[0-9a-f]{64})$", re.DOTALL)


@dataclass(frozen=True)
class Input:
    """A commit that somebody made; `source` and `sha256` are those of the tarball, where its description tells them."""

    repo: str
    commit: str
    source: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Datum:
    """One datum of a job: seconds of its phases, bytes in and out."""

    id: str
    state: str
    download: float
    process: float
    upload: float
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class Job:
    """A job with the pipeline version and image that ran it, its input commits and its first datums."""

    pipeline: str
    id: str
    version: int
    state: str
    image: str
    command: str
    started: datetime
    finished: datetime
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    datums: tuple[Datum, ...]
    datum_count: int

    @property
    def output_commit(self) -> str:
        """The commit that the job wrote, as `repo@id`."""
        return f"{self.pipeline}@{self.id}"

    @property
    def seconds(self) -> float:
        """From the job's start to its end."""
        return (self.finished - self.started).total_seconds()


@dataclass(frozen=True)
class Lineage:
    """Jobs in the order in which they ran, and the commits from outside that they read."""

    inputs: tuple[Input, ...]
    jobs: tuple[Job, ...]

    @property
    def tarball(self) -> Input | None:
        """The first input that says from which tarball it was made."""
        return next((commit for commit in self.inputs if commit.sha256), None)


def trace(client: python_pachyderm.Client, jobs: Mapping[str, str]) -> Lineage:
    """The lineage of what these jobs (pipeline → job id) wrote.

    Raises:
        PachydermError: a job or commit is gone, or nobody answers.
    """
    with readable("Reading the lineage"):
        traced = tuple(_job(client, pipeline, job) for pipeline, job in jobs.items())
        made = {job.output_commit for job in traced}
        outside = dict.fromkeys(name for job in traced for name in job.inputs if name not in made)
        return Lineage(inputs=tuple(_input(client, name) for name in outside), jobs=traced)


def _job(client: python_pachyderm.Client, pipeline: str, job_id: str) -> Job:
    request = pps_proto.InspectJobRequest(job=job_of(pipeline, job_id), details=True)
    info = pps(client).InspectJob(request)
    output = (pipeline, job_id)
    provenance = _inspect(client, output).direct_provenance
    return Job(
        pipeline=pipeline,
        id=job_id,
        version=info.pipeline_version,
        state=pps_proto.JobState.Name(info.state).removeprefix("JOB_").lower(),
        image=info.details.transform.image,
        command=" ".join(info.details.transform.cmd),
        started=_moment(info.started),
        finished=_moment(info.finished),
        inputs=tuple(f"{commit.repo.name}@{commit.id}" for commit in provenance if commit.repo.type == "user"),
        outputs=tuple(file.file.path for file in client.list_file(output, "/")),
        datums=tuple(_datum(datum) for datum in islice(client.list_datum(pipeline, job_id), MAX_DATUMS)),
        datum_count=info.data_total,
    )


def _input(client: python_pachyderm.Client, name: str) -> Input:
    repo, _, commit = name.partition("@")
    info = _inspect(client, (repo, commit))
    described = DESCRIPTION.match(info.description)
    return Input(
        repo=repo,
        commit=commit,
        source=described["source"] if described else info.description,
        sha256=described["sha256"] if described else "",
        size=info.details.size_bytes,
    )


def _inspect(client: python_pachyderm.Client, commit: tuple[str, str]) -> pfs_proto.CommitInfo:
    for info in client.inspect_commit(commit):
        return info
    raise ScriptwrightError(f"Pachyderm knows no commit {commit[0]}@{commit[1]}; run the flow again.")


def _datum(info: pps_proto.DatumInfo) -> Datum:
    stats = info.stats
    return Datum(
        id=info.datum.id,
        state=pps_proto.DatumState.Name(info.state).lower(),
        download=_seconds(stats.download_time),
        process=_seconds(stats.process_time),
        upload=_seconds(stats.upload_time),
        bytes_in=stats.download_bytes,
        bytes_out=stats.upload_bytes,
    )


def _seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)


def _moment(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, UTC)


def page_of(job: Job) -> str | None:
    """Where localpach's page shows a job, if `make up` has said under which address that is."""
    address = os.environ.get("SCRIPTWRIGHT_PAGE_URL")
    if not address or not is_embedded():
        return None
    return f"{address.rstrip('/')}/#/job/default/{job.pipeline}/{job.id}"


def mermaid(lineage: Lineage) -> str:
    """A Mermaid flowchart: tarball → commit → job of a pipeline version, in an image → output commit → …"""
    graph = _Graph()
    for commit in lineage.inputs:
        here = graph.commit(f"{commit.repo}@{commit.commit}")
        if commit.sha256:
            source = graph.node(
                commit.sha256, '[("{}")]', "tarball", _tail(commit.source), f"sha256 {commit.sha256[:12]}"
            )
            graph.edge(source, here)
    for job in lineage.jobs:
        text = (f"{job.pipeline} version {job.version}", f"{job.state}, {job.seconds:.1f} s")
        here = graph.node(f"job {job.output_commit}", '(["{}"])', *text)
        graph.edge(graph.node(f"image {job.image}", '[/"{}"/]', "image", _tail(job.image)), here, "-.->")
        for name in job.inputs:
            graph.edge(graph.commit(name), here)
        graph.edge(here, graph.commit(job.output_commit, *map(_tail, job.outputs[:MAX_FILES])))
    return "\n".join(["flowchart TD", *graph.lines])


class _Graph:
    """The lines of a flowchart; what has been drawn is not drawn again."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._nodes: dict[str, str] = {}

    def commit(self, name: str, *files: str) -> str:
        repo, _, commit = name.partition("@")
        return self.node(name, '["{}"]', "commit", f"{repo}@{commit[:12]}", *files)

    def node(self, key: str, shape: str, *text: str) -> str:
        if key not in self._nodes:
            self._nodes[key] = f"n{len(self._nodes)}"
            # Names of files and sources come from outside: nothing that means something in Mermaid or HTML.
            label = "<br/>".join(re.sub(r"[^\w .,:@=+~-]", "?", part) for part in text)
            self.lines.append(f"    {self._nodes[key]}{shape.format(label)}")
        return self._nodes[key]

    def edge(self, start: str, end: str, arrow: str = "-->") -> None:
        self.lines.append(f"    {start} {arrow} {end}")


def _tail(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2][-40:]
