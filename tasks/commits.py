"""New commits of the scripts, as they come, whoever makes them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.variables import Variable
from python_pachyderm.service import pfs_proto, pps_grpc, pps_proto

from tasks import events
from tasks.jobs import JobFailed, wait_for_job
from tasks.pachyderm import PachydermError, connect, readable
from tasks.repos import BRANCH, SCRIPTS_REPO, ensure_repo, head_of

# The id of the last commit that was reported, so that a run goes on where the one before has ended.
FOLLOWED = "pachyderm_followed"
RECONNECT_SECONDS = 1.0


def new_commits() -> Iterator[pfs_proto.CommitInfo]:
    """Each commit on `GoT_scripts@master` once it is finished: those since the last one reported, or since now."""
    while True:
        try:
            with readable(f"Following {SCRIPTS_REPO}@{BRANCH}"):
                yield from _subscribe()
        except PachydermError as error:
            if not error.passing:
                raise
            get_run_logger().warning("%s; trying again", error)
        time.sleep(RECONNECT_SECONDS)


def _subscribe() -> Iterator[pfs_proto.CommitInfo]:
    client = connect()
    ensure_repo(client, SCRIPTS_REPO, "Scripts that the language model is trained on.")
    known = {info.commit.id for info in client.list_commit(SCRIPTS_REPO)}
    last = Variable.get(FOLLOWED)
    if last not in known:
        head = head_of(client, SCRIPTS_REPO, BRANCH)
        last = head.commit.id if head else None
    start = (SCRIPTS_REPO, last) if last else None
    get_run_logger().info("Following %s@%s since %s", SCRIPTS_REPO, BRANCH, last or "its beginning")
    yield from client.subscribe_commit(SCRIPTS_REPO, BRANCH, from_commit=start, state=pfs_proto.CommitState.FINISHED)


@task(name="report commit", task_run_name="report GoT_scripts@{commit_id:.7}", cache_policy=NO_CACHE)
def report_commit(commit_id: str) -> dict[str, str]:
    """Emits the event of a finished commit and follows the jobs that it has started; returns how each has ended."""
    client = connect()
    with readable(f"Looking at {SCRIPTS_REPO}@{commit_id}"):
        events.commit_finished(next(iter(client.inspect_commit((SCRIPTS_REPO, commit_id)))))
        request = pps_proto.InspectJobSetRequest(job_set=pps_proto.JobSet(id=commit_id))
        jobs = [info.job for info in pps_grpc.APIStub(client._channel).InspectJobSet(request)]
    ended = {}
    for job in jobs:
        try:
            wait_for_job(job.pipeline.name, job.id, ours=False)
            ended[job.pipeline.name] = "succeeded"
        except JobFailed as error:
            ended[job.pipeline.name] = str(error)
    Variable.set(FOLLOWED, commit_id, overwrite=True)
    return ended
