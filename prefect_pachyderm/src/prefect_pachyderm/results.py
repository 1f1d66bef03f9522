"""What a job that has succeeded has made."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefect_pachyderm.calls import readable
from prefect_pachyderm.commits import open_file
from prefect_pachyderm.credentials import PachydermCredentials


@dataclass(frozen=True)
class JobResult:
    """The output commit of a job. Kept by Prefect it is without a token; see `PachydermCredentials`."""

    pipeline: str
    job_id: str
    files: list[str]
    credentials: PachydermCredentials = field(repr=False, compare=False)

    def read(self, path: str) -> bytes:
        """The content of one file of the output commit."""
        with readable(f"Reading {self.pipeline}@{self.job_id}:{path}"):
            client = self.credentials.attach_only().get_client()
            return open_file(client, (self.pipeline, self.job_id), path).read()
