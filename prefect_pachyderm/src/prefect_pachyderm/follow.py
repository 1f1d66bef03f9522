"""New commits on a branch, as they come, whoever makes them, and the jobs that they start."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, cast

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.variables import Variable
from python_pachyderm.service import pfs_proto, pps_proto

from prefect_pachyderm import events
from prefect_pachyderm.calls import PachydermError, pps, readable
from prefect_pachyderm.commits import NEW_SETS, ensure_repo, head_of
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.jobs import JobFailed
from prefect_pachyderm.names import commit_of, split, written
from prefect_pachyderm.waits import wait_for_job

RECONNECT_SECONDS = 1.0


def new_commits(repo: str, branch: str, description: str = "") -> Iterator[pfs_proto.CommitInfo]:
    """Each commit on a branch once it is finished: those since the last one that `report_commit` reported, or since now.

    A repo that is not there is made, with this description. A connection that breaks off is made anew.
    """
    while True:
        try:
            with readable(f"Following {repo}@{branch}"):
                yield from _subscribe(repo, branch, description)
        except PachydermError as error:
            if not error.transient:
                raise
            get_run_logger().warning("%s; trying again", error)
        time.sleep(RECONNECT_SECONDS)


def _subscribe(repo: str, branch: str, description: str) -> Iterator[pfs_proto.CommitInfo]:
    client = connect()
    ensure_repo(client, repo, description)
    last = cast(Any, Variable).get(_last_reported(repo, branch), _sync=True)
    project, name = split(repo)
    if last not in {info.commit.id for info in client.list_commit(name, project_name=project)}:
        head = head_of(client, repo, branch)
        last = head.commit.id if head else None
    start = commit_of(repo, last) if last else None
    get_run_logger().info("Following %s@%s since %s", repo, branch, last or "its beginning")
    state = pfs_proto.CommitState.FINISHED
    for info in client.subscribe_commit(name, branch, from_commit=start, state=state, project_name=project):
        NEW_SETS.add(info.commit.id)
        yield info


@task(name="report commit", task_run_name="report {repo}@{commit_id:.7}", cache_policy=NO_CACHE)
def report_commit(repo: str, branch: str, commit_id: str) -> dict[str, str]:
    """Emits the event of a finished commit and follows the jobs that it has started; returns how each has ended."""
    client = connect()
    with readable(f"Looking at {repo}@{commit_id}"):
        events.commit_finished(next(iter(client.inspect_commit(commit_of(repo, commit_id)))), branch)
        request = pps_proto.InspectJobSetRequest(job_set=pps_proto.JobSet(id=commit_id))
        jobs = [info.job for info in pps(client).InspectJobSet(request)]
    outcomes = {}
    for job in jobs:
        pipeline = written(job.pipeline)
        try:
            wait_for_job(pipeline, job.id, stop_when_interrupted=False)
            outcomes[pipeline] = "succeeded"
        except JobFailed as error:
            outcomes[pipeline] = str(error)
    cast(Any, Variable).set(_last_reported(repo, branch), commit_id, overwrite=True, _sync=True)
    return outcomes


def _last_reported(repo: str, branch: str) -> str:
    """The Prefect variable that keeps the last commit reported, so that a run goes on where the one before has ended."""
    place = repo if branch == "master" else f"{repo}@{branch}"
    return f"pachyderm_reported_{re.sub('[^a-z0-9]', '_', re.sub('[/@]', '__', place.lower()))}"
