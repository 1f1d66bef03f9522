"""The datums of a job: which files each has read, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from python_pachyderm.service import pfs_proto, pps_proto

from prefect_pachyderm.calls import readable
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.names import split, written


@dataclass(frozen=True)
class Datum:
    """One datum of a job.

    Attributes:
        id: Its hash, as `pachctl inspect datum` takes it.
        state: SUCCESS, FAILED, RECOVERED, or SKIPPED where an earlier job has done it.
        inputs: The files that it has read, each as REPO@COMMIT:PATH.
        seconds: How long its command ran.

    Example:
        The slowest of a job's datums:
        ```python
        from prefect_pachyderm import Datum, list_datums


        def slowest(job_id: str) -> Datum:
            return max(list_datums("count", job_id), key=lambda datum: datum.seconds)
        ```
    """

    id: str
    state: str
    inputs: tuple[str, ...]
    seconds: float


def list_datums(pipeline: str, job_id: str, credentials: PachydermCredentials | None = None) -> list[Datum]:
    """The datums of a job that is over.

    Raises:
        PachydermError: there is no such job, or Pachyderm can't be reached.

    Example:
        See what has failed:
        ```python
        from prefect_pachyderm import list_datums


        def failed(job_id: str) -> list[str]:
            return [path for datum in list_datums("count", job_id) if datum.state == "FAILED" for path in datum.inputs]
        ```
    """
    with readable(f"Listing the datums of {pipeline}@{job_id}"):
        client = (credentials or PachydermCredentials()).get_client()
        project, name = split(pipeline)
        return [_datum(info) for info in client.list_datum(name, job_id, project_name=project)]


def _datum(info: pps_proto.DatumInfo) -> Datum:
    return Datum(
        id=info.datum.id,
        state=pps_proto.DatumState.Name(info.state),
        inputs=tuple(_named(each.file) for each in info.data),
        seconds=info.stats.process_time.ToNanoseconds() / 1e9,
    )


def _named(file: pfs_proto.File) -> str:
    return f"{written(file.commit.repo)}@{file.commit.id}:{file.path}"
