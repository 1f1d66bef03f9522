"""The first steps of `train` alone: the scripts into PFS."""

from __future__ import annotations

from prefect import flow

from flows.parameters import CorpusParameters, takes
from prefect_pachyderm.credentials import find_pachyderm
from tasks.corpus.corpus import download, extract
from tasks.names import name_run
from tasks.scripts import commit_scripts
from tasks.turns import turn


@flow(name="input-data", flow_run_name="scripts")
@takes(CorpusParameters)
def input_data(run: CorpusParameters) -> str:
    """Downloads the archive and commits its scripts; returns the commit's id."""
    find_pachyderm()
    tarball = download(run.source, run.sha256 or None)
    name_run(f"scripts of {tarball.source}")
    scripts = extract(tarball, run.members or None)
    with turn([]):
        return commit_scripts(scripts, tarball.source, tarball.sha256)
