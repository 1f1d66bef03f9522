"""Follows the commits in `GoT_scripts`, whoever makes them, and shows their jobs in Prefect.

A commit that somebody makes with pachctl starts jobs of which Prefect knows nothing. This flow subscribes to the branch,
emits `pachyderm.commit.finished` for each new commit and waits for its jobs, with their logs and events. It stops nothing.
A run that has ended, or died, is gone on with by the next: the last commit reported is kept in a Prefect variable.
"""

from __future__ import annotations

from prefect import flow

from flows.parameters import FollowParameters, takes
from prefect_pachyderm.credentials import find_pachyderm
from prefect_pachyderm.follow import new_commits, report_commit
from tasks.project import BRANCH, SCRIPTS_DESCRIPTION, SCRIPTS_REPO


@flow(name="follow", flow_run_name="follow GoT_scripts")
@takes(FollowParameters)
def follow(run: FollowParameters) -> int:
    """Reports each new commit of scripts and the jobs that it starts; returns how many commits there were."""
    find_pachyderm()
    count = 0
    for info in new_commits(SCRIPTS_REPO, BRANCH, SCRIPTS_DESCRIPTION):
        report_commit(SCRIPTS_REPO, BRANCH, info.commit.id)
        count += 1
        if count == run.commits:
            break
    return count
