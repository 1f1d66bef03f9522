"""The scripts in PFS: one atomic commit for one tarball."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import python_pachyderm
from prefect import get_run_logger, task
from python_pachyderm.service import pfs_proto

from prefect_pachyderm.calls import LIVE, PachydermError, readable
from prefect_pachyderm.commits import commit_files, ensure_repo, has_exactly, head_of
from prefect_pachyderm.credentials import connect
from tasks.project import BRANCH, SCRIPTS_DESCRIPTION, SCRIPTS_REPO

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
        ensure_repo(client, SCRIPTS_REPO, SCRIPTS_DESCRIPTION)
        head = _settled_head(client)
        if head and has_exactly(client, head, scripts):
            commit = str(head.commit.id)
            logger.info("%s@%s has these %d scripts already: no new commit", SCRIPTS_REPO, commit, len(scripts))
            return commit
        description = DESCRIPTION.format(source=source, sha256=sha256)
        commit = commit_files(client, SCRIPTS_REPO, BRANCH, scripts, description)
    logger.info("Committed %d scripts as %s@%s", len(scripts), SCRIPTS_REPO, commit)
    return commit


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
