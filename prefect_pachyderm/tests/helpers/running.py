"""Pipelines of a shell script, and what is logged of their jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import PachydermCredentials, PachydermJob, PachydermPipeline
from server import Server

COUNT = "i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); sleep {pause}; done"


def credentials_of(server: Server, address: str | None = None) -> PachydermCredentials:
    return PachydermCredentials(address=address or server.address, auth_token=SecretStr(server.token))


def block(server: Server, script: str, address: str | None = None, **fields: Any) -> PachydermPipeline:
    """A pipeline of a shell script."""
    spec = {
        "pipeline": {"name": "p"},
        "input": {"pfs": {"repo": "in", "glob": "/"}},
        "transform": {"image": "host", "cmd": ["sh"], "stdin": [script]},
        "datumTries": "1",
    }
    return PachydermPipeline(credentials=credentials_of(server, address), spec=spec, **fields)


def state_of(client: Client, job: PachydermJob) -> int:
    return int(next(iter(client.inspect_job(job.job_id, job.pipeline))).state)


def until(holds: Callable[[], bool]) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def said(client: Client, job: PachydermJob) -> list[str]:
    """What the job has said, as Pachyderm has it."""
    messages = client.get_job_logs("p", job.job_id)
    return [each.message.strip() for each in messages if each.user and each.message.startswith("line ")]


class Captured(logging.Handler):
    """Every message of the job's logger, in order."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    @property
    def lines(self) -> list[str]:
        """What the job has said."""
        return [message for message in self.messages if message.startswith("line ")]
