"""What tests do with python-pachyderm: put files, run a shell script as a pipeline, wait, read what came out."""

from __future__ import annotations

import time
from collections.abc import Callable

from python_pachyderm import Client
from python_pachyderm.service import pps_proto


def put(client: Client, repo: str, files: dict[str, bytes], branch: str = "master") -> str:
    """One commit of these files; its id, once it is finished."""
    with client.commit(repo, branch) as commit, client.modify_file_client(commit) as modify:
        for path, data in files.items():
            modify.put_file_from_bytes(path, data)
    client.wait_commit(commit)
    return str(commit.id)


def content(client: Client, repo: str, path: str) -> bytes:
    return bytes(client.get_file((repo, "master"), path).read())


def pipeline(client: Client, name: str, script: str, input: pps_proto.Input, **more: object) -> None:
    """A pipeline of a shell script."""
    transform = pps_proto.Transform(cmd=["sh"], stdin=[script], image="host")
    client.create_pipeline(name, transform=transform, input=input, **more)


def pfs(repo: str, glob: str = "/*", **more: object) -> pps_proto.Input:
    return pps_proto.Input(pfs=pps_proto.PFSInput(repo=repo, glob=glob, **more))


def last_job(client: Client, name: str) -> pps_proto.JobInfo:
    """The newest job of a pipeline, once it is over."""
    newest = next(iter(client.list_job(name)))
    return next(iter(client.inspect_job(newest.job.id, name, wait=True)))


def lines(client: Client, name: str, job: pps_proto.JobInfo) -> list[str]:
    """What a job logged."""
    return [message.message for message in client.get_job_logs(name, job.job.id)]


def until(true: Callable[[], object], seconds: float = 15) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
