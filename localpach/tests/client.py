"""A client made of localpach's own messages: every RPC by its name, and short forms of those that tests use most.

The short forms have the names that python-pachyderm gives them. A failing call raises `grpc.RpcError`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.empty_pb2 import Empty

from localpach.proto import (
    admin_pb2,
    debug_pb2,
    enterprise_pb2,
    identity_pb2,
    license_pb2,
    logs_pb2,
    metadata_pb2,
    pfs_pb2,
    pps_pb2,
    snapshot_pb2,
    storage_pb2,
    transaction_pb2,
)
from tests.rpcs import Rpcs

# A commit, or its repo with a branch, an id or an expression; or repo, branch, id and the repo's type.
CommitLike = pfs_pb2.Commit | tuple[str, str] | tuple[str, str, str, str]
CHUNK_BYTES = 4 << 20

_ID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")
_BRANCH = re.compile(r"[a-zA-Z0-9_-]+")


class Changes:
    """Changes of a commit's files, in their order."""

    def __init__(self, commit: CommitLike) -> None:
        self.requests = [pfs_pb2.ModifyFileRequest(set_commit=commit_of(commit))]

    def put_file_from_bytes(self, path: str, data: bytes, append: bool = False) -> None:
        if not append:
            self.delete_file(path)
        for start in range(0, len(data) or 1, CHUNK_BYTES):
            add = pfs_pb2.AddFile(path=path)
            add.raw.value = data[start : start + CHUNK_BYTES]
            self.requests.append(pfs_pb2.ModifyFileRequest(add_file=add))

    def delete_file(self, path: str) -> None:
        self.requests.append(pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path)))

    def copy_file(self, source: CommitLike, source_path: str, path: str) -> None:
        copy = pfs_pb2.CopyFile(dst=path, src=pfs_pb2.File(commit=commit_of(source), path=source_path))
        self.requests.append(pfs_pb2.ModifyFileRequest(copy_file=copy))


