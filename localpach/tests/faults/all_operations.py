"""Operations on pipelines, jobs, secrets and the like that change something; and all operations."""

from __future__ import annotations

import json
from collections.abc import Callable

from google.protobuf.empty_pb2 import Empty

from localpach.pps.records import OVER
from localpach.proto import metadata_pb2, pfs_pb2, pps_pb2, snapshot_pb2, transaction_pb2
from tests.client import Client, repo_of
from tests.faults import operations
from tests.faults.operations import BIG, Operation, has_repo, is_there
from tests.helpers import pfs, pipeline


def _waiting_job(client: Client, tag: str) -> str:
    """A pipeline of the tag's name and `p`, and its job, which waits for its input."""
    client.create_repo(tag)
    client.start_commit(tag, "master")
    pipeline(client, f"{tag}p", "true", pfs(tag))
    return client.list_job(f"{tag}p")[0].job.id


def _has_secret(client: Client, name: str) -> bool:
    return name in [info.secret.name for info in client.pps.ListSecret(Empty()).secret_info]


def create_pipeline(client: Client, tag: str) -> Operation:
    client.create_repo(tag)
    return (
        lambda: pipeline(client, f"{tag}p", "true", pfs(tag)),
        lambda: is_there(lambda: client.inspect_pipeline(f"{tag}p")),
    )


def update_pipeline(client: Client, tag: str) -> Operation:
    _waiting_job(client, tag)
    return (
        lambda: pipeline(client, f"{tag}p", "false", pfs(tag), update=True),
        lambda: client.inspect_pipeline(f"{tag}p").version == 2,
    )


def stop_pipeline(client: Client, tag: str) -> Operation:
    _waiting_job(client, tag)
    return lambda: client.stop_pipeline(f"{tag}p"), lambda: client.inspect_pipeline(f"{tag}p").stopped


def start_pipeline(client: Client, tag: str) -> Operation:
    _waiting_job(client, tag)
    client.stop_pipeline(f"{tag}p")
    return lambda: client.start_pipeline(f"{tag}p"), lambda: not client.inspect_pipeline(f"{tag}p").stopped


def delete_pipeline(client: Client, tag: str) -> Operation:
    _waiting_job(client, tag)
    return (
        lambda: client.delete_pipeline(f"{tag}p"),
        lambda: not is_there(lambda: client.inspect_pipeline(f"{tag}p")),
    )


def run_cron(client: Client, tag: str) -> Operation:
    cron = pps_pb2.CronInput(name="tick", spec="@never", repo=f"{tag}t")
    pipeline(client, f"{tag}p", "true", pps_pb2.Input(cross=[pps_pb2.Input(cron=cron)]))
    # A tick's second is its name: two in one second are one file.
    before = len(client.list_commit(f"{tag}t"))
    return lambda: client.run_cron(f"{tag}p"), lambda: len(client.list_commit(f"{tag}t")) > before


def stop_job(client: Client, tag: str) -> Operation:
    job = _waiting_job(client, tag)
    return (
        lambda: client.stop_job(job, f"{tag}p"),
        lambda: client.inspect_job(job, f"{tag}p").state == pps_pb2.JOB_KILLED,
    )


def delete_job(client: Client, tag: str) -> Operation:
    job = _waiting_job(client, tag)
    return lambda: client.delete_job(job, f"{tag}p"), lambda: client.list_job(f"{tag}p") == []


def do_job(client: Client, tag: str) -> Operation:
    """From the input to the output, through the finisher, the controller and a worker, whose writes may fail, too: then the
    job says so, or is begun again."""
    client.create_repo(tag)
    commit = client.start_commit(tag, "master")
    client.put_file_bytes(commit, "/f", BIG + tag.encode())
    pipeline(client, f"{tag}p", "cp /pfs/*/* /pfs/out/; echo done", pfs(tag))
    job = client.list_job(f"{tag}p")[0].job.id

    def run() -> None:
        client.finish_commit(commit)
        info = client.inspect_job(job, f"{tag}p", wait=True)
        assert info.state == pps_pb2.JOB_SUCCESS or "can't be stored" in info.reason or "disk" in info.reason, info

    return run, lambda: client.inspect_job(job, f"{tag}p").state in OVER


