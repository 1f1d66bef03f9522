"""The first steps of `train` alone: the scripts into PFS."""

from __future__ import annotations

from prefect import flow

from flows.terminal import run_from_terminal
from tasks.corpus import DEFAULT_SOURCE, download, extract
from tasks.repos import commit_scripts


@flow(name="input-data")
def input_data(source: str = DEFAULT_SOURCE, sha256: str | None = None, members: str | None = None) -> str:
    """Downloads the archive and commits its scripts; returns the commit's id. Parameters as in `train`."""
    tarball = download(source, sha256)
    scripts = extract(tarball, members)
    return commit_scripts(scripts, description=f"{tarball.source} sha256:{tarball.sha256}")


if __name__ == "__main__":
    run_from_terminal(input_data)
