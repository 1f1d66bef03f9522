"""Repos and commits: made of files, looked at, compared."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import python_pachyderm
from python_pachyderm.pfs import commit_from
from python_pachyderm.service import pfs_proto

from prefect_pachyderm import events
from prefect_pachyderm.calls import ANSWER_SECONDS, pfs, readable

# Most systems let a program have a thousand files open.
OPEN_AT_ONCE = 200


def ensure_repo(client: python_pachyderm.Client, name: str, description: str = "") -> None:
    """Makes a repo that is not there."""
    if name not in {info.repo.name for info in client.list_repo()}:
        # As an update it is no error if somebody else has just made it.
        client.create_repo(name, description=description, update=True)


def head_of(client: python_pachyderm.Client, repo: str, branch: str) -> pfs_proto.CommitInfo | None:
    """The newest commit of a branch, if there is the branch."""
    repos = {info.repo.name for info in client.list_repo()}
    if repo not in repos or branch not in {info.branch.name for info in client.list_branch(repo)}:
        return None
    return next(iter(client.inspect_commit((repo, branch))))


def input_commits(client: python_pachyderm.Client, repo: str, commit: str) -> list[tuple[str, str]]:
    """Repos and ids of the commits from which an output commit was made."""
    with readable(f"Looking at {repo}@{commit}"):
        request = pfs_proto.InspectCommitRequest(commit=commit_from((repo, commit)))
        info = pfs(client).InspectCommit(request, timeout=ANSWER_SECONDS)
    return [(each.repo.name, each.id) for each in info.direct_provenance if each.repo.type == "user"]


def open_file(client: python_pachyderm.Client, commit: tuple[str, str], path: str) -> BinaryIO:
    """A file of a commit, to be read. python-pachyderm takes an empty one for the end of an iteration."""
    try:
        file: BinaryIO = client.get_file(commit, path)
    except StopIteration:
        return io.BytesIO()
    return file


def has_exactly(client: python_pachyderm.Client, info: pfs_proto.CommitInfo, files: Mapping[str, Path]) -> bool:
    """Whether these files (path in the repo → file) are the whole content of a finished commit."""
    if not info.finished.seconds and not info.finishing.seconds:
        return False
    commit = (info.commit.branch.repo.name, info.commit.id)
    paths = [each.file.path for each in client.walk_file(commit, "/") if not each.file.path.endswith("/")]
    there = {path: hashlib.sha256(open_file(client, commit, path).read()).hexdigest() for path in paths}
    return there == {f"/{path}": hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()}


def commit_files(
    client: python_pachyderm.Client, repo: str, branch: str, files: Mapping[str, Path], description: str
) -> str:
    """Makes these files (path in the repo → file) the whole content of a branch, in one commit; returns its id once it is finished.

    A commit that fails on the way is dropped.
    """
    commit = client.start_commit(repo, branch, description=description)
    try:
        with client.modify_file_client(commit) as modify:
            modify.delete_file("/")
        paths = sorted(files)
        for start in range(0, len(paths), OPEN_AT_ONCE):
            with ExitStack() as opened, client.modify_file_client(commit) as modify:
                for path in paths[start : start + OPEN_AT_ONCE]:
                    # put_file_from_filepath would send a message for each line.
                    modify.put_file_from_fileobj(f"/{path}", opened.enter_context(files[path].open("rb")))
        client.finish_commit(commit)
    except BaseException:
        client.drop_commit(commit.id)
        raise
    events.commit_finished(next(iter(client.wait_commit((repo, commit.id)))))
    return str(commit.id)
