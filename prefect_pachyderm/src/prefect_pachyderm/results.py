"""What a job that has succeeded has made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prefect_pachyderm.calls import readable
from prefect_pachyderm.commits import stream_file
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.downloads import write_files
from prefect_pachyderm.twins import twin_of


@dataclass(frozen=True)
class JobResult:
    """The output commit of a job. Kept by Prefect it is without a token; see `PachydermCredentials`.

    Iterated, it gives path and content of each file, read one after the other, also by `async for`. `read` and `download` have
    asynchronous twins, `aread` and `adownload`; in asynchronous flows and tasks the methods' own names give them, too.

    Example:
        Lay out in a folder what a job has made:
        ```python
        from prefect_pachyderm import PachydermPipeline

        job = PachydermPipeline.load("BLOCK_NAME").trigger()
        job.wait_for_completion()
        for path in job.fetch_result().download("results"):
            print(path)
        ```
    """

    pipeline: str
    job_id: str
    files: list[str]
    credentials: PachydermCredentials = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for path in self.files:
            yield path, self.read(path, _sync=True)

    async def __aiter__(self) -> AsyncIterator[tuple[str, bytes]]:
        for path in self.files:
            yield path, await self.aread(path)

    async def aread(self, path: str) -> bytes:
        """As `read`."""
        return await asyncio.to_thread(self.read, path, _sync=True)

    @twin_of(aread)
    def read(self, path: str) -> bytes:
        """The content of one file of the output commit.

        Raises:
            PachydermError: it is not there, or nobody answers.
        """
        with readable(f"Reading {self.pipeline}@{self.job_id}:{path}"):
            return b"".join(stream_file(self.credentials.not_anew().get_client(), (self.pipeline, self.job_id), path))

    async def adownload(self, folder: Path | str) -> list[Path]:
        """As `download`."""
        return await asyncio.to_thread(self.download, folder, _sync=True)

    @twin_of(adownload)
    def download(self, folder: Path | str) -> list[Path]:
        """Writes all files below a folder, which is made where it is not there; returns their paths.

        What is there of the same path is replaced, once all files have come.

        Raises:
            PrefectPachydermError: a path can't be one below the folder, and nothing is written; or the folder can't be written to.
            PachydermError: nobody answers, or no more; nothing has been replaced.
        """
        commit = (self.pipeline, self.job_id)
        with readable(f"Downloading {self.pipeline}@{self.job_id}"):
            client = self.credentials.not_anew().get_client()
            return write_files(Path(folder), {path: stream_file(client, commit, path) for path in self.files})