def create_secret(client: Client, tag: str) -> Operation:
    return lambda: client.create_secret(tag, {"key": "value"}), lambda: _has_secret(client, tag)


def delete_secret(client: Client, tag: str) -> Operation:
    client.create_secret(tag, {"key": "value"})
    return lambda: client.delete_secret(tag), lambda: not _has_secret(client, tag)


def transaction(client: Client, tag: str) -> Operation:
    def run() -> None:
        with client.transaction():
            client.create_repo(f"{tag}a")
            client.create_repo(f"{tag}b")

    return run, lambda: has_repo(client, f"{tag}a") and has_repo(client, f"{tag}b")


def rerun_pipeline(client: Client, tag: str) -> Operation:
    _waiting_job(client, tag)
    request = pps_pb2.RerunPipelineRequest(pipeline=pps_pb2.Pipeline(name=f"{tag}p"), reprocess=True)
    return lambda: client.pps.RerunPipeline(request), lambda: len(client.list_job(f"{tag}p", history=-1)) == 2


def create_pipeline_v2(client: Client, tag: str) -> Operation:
    client.create_repo(tag)
    spec = {
        "pipeline": {"name": f"{tag}p"},
        "transform": {"image": "host", "cmd": ["true"]},
        "input": {"pfs": {"repo": tag, "glob": "/*"}},
    }
    request = pps_pb2.CreatePipelineV2Request(create_pipeline_request_json=json.dumps(spec))
    return (
        lambda: client.pps.CreatePipelineV2(request),
        lambda: is_there(lambda: client.inspect_pipeline(f"{tag}p")),
    )


def set_project_defaults(client: Client, tag: str) -> Operation:
    client.create_project(tag)
    project = pfs_pb2.Project(name=tag)
    defaults = json.dumps({"createPipelineRequest": {"datumTries": 5}})
    request = pps_pb2.SetProjectDefaultsRequest(project=project, project_defaults_json=defaults)
    asked = pps_pb2.GetProjectDefaultsRequest(project=project)
    return (
        lambda: client.pps.SetProjectDefaults(request),
        lambda: "datumTries" in client.pps.GetProjectDefaults(asked).project_defaults_json,
    )


def edit_metadata(client: Client, tag: str) -> Operation:
    client.create_project(tag)
    picker = pfs_pb2.ProjectPicker(name=tag)
    edit = metadata_pb2.Edit(project=picker, add_key=metadata_pb2.Edit.AddKey(key="a", value="b"))
    asked = pfs_pb2.InspectProjectRequest(project=pfs_pb2.Project(name=tag))
    return (
        lambda: client.metadata.EditMetadata(metadata_pb2.EditMetadataRequest(edits=[edit])),
        lambda: dict(client.pfs.InspectProject(asked).metadata) == {"a": "b"},
    )


def delete_all_pipelines(client: Client, tag: str) -> Operation:
    """With the defaults: both or neither."""
    _waiting_job(client, tag)
    _set_defaults(client, tag)
    return (
        lambda: client.pps.DeleteAll(Empty()),
        lambda: not is_there(lambda: client.inspect_pipeline(f"{tag}p")) and tag not in _defaults(client),
    )


def delete_pipelines(client: Client, tag: str) -> Operation:
    """Those of one project."""
    client.create_project(tag)
    project = pfs_pb2.Project(name=tag)
    names = [pps_pb2.Pipeline(project=project, name=name) for name in ("a", "b")]
    for name in names:
        cron = pps_pb2.CronInput(name="tick", spec="@never", project=tag, repo=f"{name.name}t")
        transform = pps_pb2.Transform(cmd=["true"], image="host")
        client.pps.CreatePipeline(
            pps_pb2.CreatePipelineRequest(pipeline=name, transform=transform, input=pps_pb2.Input(cron=cron))
        )
    request = pps_pb2.DeletePipelinesRequest(projects=[project])
    found = pps_pb2.ListPipelineRequest(projects=[project])
    return lambda: client.pps.DeletePipelines(request), lambda: not list(client.pps.ListPipeline(found))