class Client:
    """A connection to a server, with the token given; `agent` is program and version, as pachyderm_sdk tells them."""

    def __init__(self, address: str, token: str | None = None, agent: tuple[str, str] = ("", "")) -> None:
        # A port may be that of a server that is gone: what another client still waits for there is not this one's.
        options: list[tuple[str, int | str]] = [("grpc.use_local_subchannel_pool", 1)]
        names = ("grpc.primary_user_agent", "grpc.secondary_user_agent")
        options += [(name, value) for name, value in zip(names, agent, strict=True) if value]
        self.channel = grpc.insecure_channel(address, options=options)
        self._token = token
        self._transaction = ""
        self.admin = self._rpcs(admin_pb2.DESCRIPTOR)
        self.debug = self._rpcs(debug_pb2.DESCRIPTOR)
        self.enterprise = self._rpcs(enterprise_pb2.DESCRIPTOR)
        self.identity = self._rpcs(identity_pb2.DESCRIPTOR)
        self.license = self._rpcs(license_pb2.DESCRIPTOR)
        self.logs = self._rpcs(logs_pb2.DESCRIPTOR)
        self.metadata = self._rpcs(metadata_pb2.DESCRIPTOR)
        self.pfs = self._rpcs(pfs_pb2.DESCRIPTOR)
        self.pps = self._rpcs(pps_pb2.DESCRIPTOR)
        self.snapshot = self._rpcs(snapshot_pb2.DESCRIPTOR)
        self.storage = self._rpcs(storage_pb2.DESCRIPTOR)
        self.transactions = self._rpcs(transaction_pb2.DESCRIPTOR)

    def _rpcs(self, file: FileDescriptor) -> Rpcs:
        return Rpcs(self.channel, file, self._metadata)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        pairs = (("authn-token", self._token), ("pach-transaction", self._transaction))
        return tuple((key, value) for key, value in pairs if value)

    def delete_all(self) -> None:
        self.pps.DeleteAll(Empty())
        self.pfs.DeleteAll(Empty())
        self.transactions.DeleteAll(transaction_pb2.DeleteAllRequest())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is asked for within happens at its end, or nothing where the block fails."""
        transaction = self.transactions.StartTransaction(transaction_pb2.StartTransactionRequest())
        self._transaction = transaction.id
        try:
            yield
        except BaseException:
            self._transaction = ""
            self.transactions.DeleteTransaction(transaction_pb2.DeleteTransactionRequest(transaction=transaction))
            raise
        self._transaction = ""
        self.transactions.FinishTransaction(transaction_pb2.FinishTransactionRequest(transaction=transaction))

    # Repos, projects and branches.

    def create_project(self, name: str) -> None:
        self.pfs.CreateProject(pfs_pb2.CreateProjectRequest(project=pfs_pb2.Project(name=name)))

    def create_repo(self, name: str) -> None:
        self.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo_of(name)))

    def list_repo(self, type: str = "user") -> list[pfs_pb2.RepoInfo]:
        return list(self.pfs.ListRepo(pfs_pb2.ListRepoRequest(type=type)))

    def delete_repo(self, name: str, force: bool = False) -> None:
        self.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo_of(name), force=force))

    def create_branch(self, repo: str, name: str, head_commit: CommitLike | None = None, **fields: Any) -> None:
        head = None if head_commit is None else commit_of(head_commit)
        request = pfs_pb2.CreateBranchRequest(branch=branch_of(repo, name), head=head, **fields)
        self.pfs.CreateBranch(request)

    def list_branch(self, repo: str) -> list[pfs_pb2.BranchInfo]:
        return list(self.pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=repo_of(repo))))

    # Commits.

    def start_commit(self, repo: str, branch: str, parent: str = "") -> pfs_pb2.Commit:
        """`parent` is an id."""
        before = pfs_pb2.Commit(branch=pfs_pb2.Branch(repo=repo_of(repo)), id=parent) if parent else None
        place = branch_of(repo, branch)
        commit: pfs_pb2.Commit = self.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=place, parent=before))
        return commit

    def finish_commit(self, commit: CommitLike) -> None:
        self.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit_of(commit)))

    @contextmanager
    def commit(self, repo: str, branch: str) -> Iterator[pfs_pb2.Commit]:
        """A commit that is finished at the end of the block, whatever happens there."""
        commit = self.start_commit(repo, branch)
        try:
            yield commit
        finally:
            self.finish_commit(commit)

    def inspect_commit(self, commit: CommitLike) -> pfs_pb2.CommitInfo:
        info: pfs_pb2.CommitInfo = self.pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commit_of(commit)))
        return info

    def inspect_commit_set(self, id: str, wait: bool = False) -> list[pfs_pb2.CommitInfo]:
        request = pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=id), wait=wait)
        return list(self.pfs.InspectCommitSet(request))

    def wait_commit(self, commit: CommitLike | str) -> None:
        """Waits for the end of a commit, or of all in the set of an id."""
        if isinstance(commit, str):
            self.inspect_commit_set(commit, wait=True)
        else:
            self.pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commit_of(commit), wait=pfs_pb2.FINISHED))

    def list_commit(
        self, repo: str, to_commit: CommitLike | None = None, from_commit: CommitLike | None = None, **fields: Any
    ) -> list[pfs_pb2.CommitInfo]:
        request = pfs_pb2.ListCommitRequest(repo=repo_of(repo), **{"origin_kind": pfs_pb2.USER} | fields)
        if to_commit is not None:
            request.to.CopyFrom(commit_of(to_commit))
        if from_commit is not None:
            getattr(request, "from").CopyFrom(commit_of(from_commit))
        return list(self.pfs.ListCommit(request))

    def drop_commit(self, id: str) -> None:
        self.pfs.DropCommitSet(pfs_pb2.DropCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=id)))

    # Files.

    @contextmanager
    def modify_file_client(self, commit: CommitLike) -> Iterator[Changes]:
        """Changes that are made in one call, at the end of the block."""
        changes = Changes(commit)
        yield changes
        self.pfs.ModifyFile(iter(changes.requests))

    def put_file_bytes(self, commit: CommitLike, path: str, data: bytes, append: bool = False) -> None:
        with self.modify_file_client(commit) as changes:
            changes.put_file_from_bytes(path, data, append)

    def delete_file(self, commit: CommitLike, path: str) -> None:
        with self.modify_file_client(commit) as changes:
            changes.delete_file(path)

    def copy_file(self, source: CommitLike, source_path: str, commit: CommitLike, path: str) -> None:
        with self.modify_file_client(commit) as changes:
            changes.copy_file(source, source_path, path)

    def get_file(self, commit: CommitLike, path: str) -> bytes:
        return b"".join(chunk.value for chunk in self.pfs.GetFile(pfs_pb2.GetFileRequest(file=_file(commit, path))))

    def get_file_tar(self, commit: CommitLike, path: str) -> bytes:
        return b"".join(chunk.value for chunk in self.pfs.GetFileTAR(pfs_pb2.GetFileRequest(file=_file(commit, path))))

    def list_file(self, commit: CommitLike, path: str) -> list[pfs_pb2.FileInfo]:
        return list(self.pfs.ListFile(pfs_pb2.ListFileRequest(file=_file(commit, path))))

    def glob_file(self, commit: CommitLike, pattern: str) -> list[pfs_pb2.FileInfo]:
        request = pfs_pb2.GlobFileRequest(commit=commit_of(commit), pattern=pattern)
        return list(self.pfs.GlobFile(request))

    def diff_file(
        self, commit: CommitLike, path: str, old_commit: CommitLike | None = None, old_path: str = ""
    ) -> list[pfs_pb2.DiffFileResponse]:
        old = None if old_commit is None else _file(old_commit, old_path)
        request = pfs_pb2.DiffFileRequest(new_file=_file(commit, path), old_file=old)
        return list(self.pfs.DiffFile(request))

    # Pipelines, jobs and datums.

    def create_pipeline(self, name: str, **fields: Any) -> None:
        fields.setdefault("datum_tries", 3)
        request = pps_pb2.CreatePipelineRequest(pipeline=pps_pb2.Pipeline(name=name), **fields)
        self.pps.CreatePipeline(request)

    def inspect_pipeline(self, name: str) -> pps_pb2.PipelineInfo:
        request = pps_pb2.InspectPipelineRequest(pipeline=pps_pb2.Pipeline(name=name))
        info: pps_pb2.PipelineInfo = self.pps.InspectPipeline(request)
        return info

    def list_pipeline(self, details: bool = False) -> list[pps_pb2.PipelineInfo]:
        return list(self.pps.ListPipeline(pps_pb2.ListPipelineRequest(details=details)))

    def list_job(self, pipeline: str, **fields: Any) -> list[pps_pb2.JobInfo]:
        request = pps_pb2.ListJobRequest(pipeline=pps_pb2.Pipeline(name=pipeline), **fields)
        return list(self.pps.ListJob(request))

    def inspect_job(self, id: str, pipeline: str, wait: bool = False) -> pps_pb2.JobInfo:
        info: pps_pb2.JobInfo = self.pps.InspectJob(pps_pb2.InspectJobRequest(job=job_of(id, pipeline), wait=wait))
        return info

    def stop_job(self, id: str, pipeline: str, reason: str = "") -> None:
        self.pps.StopJob(pps_pb2.StopJobRequest(job=job_of(id, pipeline), reason=reason))

    def delete_job(self, id: str, pipeline: str) -> None:
        self.pps.DeleteJob(pps_pb2.DeleteJobRequest(job=job_of(id, pipeline)))

    def get_job_logs(self, pipeline: str, job: str, **fields: Any) -> list[pps_pb2.LogMessage]:
        return list(self.pps.GetLogs(pps_pb2.GetLogsRequest(job=job_of(job, pipeline), **fields)))

    def list_datum(self, pipeline: str, job: str, **fields: Any) -> list[pps_pb2.DatumInfo]:
        return list(self.pps.ListDatum(pps_pb2.ListDatumRequest(job=job_of(job, pipeline), **fields)))

    def restart_datum(self, pipeline: str, job: str, data_filters: list[str]) -> None:
        request = pps_pb2.RestartDatumRequest(job=job_of(job, pipeline), data_filters=data_filters)
        self.pps.RestartDatum(request)

    def delete_pipeline(self, name: str, keep_repo: bool = False) -> None:
        request = pps_pb2.DeletePipelineRequest(pipeline=pps_pb2.Pipeline(name=name), keep_repo=keep_repo)
        self.pps.DeletePipeline(request)

    def start_pipeline(self, name: str) -> None:
        self.pps.StartPipeline(pps_pb2.StartPipelineRequest(pipeline=pps_pb2.Pipeline(name=name)))

    def stop_pipeline(self, name: str) -> None:
        self.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=pps_pb2.Pipeline(name=name)))

    def run_cron(self, name: str) -> None:
        self.pps.RunCron(pps_pb2.RunCronRequest(pipeline=pps_pb2.Pipeline(name=name)))

    def create_secret(self, name: str, data: dict[str, str]) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "data": encoded}
        self.pps.CreateSecret(pps_pb2.CreateSecretRequest(file=json.dumps(secret).encode()))

    def delete_secret(self, name: str) -> None:
        self.pps.DeleteSecret(pps_pb2.DeleteSecretRequest(secret=pps_pb2.Secret(name=name)))


def repo_of(name: str) -> pfs_pb2.Repo:
    """A user's repo of the default project."""
    return pfs_pb2.Repo(name=name, type="user")


def branch_of(repo: str, name: str) -> pfs_pb2.Branch:
    return pfs_pb2.Branch(repo=repo_of(repo), name=name)


def commit_of(commit: CommitLike) -> pfs_pb2.Commit:
    """The message that stands for a commit."""
    if isinstance(commit, pfs_pb2.Commit):
        return commit
    if len(commit) == 4:
        repo, branch, id, type = commit
        return pfs_pb2.Commit(branch=pfs_pb2.Branch(repo=pfs_pb2.Repo(name=repo, type=type), name=branch), id=id)
    repo, name = commit
    if _BRANCH.fullmatch(name) and not _ID.fullmatch(name):
        return pfs_pb2.Commit(branch=branch_of(repo, name))
    return pfs_pb2.Commit(branch=branch_of(repo, ""), id=name)


def job_of(id: str, pipeline: str) -> pps_pb2.Job:
    return pps_pb2.Job(id=id, pipeline=pps_pb2.Pipeline(name=pipeline))


def _file(commit: CommitLike, path: str) -> pfs_pb2.File:
    return pfs_pb2.File(commit=commit_of(commit), path=path)
