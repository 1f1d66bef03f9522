"""What many tests do: put files, run a shell script as a pipeline, wait, read what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from localpach.proto import pps_pb2
from tests.client import Client


def put(client: Client, repo: str, files: dict[str, bytes], branch: str = "master") -> str:
    """One commit of these files; its id, once it is finished."""
    with client.commit(repo, branch) as commit, client.modify_file_client(commit) as modify:
        for path, data in files.items():
            modify.put_file_from_bytes(path, data)
    client.wait_commit(commit)
    return commit.id


def content(client: Client, repo: str, path: str) -> bytes:
    return client.get_file((repo, "master"), path)


def shell(script: str, **more: Any) -> pps_pb2.Transform:
    """A transform that runs a shell script on the host."""
    return pps_pb2.Transform(cmd=["sh"], stdin=[script], image="host", **more)


def pipeline(client: Client, name: str, script: str, input: pps_pb2.Input, **more: Any) -> None:
    """A pipeline of a shell script."""
    client.create_pipeline(name, transform=shell(script), input=input, **more)


def pfs(repo: str, glob: str = "/*", **more: Any) -> pps_pb2.Input:
    return pps_pb2.Input(pfs=pps_pb2.PFSInput(repo=repo, glob=glob, **more))


def last_job(client: Client, name: str) -> pps_pb2.JobInfo:
    """The newest job of a pipeline, once it is over."""
    return client.inspect_job(client.list_job(name)[0].job.id, name, wait=True)


def lines(client: Client, name: str, job: pps_pb2.JobInfo) -> list[str]:
    """What a job logged."""
    return [message.message for message in client.get_job_logs(name, job.job.id)]


def until(true: Callable[[], object], seconds: float = 15) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def tell(root: Path, mark: str) -> None:
    """Puts a file into the `/tmp` of each command that runs on a server; a command that waits for it gets going."""
    for folder in root.glob("work/*/tmp"):
        (folder / mark).touch()


def refused(call: Callable[[], object]) -> tuple[str, str]:
    """Code and text that a call, or the stream that it gives, ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call()
        if isinstance(answer, Iterator):
            list(answer)
    return caught.value.code().name, caught.value.details() or ""
