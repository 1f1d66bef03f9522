"""The operations that are drawn, each with its weight, in the order of the recording's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message

from localpach.proto import pfs_pb2, pps_pb2, transaction_pb2
from tests.conformance.draw import PIPELINES, REPOS, Draw, branch, commit, repo

Info = dict[str, Any]


class Operation(NamedTuple):
    """A call. `key` orders an answer whose order means nothing."""

    service: str
    method: str
    request: Message | list[Message]
    key: Callable[[Info], Any] | None = None


def operation(draw: Draw) -> Operation:
    """The next one of a seed."""
    draw.turn()
    return draw.choose(ALL)(draw)


def _repo_of(info: Info) -> Any:
    found = info["commit"]["branch"]["repo"]
    return found["name"], found["type"]


def _data(info: Info) -> str:
    return json.dumps(info.get("data", []), sort_keys=True)


def _pfs(method: str, request: Message | list[Message], key: Callable[[Info], Any] | None = None) -> Operation:
    return Operation("pfs_v2.API", method, request, key)


def _pps(method: str, request: Message, key: Callable[[Info], Any] | None = None) -> Operation:
    return Operation("pps_v2.API", method, request, key)


def _create_repo(d: Draw) -> Operation:
    made = repo(d.repo, project=d.project)
    return _pfs("CreateRepo", pfs_pb2.CreateRepoRequest(repo=made, description=d.branch, update=d.maybe(0.4)))


def _delete_repo(d: Draw) -> Operation:
    return _pfs("DeleteRepo", pfs_pb2.DeleteRepoRequest(repo=repo(d.repo), force=d.maybe(0.2)))


def _modify_branch(d: Draw) -> Operation:
    return _pfs("ModifyFile", d.modify(commit(d.of(REPOS), d.branch)))


def _modify_any(d: Draw) -> Operation:
    return _pfs("ModifyFile", d.modify(d.ref()))


def _start_commit(d: Draw) -> Operation:
    parent = d.ref() if d.maybe(0.2) else None
    place, words = branch(d.branch, d.repo), d.of(["", "words"])
    return _pfs("StartCommit", pfs_pb2.StartCommitRequest(branch=place, parent=parent, description=words))


def _finish_commit(d: Draw) -> Operation:
    target = d.ref() if d.maybe(0.3) else d.head()
    words, error = d.of(["", "words"]), d.of(["", "", "", "bad"])
    return _pfs("FinishCommit", pfs_pb2.FinishCommitRequest(commit=target, description=words, error=error))


def _clear_commit(d: Draw) -> Operation:
    return _pfs("ClearCommit", pfs_pb2.ClearCommitRequest(commit=d.head()))


def _list_file(d: Draw) -> Operation:
    return _pfs("ListFile", pfs_pb2.ListFileRequest(file=d.file(), **d.page))


def _glob_file(d: Draw) -> Operation:
    return _pfs("GlobFile", pfs_pb2.GlobFileRequest(commit=d.ref(), pattern=d.glob))


def _walk_file(d: Draw) -> Operation:
    return _pfs("WalkFile", pfs_pb2.WalkFileRequest(file=d.file(), **d.page))


def _inspect_file(d: Draw) -> Operation:
    return _pfs("InspectFile", pfs_pb2.InspectFileRequest(file=d.file(["", "", "", "t1"])))


def _get_file(d: Draw) -> Operation:
    file = d.file(["", "", "", "t2"])
    return _pfs("GetFile", pfs_pb2.GetFileRequest(file=file, offset=d.of([0, 0, 0, 2, 99])))


def _get_tar(d: Draw) -> Operation:
    return _pfs("GetFileTAR", pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=d.ref(), path=d.glob)))


def _diff_file(d: Draw) -> Operation:
    new = pfs_pb2.File(commit=d.ref(), path=d.of(["/", "/", "/d", "/f"]))
    old = pfs_pb2.File(commit=d.ref(), path="/") if d.maybe(0.3) else None
    return _pfs("DiffFile", pfs_pb2.DiffFileRequest(new_file=new, old_file=old, shallow=d.maybe(0.3)))


def _list_commit(d: Draw) -> Operation:
    until = d.ref() if d.maybe(0.3) else None
    everything, kind = d.maybe(0.3), d.of([0, 0, 0, 1, 2])
    request = pfs_pb2.ListCommitRequest(repo=repo(d.repo), to=until, all=everything, origin_kind=kind, **d.page)  # type: ignore[arg-type]
    return _pfs("ListCommit", request)


def _inspect_commit(d: Draw) -> Operation:
    return _pfs("InspectCommit", pfs_pb2.InspectCommitRequest(commit=d.ref()))


def _find_commits(d: Draw) -> Operation:
    start, limit = d.ref(), d.of([0, 1, 3])
    return _pfs("FindCommits", pfs_pb2.FindCommitsRequest(start=start, file_path=d.path or "/f", limit=limit))


def _create_branch(d: Draw) -> Operation:
    request = pfs_pb2.CreateBranchRequest(
        branch=branch(d.branch, d.repo),
        head=d.ref() if d.maybe(0.4) else None,
        new_commit_set=d.maybe(0.2),
        provenance=[branch("master", d.of(REPOS + PIPELINES)) for _ in range(d.of([0, 0, 1, 2]))],
    )
    return _pfs("CreateBranch", request)


def _create_trigger(d: Draw) -> Operation:
    place = branch(d.of(["dev", "rel"]), d.repo)
    commits, size, both = d.of([0, 1, 2]), d.of(["", "10", "1K"]), d.maybe(0.5)
    trigger = pfs_pb2.Trigger(branch="master", commits=commits, size=size, all=both)
    return _pfs("CreateBranch", pfs_pb2.CreateBranchRequest(branch=place, trigger=trigger))


def _delete_branch(d: Draw) -> Operation:
    place = branch(d.branch, d.repo)
    return _pfs("DeleteBranch", pfs_pb2.DeleteBranchRequest(branch=place, force=d.maybe(0.2)))


def _inspect_branch(d: Draw) -> Operation:
    return _pfs("InspectBranch", pfs_pb2.InspectBranchRequest(branch=branch(d.branch, d.repo)))


def _list_branch(d: Draw) -> Operation:
    request = pfs_pb2.ListBranchRequest(repo=repo(d.repo), reverse=d.maybe(0.2))
    return _pfs("ListBranch", request, lambda info: info["branch"]["name"])


def _inspect_set(d: Draw) -> Operation:
    request = pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=d.id))
    return _pfs("InspectCommitSet", request, _repo_of)


def _squash(d: Draw) -> Operation:
    return _pfs("SquashCommitSet", pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=d.id)))


def _drop(d: Draw) -> Operation:
    return _pfs("DropCommitSet", pfs_pb2.DropCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=d.id)))


def _list_repo(d: Draw) -> Operation:
    request = pfs_pb2.ListRepoRequest(type=d.of(["user", "user", "meta", "spec"]))
    return _pfs("ListRepo", request, lambda info: (info["repo"]["name"], info["repo"]["project"]["name"]))


def _inspect_repo(d: Draw) -> Operation:
    return _pfs("InspectRepo", pfs_pb2.InspectRepoRequest(repo=repo(d.repo)))


def _create_project(d: Draw) -> Operation:
    made = pfs_pb2.Project(name=d.of(["other", "bad name"]))
    request = pfs_pb2.CreateProjectRequest(project=made, description=d.branch, update=d.maybe(0.4))
    return _pfs("CreateProject", request)


def _delete_project(d: Draw) -> Operation:
    request = pfs_pb2.DeleteProjectRequest(project=pfs_pb2.Project(name="other"), force=d.maybe(0.3))
    return _pfs("DeleteProject", request)


def _create_file_set(d: Draw) -> Operation:
    return _pfs("CreateFileSet", d.changes())


def _add_file_set(d: Draw) -> Operation:
    target = d.ref() if d.maybe(0.3) else d.head()
    id = d.of(d.known.file_sets) if d.known.file_sets else "none"
    return _pfs("AddFileSet", pfs_pb2.AddFileSetRequest(commit=target, file_set_id=id))


def _create_pipeline(d: Draw) -> Operation:
    return _pps("CreatePipeline", d.spec(update=False))


def _update_pipeline(d: Draw) -> Operation:
    return _pps("CreatePipeline", d.spec(update=True))


def _delete_pipeline(d: Draw) -> Operation:
    name, force, keep = d.pipeline(), d.maybe(0.2), d.maybe(0.2)
    return _pps("DeletePipeline", pps_pb2.DeletePipelineRequest(pipeline=name, force=force, keep_repo=keep))


def _stop_pipeline(d: Draw) -> Operation:
    return _pps("StopPipeline", pps_pb2.StopPipelineRequest(pipeline=d.pipeline()))


def _start_pipeline(d: Draw) -> Operation:
    return _pps("StartPipeline", pps_pb2.StartPipelineRequest(pipeline=d.pipeline()))


def _inspect_pipeline(d: Draw) -> Operation:
    request = pps_pb2.InspectPipelineRequest(pipeline=d.pipeline(), details=d.maybe(0.5))
    return _pps("InspectPipeline", request)


def _list_pipeline(d: Draw) -> Operation:
    request = pps_pb2.ListPipelineRequest(details=d.maybe(0.3), history=d.of([0, 0, 1, -1]))
    return _pps("ListPipeline", request, lambda i: (i["pipeline"]["name"], i.get("spec_commit", {}).get("id", "")))


def _list_job(d: Draw) -> Operation:
    name, details, history = d.pipeline(), d.maybe(0.7), d.of([0, 0, -1])
    return _pps("ListJob", pps_pb2.ListJobRequest(pipeline=name, details=details, history=history))


def _inspect_job(d: Draw) -> Operation:
    return _pps("InspectJob", pps_pb2.InspectJobRequest(job=d.job, details=True))


def _inspect_job_set(d: Draw) -> Operation:
    request = pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=d.id), details=d.maybe(0.5))
    return _pps("InspectJobSet", request, lambda info: info["job"]["pipeline"]["name"])


def _list_datum(d: Draw) -> Operation:
    request = pps_pb2.ListDatumRequest(job=d.job, **d.page)
    return _pps("ListDatum", request, lambda info: _data(info) + str(info.get("state")))


def _list_input(d: Draw) -> Operation:
    return _pps("ListDatum", pps_pb2.ListDatumRequest(input=d.input()), _data)


def _stop_job(d: Draw) -> Operation:
    return _pps("StopJob", pps_pb2.StopJobRequest(job=d.job, reason=d.of(["", "words"])))


def _delete_job(d: Draw) -> Operation:
    return _pps("DeleteJob", pps_pb2.DeleteJobRequest(job=d.job))


def _run_pipeline(d: Draw) -> Operation:
    name, heads = d.pipeline(), [d.ref()] if d.maybe(0.4) else []
    return _pps("RunPipeline", pps_pb2.RunPipelineRequest(pipeline=name, provenance=heads))


def _batch(d: Draw) -> Operation:
    requests = [d.batch() for _ in range(d.of([0, 1, 2, 2, 3]))]
    request = transaction_pb2.BatchTransactionRequest(requests=requests)
    return Operation("transaction_v2.API", "BatchTransaction", request)


ALL: list[tuple[int, Callable[[Draw], Operation]]] = [
    (2, _create_repo),
    (1, _delete_repo),
    (16, _modify_branch),
    (3, _start_commit),
    (3, _modify_any),
    (3, _finish_commit),
    (1, _clear_commit),
    (4, _list_file),
    (4, _glob_file),
    (3, _walk_file),
    (3, _inspect_file),
    (3, _get_file),
    (2, _get_tar),
    (4, _diff_file),
    (4, _list_commit),
    (4, _inspect_commit),
    (1, _find_commits),
    (3, _create_branch),
    (1, _create_trigger),
    (1, _delete_branch),
    (1, _inspect_branch),
    (2, _list_branch),
    (2, _inspect_set),
    (1, _squash),
    (1, _drop),
    (2, _list_repo),
    (1, _inspect_repo),
    (1, _create_project),
    (1, _delete_project),
    (1, _create_file_set),
    (1, _add_file_set),
    (6, _create_pipeline),
    (3, _update_pipeline),
    (1, _delete_pipeline),
    (1, _stop_pipeline),
    (2, _start_pipeline),
    (2, _inspect_pipeline),
    (2, _list_pipeline),
    (4, _list_job),
    (2, _inspect_job),
    (1, _inspect_job_set),
    (4, _list_datum),
    (2, _list_input),
    (1, _stop_job),
    (1, _delete_job),
    (1, _run_pipeline),
    (2, _batch),
]
