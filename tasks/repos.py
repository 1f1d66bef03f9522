"""Scripts in PFS: one atomic commit for one tarball."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import python_pachyderm
from prefect import get_run_logger, task

from tasks.pachyderm import connect, readable

SCRIPTS_REPO = "GoT_scripts"
BRANCH = "master"


@task(name="commit scripts")
def commit_scripts(scripts: Mapping[str, Path], description: str) -> str:
    """Makes `scripts` (path in the repo → file) the content of `GoT_scripts@master`; returns the commit's id.

    The content that is there already makes no new commit. A commit that fails on the way is dropped.
    """
    logger = get_run_logger()
    client = connect()
    with readable(f"Committing {len(scripts)} scripts to {SCRIPTS_REPO}"):
        if SCRIPTS_REPO not in {info.repo.name for info in client.list_repo()}:
            client.create_repo(SCRIPTS_REPO, description="Scripts that the language model is trained on.")
        head = _settled_head(client)
        if head and _contents(client, head) == {f"/{path}": _sha256(file) for path, file in scripts.items()}:
            logger.info("%s@%s has these %d scripts already: no new commit", SCRIPTS_REPO, head, len(scripts))
            return head
        commit = _commit(client, scripts, description)
    logger.info("Committed %d scripts as %s@%s", len(scripts), SCRIPTS_REPO, commit)
    return commit


def _settled_head(client: python_pachyderm.Client) -> str | None:
    """The newest finished commit of the branch; an open one is what a crash left of an earlier run, and is dropped."""
    if BRANCH not in {info.branch.name for info in client.list_branch(SCRIPTS_REPO)}:
        return None
    info = client.inspect_commit((SCRIPTS_REPO, BRANCH)).__next__()
    if not info.finishing.seconds and not info.finished.seconds:
        client.squash_commit(info.commit.id)
        return _settled_head(client)
    return info.commit.id


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
        client.squash_commit(commit.id)
        raise
    return commit.id


def _contents(client: python_pachyderm.Client, commit: str) -> dict[str, str]:
    """SHA-256 by path of every file in a commit."""
    name = (SCRIPTS_REPO, commit)
    files = [info.file.path for info in client.walk_file(name, "/") if not info.file.path.endswith("/")]
    return {path: hashlib.sha256(client.get_file(name, path).read()).hexdigest() for path in files}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
