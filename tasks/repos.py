"""Scripts in PFS: one atomic commit for one tarball."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import python_pachyderm
from prefect import get_run_logger, task
from python_pachyderm.service import pfs_proto

from tasks.pachyderm import LIVE, PachydermError, connect, readable

SCRIPTS_REPO = "GoT_scripts"
BRANCH = "master"
# How a commit of ours is described; another one is somebody else's.
DESCRIPTION = "{source} sha256:{sha256}"


@task(name="commit scripts", **LIVE)
def commit_scripts(scripts: Mapping[str, Path], source: str, sha256: str) -> str:
    """Makes `scripts` (path in the repo → file) the content of `GoT_scripts@master`; returns the commit's id.

    The content that is there already makes no new commit. A commit that fails on the way is dropped.

    Raises:
        PachydermError: somebody else has an open commit there.
    """
    logger = get_run_logger()
    client = connect()
    with readable(f"Committing {len(scripts)} scripts to {SCRIPTS_REPO}"):
        ensure_repo(client, SCRIPTS_REPO, "Scripts that the language model is trained on.")
        head = _settled_head(client)
        if head and has_just(client, head, scripts):
            logger.info("%s@%s has these %d scripts already: no new commit", SCRIPTS_REPO, head.commit.id, len(scripts))
            return head.commit.id
        commit = _commit(client, scripts, DESCRIPTION.format(source=source, sha256=sha256))
    logger.info("Committed %d scripts as %s@%s", len(scripts), SCRIPTS_REPO, commit)
    return commit


def ensure_repo(client: python_pachyderm.Client, name: str, description: str) -> None:
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


def has_just(client: python_pachyderm.Client, commit: pfs_proto.CommitInfo, scripts: Mapping[str, Path]) -> bool:
    """Whether the scripts are the whole content of a finished commit."""
    if not commit.finished.seconds and not commit.finishing.seconds:
        return False
    return _contents(client, commit.commit.id) == {f"/{path}": _sha256(file) for path, file in scripts.items()}


def input_commits(client: python_pachyderm.Client, repo: str, commit: str) -> list[tuple[str, str]]:
    """Repos and ids of the commits from which an output commit was made."""
    with readable(f"Looking at {repo}@{commit}"):
        info = next(iter(client.inspect_commit((repo, commit))))
    return [(each.repo.name, each.id) for each in info.direct_provenance if each.repo.type == "user"]


def _settled_head(client: python_pachyderm.Client) -> pfs_proto.CommitInfo | None:
    """The newest finished commit of the branch; an open one of ours is what a crash has left, and is dropped."""
    info = head_of(client, SCRIPTS_REPO, BRANCH)
    if info is None or info.finishing.seconds or info.finished.seconds:
        return info
    if " sha256:" not in info.description:
        raise PachydermError(
            f"Somebody is writing the commit {SCRIPTS_REPO}@{info.commit.id}; finish it, or drop it, and run again."
        )
    client.drop_commit(info.commit.id)
    return _settled_head(client)


def _commit(client: python_pachyderm.Client, scripts: Mapping[str, Path], description: str) -> str:
    commit = client.start_commit(SCRIPTS_REPO, BRANCH, description=description)
    try:
        with ExitStack() as opened, client.modify_file_client(commit) as modify:
            modify.delete_file("/")
            for path, file in sorted(scripts.items()):
                # put_file_from_filepath would send a message for each line.
                modify.put_file_from_fileobj(f"/{path}", opened.enter_context(file.open("rb")))
        client.finish_commit(commit)
    except BaseException:
        client.drop_commit(commit.id)
        raise
    return commit.id


def _contents(client: python_pachyderm.Client, commit: str) -> dict[str, str]:
    """SHA-256 by path of every file in a commit."""
    name = (SCRIPTS_REPO, commit)
    files = [info.file.path for info in client.walk_file(name, "/") if not info.file.path.endswith("/")]
    return {path: hashlib.sha256(client.get_file(name, path).read()).hexdigest() for path in files}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
