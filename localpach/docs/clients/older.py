"""A day's work with python-pachyderm, which came before pachyderm_sdk."""

from __future__ import annotations

import python_pachyderm
from python_pachyderm.proto.v2.pps import pps_pb2
from python_pachyderm.service import pps_proto
from steps import Steps, run

client = python_pachyderm.Client()
input = pps_proto.Input(pfs=pps_proto.PFSInput(repo="older_in", glob="/*"))
transform = pps_proto.Transform(image="host", cmd=["sh"], stdin=["cp /pfs/older_in/* /pfs/out/; echo said"])


def commit_files() -> None:
    with client.commit("older_in", "master") as commit:
        client.put_file_bytes(commit, "/a", b"one")
        client.put_file_bytes(commit, "/b", b"two")
    client.wait_commit(commit)


def newest() -> str:
    id: str = next(iter(client.list_job("older"))).job.id
    return id


def within_a_transaction() -> None:
    with client.transaction():
        client.create_repo("older_more")
        client.create_branch("older_more", "master")


def delete() -> bool:
    client.delete_pipeline("older")
    for name in ("older_in", "older_more"):
        client.delete_repo(name)
    return not [info for info in client.list_repo() if info.repo.name.startswith("older")]


steps: Steps = {
    "version": client.get_remote_version,
    "create a repo": lambda: client.create_repo("older_in"),
    "commit files": commit_files,
    "create a pipeline": lambda: client.create_pipeline("older", transform=transform, input=input),
    "wait for its job": lambda: client.inspect_job(newest(), "older", wait=True),
    "job went well": lambda: next(iter(client.list_job("older"))).state == pps_pb2.JOB_SUCCESS,
    "list its datums": lambda: len(list(client.list_datum("older", newest()))) == 2,
    "read its logs": lambda: "said" in [line.message for line in client.get_job_logs("older", newest())],
    "list its output": lambda: [info.file.path for info in client.list_file(("older", "master"), "/")] == ["/a", "/b"],
    "read its output": lambda: client.get_file(("older", "master"), "/a").read() == b"one",
    "list commits": lambda: len(list(client.list_commit("older_in"))) == 1,
    "work in a transaction": within_a_transaction,
}
run(steps | {"delete all of it": delete})
