"""Repos and commits: made of files, looked at, compared."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import grpc
import python_pachyderm
from google.protobuf.wrappers_pb2 import BytesValue
from prefect.logging import get_logger
from python_pachyderm.service import pfs_proto

from prefect_pachyderm import events
from prefect_pachyderm.calls import ANSWER_SECONDS, call_patiently, pfs, readable, status_of
from prefect_pachyderm.names import commit_of, repo_of, written

PIECE_BYTES = 1 << 20

# Ids of the commit sets that this process has begun, or has been told of as they came: they are the ids of the jobs in them, too.
NEW_SETS: set[str] = set()

# What a file is to hold, or the file that holds it.
Content = bytes | Path


def ensure_repo(client: python_pachyderm.Client, name: str, description: str = "") -> None:
    """Makes a repo that is not there."""
    try:
        pfs(client).InspectRepo(pfs_proto.InspectRepoRequest(repo=repo_of(name)), timeout=ANSWER_SECONDS)
    except grpc.RpcError as error:
        if status_of(error)[0] != grpc.StatusCode.NOT_FOUND:
            raise
        # As an update it is no error if somebody else has just made it.
        request = pfs_proto.CreateRepoRequest(repo=repo_of(name), description=description, update=True)
        pfs(client).CreateRepo(request, timeout=ANSWER_SECONDS)


def head_of(client: python_pachyderm.Client, repo: str, branch: str) -> pfs_proto.CommitInfo | None:
    """The newest commit of a branch, if there is the branch."""
    try:
        return next(iter(client.inspect_commit(commit_of(repo, branch))))
    except grpc.RpcError as error:
        if status_of(error)[0] == grpc.StatusCode.NOT_FOUND:
            return None
        raise


def input_commits(client: python_pachyderm.Client, repo: str, commit: str) -> list[tuple[str, str]]:
    """Repos and ids of the commits from which an output commit was made."""
    with readable(f"Looking at {repo}@{commit}"):
        request = pfs_proto.InspectCommitRequest(commit=commit_of(repo, commit))
        info = pfs(client).InspectCommit(request, timeout=ANSWER_SECONDS)
    return [(written(each.repo), each.id) for each in info.direct_provenance if each.repo.type == "user"]


def stream_file(client: python_pachyderm.Client, commit: tuple[str, str], path: str) -> Iterator[bytes]:
    """The content of a file of a commit, as it comes; what breaks off on the way is raised."""
    # python-pachyderm's own get_file takes that for the file's end, and an empty file for an error.
    request = pfs_proto.GetFileRequest(file=pfs_proto.File(commit=commit_of(*commit), path=path))
    for message in pfs(client).GetFile(request):
        yield message.value


def has_exactly(client: python_pachyderm.Client, info: pfs_proto.CommitInfo, files: Mapping[str, Content]) -> bool:
    """Whether these files (path in the repo → what it holds) are the whole content of a finished commit."""
    if not info.finished.seconds and not info.finishing.seconds:
        return False
    # Since Pachyderm 2.11 a commit names its repo alone, and no branch.
    commit = (written(info.commit.repo), info.commit.id)
    there = {each.file.path for each in client.walk_file(commit_of(*commit), "/") if not each.file.path.endswith("/")}
    return there == {f"/{path}" for path in files} and all(
        _digest(stream_file(client, commit, f"/{path}")) == _digest(_pieces(content)) for path, content in files.items()
    )


def _digest(pieces: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _pieces(content: Content) -> Iterator[bytes]:
    with _opened(content) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _opened(content: Content) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def commit_files(
    client: python_pachyderm.Client, repo: str, branch: str, files: Mapping[str, Content], description: str
) -> str:
    """Makes these files (path in the repo → what it holds) the whole content of a branch, in one commit; returns its id once it is finished.

    The files are sent before there is a commit: whoever is killed meanwhile leaves none that is open and in everybody's way. A
    commit that fails on the way is dropped, where nobody answers once somebody does.
    """
    file_set = _send(client, files)
    # A commit that begins in a transaction has its id, by which it can be dropped also where the answer is lost.
    transaction = client.start_transaction()
    commit = commit_of(repo, transaction.id)
    try:
        start = pfs_proto.StartCommitRequest(
            branch=pfs_proto.Branch(repo=repo_of(repo), name=branch), description=description
        )
        pfs(client).StartCommit(start, timeout=ANSWER_SECONDS, metadata=[("pach-transaction", transaction.id)])
        client.finish_transaction(transaction)
        # In the file set it would delete what is in the set alone.
        client.delete_file(commit, "/")
        added = pfs_proto.AddFileSetRequest(commit=commit, file_set_id=file_set)
        pfs(client).AddFileSet(added, timeout=ANSWER_SECONDS)
        client.finish_commit(commit)
    except BaseException:
        call_patiently(lambda: _drop(client, repo, commit.id), get_logger(__name__))
        raise
    NEW_SETS.add(commit.id)
    info = call_patiently(lambda: _finished(client, repo, commit.id), get_logger(__name__))
    events.commit_finished(info, branch)
    return str(commit.id)


def _send(client: python_pachyderm.Client, files: Mapping[str, Content]) -> str:
    """Sends files, one after the other; returns the id of the file set that they are until they are added to a commit.

    Raises:
        OSError: one can't be read.
    """
    failed: list[OSError] = []

    def requests() -> Iterator[pfs_proto.ModifyFileRequest]:
        try:
            for path in sorted(files):
                pieces = _pieces(files[path])
                # An empty file has one piece, too.
                for piece in chain([next(pieces, b"")], pieces):
                    file = pfs_proto.AddFile(path=f"/{path}", raw=BytesValue(value=piece))
                    yield pfs_proto.ModifyFileRequest(add_file=file)
        except OSError as error:
            # gRPC would log it with its traceback, and raise another.
            failed.append(error)

    file_set = pfs(client).CreateFileSet(requests()).file_set_id
    if failed:
        raise failed[0]
    return str(file_set)


def _drop(client: python_pachyderm.Client, repo: str, commit_id: str) -> None:
    """Leaves nothing of a commit, nor of the transaction that it begins in, however much there is of them."""
    with readable(f"Dropping the commit {repo}@{commit_id}"):
        for drop in (client.delete_transaction, client.drop_commit):
            try:
                drop(commit_id)
            except grpc.RpcError as error:
                if status_of(error)[0] != grpc.StatusCode.NOT_FOUND:
                    raise


def _finished(client: python_pachyderm.Client, repo: str, commit_id: str) -> pfs_proto.CommitInfo:
    with readable(f"Waiting for the commit {repo}@{commit_id}"):
        return next(iter(client.wait_commit(commit_of(repo, commit_id))))
