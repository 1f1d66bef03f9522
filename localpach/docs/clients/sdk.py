"""A day's work with pachyderm_sdk."""

from __future__ import annotations

import os
from pathlib import Path

from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs, pps
from steps import Steps, run

client = Client.from_config(Path(os.environ["PACH_CONFIG"]))
source, result = pfs.Repo.from_uri("sdk_in"), pfs.Repo.from_uri("sdk")
branch = pfs.Branch.from_uri("sdk_in@master")
pipeline = pps.Pipeline(name="sdk", project=pfs.Project(name="default"))
input = pps.Input(pfs=pps.PfsInput(repo="sdk_in", glob="/*"))
spec = {
    "pipeline": pipeline,
    "transform": pps.Transform(image="host", cmd=["sh"], stdin=["cp /pfs/sdk_in/* /pfs/out/; echo said"]),
    "input": input,
}


def commit_files() -> None:
    with client.pfs.commit(branch=branch) as commit:
        commit.put_file_from_bytes(path="/a", data=b"one")
        commit.put_file_from_bytes(path="/b", data=b"two")
    commit.wait()


def newest() -> pps.Job:
    return next(iter(client.pps.list_job(pipeline=pipeline))).job


def read() -> bool:
    with client.pfs.pfs_file(file=pfs.File.from_uri("sdk@master:/a")) as file:
        found: bytes = file.read()
    return found == b"one"


def within_a_transaction() -> None:
    with client.transaction.transaction():
        client.pfs.create_repo(repo=pfs.Repo.from_uri("sdk_more"))
        client.pfs.create_branch(branch=pfs.Branch.from_uri("sdk_more@master"))


def delete() -> bool:
    client.pps.delete_pipeline(pipeline=pipeline)
    for name in ("sdk_in", "sdk_more"):
        client.pfs.delete_repo(repo=pfs.Repo.from_uri(name))
    return not [info for info in client.pfs.list_repo() if info.repo.name.startswith("sdk")]


steps: Steps = {
    "version": client.get_version,
    "create a repo": lambda: client.pfs.create_repo(repo=source),
    "commit files": commit_files,
    "create a pipeline": lambda: client.pps.create_pipeline(**spec),
    "wait for its job": lambda: client.pps.inspect_job(job=newest(), wait=True).state == pps.JobState.JOB_SUCCESS,
    "list its datums": lambda: len(list(client.pps.list_datum(job=newest()))) == 2,
    "read its logs": lambda: "said" in [line.message for line in client.pps.get_logs(job=newest())],
    "list its output": lambda: (
        [info.file.path for info in client.pfs.list_file(file=pfs.File.from_uri("sdk@master:/"))] == ["/a", "/b"]
    ),
    "read its output": read,
    "list commits": lambda: len(list(client.pfs.list_commit(repo=result))) == 1,
    "work in a transaction": within_a_transaction,
}
# Since 2.8.
if hasattr(client.pps, "create_pipeline_v2"):
    request = pps.CreatePipelineRequest(**spec)
    steps |= {
        "update by a JSON spec": lambda: client.pps.create_pipeline_v2(
            create_pipeline_request_json=request.to_json(), update=True
        ),
        "run it again": lambda: client.pps.rerun_pipeline(pipeline=pipeline, reprocess=True),
        "try datums": lambda: len(next(client.pps.generate_datums(input_spec=input, batch_size=10))) == 2,
        "see effective specs": lambda: (
            "datumTries" in client.pps.inspect_pipeline(pipeline=pipeline, details=True).effective_spec_json
        ),
    }
# Since 2.10.
if hasattr(client, "storage"):
    from pachyderm_sdk.api import logs, metadata, storage

    default = pfs.ProjectPicker(name="default")

    def picked(name: str) -> pfs.RepoPicker:
        return pfs.RepoPicker(name=pfs.RepoPickerRepoName(project=default, name=name, type="user"))

    note = metadata.Edit(repo=picked("sdk_in"), add_key=metadata.EditAddKey(key="k", value="v"))
    file = storage.CreateFilesetRequest(append_file=storage.AppendFile(path="/a", data=b"1"))
    of_pipeline = logs.UserLogQuery(pipeline=logs.PipelineLogQuery(project="default", pipeline="sdk"))
    output = pfs.BranchPicker(name=pfs.BranchPickerBranchName(name="master", repo=picked("sdk")))

    def query_logs() -> bool:
        answers = client.logs.get_logs(query=logs.LogQuery(user=of_pipeline))
        return "said" in [answer.log.pps_log_message.message for answer in answers]

    def walk() -> bool:
        return "sdk_in" in [info.branch.repo.name for info in client.pfs.walk_branch_provenance(start=[output])]

    steps |= {
        "note metadata": lambda: client.metadata.edit_metadata(edits=[note]),
        "read metadata": lambda: client.pfs.inspect_repo(repo=source).metadata == {"k": "v"},
        "make a file set": lambda: client.storage.create_fileset(iter([file])),
        "query logs": query_logs,
        "walk provenance": walk,
    }
run(steps | {"delete all of it": delete})
