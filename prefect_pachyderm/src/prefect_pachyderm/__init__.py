"""Pachyderm for Prefect: credentials, pipelines, jobs, logs, commits and events."""

import os

# gRPC reads this when it is imported. What its own lines say, our errors say, too.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from prefect_pachyderm.calls import PachydermError, PrefectPachydermError
from prefect_pachyderm.credentials import PachydermCredentials
from prefect_pachyderm.datums import Datum, list_datums
from prefect_pachyderm.flows import run_pachyderm_pipeline
from prefect_pachyderm.jobs import JobFailed, JobGone, JobTimedOut, PachydermJob
from prefect_pachyderm.pipelines import PachydermPipeline
from prefect_pachyderm.results import JobResult
from prefect_pachyderm.secrets import create_secret, delete_secret
from prefect_pachyderm.starts import run_cron, run_pipeline
from prefect_pachyderm.uploads import commit

__all__ = [
    "Datum",
    "JobFailed",
    "JobGone",
    "JobResult",
    "JobTimedOut",
    "PachydermCredentials",
    "PachydermError",
    "PachydermJob",
    "PachydermPipeline",
    "PrefectPachydermError",
    "commit",
    "create_secret",
    "delete_secret",
    "list_datums",
    "run_cron",
    "run_pachyderm_pipeline",
    "run_pipeline",
]