def delete_repos(client: Client, tag: str) -> Operation:
    """Those of one project."""
    client.create_project(tag)
    project = pfs_pb2.Project(name=tag)
    for name in ("a", "b"):
        client.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=pfs_pb2.Repo(project=project, name=name, type="user")))
    found = pfs_pb2.ListRepoRequest(projects=[project])
    return (
        lambda: client.pfs.DeleteRepos(pfs_pb2.DeleteReposRequest(projects=[project])),
        lambda: not list(client.pfs.ListRepo(found)),
    )


def _set_defaults(client: Client, text: str) -> None:
    defaults = json.dumps({"createPipelineRequest": {"description": text}})
    client.pps.SetClusterDefaults(pps_pb2.SetClusterDefaultsRequest(cluster_defaults_json=defaults))


def _defaults(client: Client) -> str:
    found: str = client.pps.GetClusterDefaults(pps_pb2.GetClusterDefaultsRequest()).cluster_defaults_json
    return found


def set_cluster_defaults(client: Client, tag: str) -> Operation:
    """Those that the next operation sets are others, so that what counts is that they were there."""
    seen: list[bool] = []

    def is_done() -> bool:
        seen.append(tag in _defaults(client))
        return any(seen)

    return lambda: _set_defaults(client, tag), is_done


def snapshots(client: Client, tag: str) -> list[int]:
    """Those that an operation has made."""
    answers = client.snapshot.ListSnapshot(snapshot_pb2.ListSnapshotRequest())
    return [answer.info.id for answer in answers if answer.info.metadata["of"] == tag]


def create_snapshot(client: Client, tag: str) -> Operation:
    request = snapshot_pb2.CreateSnapshotRequest(metadata={"of": tag})
    return lambda: client.snapshot.CreateSnapshot(request), lambda: len(snapshots(client, tag)) == 1


def delete_snapshot(client: Client, tag: str) -> Operation:
    id = client.snapshot.CreateSnapshot(snapshot_pb2.CreateSnapshotRequest(metadata={"of": tag})).id
    request = snapshot_pb2.DeleteSnapshotRequest(id=id)
    return lambda: client.snapshot.DeleteSnapshot(request), lambda: not snapshots(client, tag)


def delete_transaction(client: Client, tag: str) -> Operation:
    begun = client.transactions.StartTransaction(transaction_pb2.StartTransactionRequest())
    asked = transaction_pb2.InspectTransactionRequest(transaction=begun)
    request = transaction_pb2.DeleteTransactionRequest(transaction=begun)
    return (
        lambda: client.transactions.DeleteTransaction(request),
        lambda: not is_there(lambda: client.transactions.InspectTransaction(asked)),
    )


def start_transaction(client: Client, tag: str) -> Operation:
    """One that is empty, and is left so."""
    found: list[transaction_pb2.Transaction] = []

    request = transaction_pb2.StartTransactionRequest()
    return lambda: found.append(client.transactions.StartTransaction(request)), lambda: bool(found)


def batch_transaction(client: Client, tag: str) -> Operation:
    create = pfs_pb2.CreateRepoRequest(repo=repo_of(tag))
    request = transaction_pb2.BatchTransactionRequest(requests=[transaction_pb2.TransactionRequest(create_repo=create)])
    return lambda: client.transactions.BatchTransaction(request), lambda: has_repo(client, tag)


def _by_name(*makers: Callable[[Client, str], Operation]) -> dict[str, Callable[[Client, str], Operation]]:
    return {each.__name__: each for each in makers}


# Those that copy or delete all that there is come first.
OPERATIONS = (
    _by_name(create_snapshot, delete_snapshot, delete_all_pipelines)
    | operations.OPERATIONS
    | _by_name(
        create_pipeline,
        update_pipeline,
        stop_pipeline,
        start_pipeline,
        delete_pipeline,
        run_cron,
        stop_job,
        delete_job,
        do_job,
        create_secret,
        delete_secret,
        transaction,
        rerun_pipeline,
        create_pipeline_v2,
        set_project_defaults,
        edit_metadata,
        delete_pipelines,
        delete_repos,
        set_cluster_defaults,
        start_transaction,
        delete_transaction,
        batch_transaction,
    )
)
