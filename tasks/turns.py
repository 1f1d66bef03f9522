"""One run at a time changes scripts and pipelines, whichever Prefect server, if any, it was started from.

What runs share is Pachyderm, so the lock is there: an open commit in the repo `GoT_lock`. Starting a second one on the same
branch is refused by Pachyderm, atomically. The lock is held for the seconds in which scripts are committed and pipelines
updated; after that a run only waits for jobs, and two runs may wait for the same one. Before that, a run that would replace
the pipelines' specs waits until the jobs of the present ones are over, for an update ends them.

A run that died leaves the lock behind. Its commit says which process of which machine took it: who finds that this process
is gone, or the lock older than any run holds it, drops it by its id, so that nobody drops the lock of the next one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import python_pachyderm
from prefect import get_run_logger
from python_pachyderm.service import pfs_proto

from prefect_pachyderm.calls import PachydermError, readable
from prefect_pachyderm.commits import ensure_repo, head_of
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.jobs import JobFailed, PachydermJob
from prefect_pachyderm.pipelines import Template, jobs_in_the_way
from tasks.project import BRANCH, LOCK_REPO

HELD_SECONDS = 120.0
PAUSE_SECONDS = 0.25


@contextmanager
def turn(templates: Sequence[Template]) -> Iterator[None]:
    """Holds the lock while no job runs that an update to these specifications would end."""
    logger = get_run_logger()
    while True:
        client = connect()
        with lock(client):
            others = jobs_in_the_way(client, templates)
            if not others:
                yield
                return
        for pipeline, job_id in others:
            logger.info("Another run's job %s@%s is on: waiting for its end", pipeline, job_id)
            with suppress(JobFailed):
                PachydermJob(pipeline, job_id, stop_when_interrupted=False).wait_for_completion()


@contextmanager
def lock(client: python_pachyderm.Client) -> Iterator[None]:
    """Holds the lock. Who holds it may delete the repo that it is in, and so gives it back."""
    with readable("Taking the lock"):
        commit = _acquire(client)
    try:
        yield
    finally:
        with suppress(PachydermError), readable("Releasing the lock"):
            client.drop_commit(commit.id)


def _acquire(client: python_pachyderm.Client) -> pfs_proto.Commit:
    logger = get_run_logger()
    seen: dict[str, float] = {}
    while True:
        ensure_repo(client, LOCK_REPO, "Lock: who changes scripts and pipelines holds an open commit here.")
        try:
            with readable("Taking the lock"):
                return client.start_commit(LOCK_REPO, BRANCH, description=f"{socket.gethostname()} {os.getpid()}")
        except PachydermError as error:
            if "not found" in str(error):
                # A teardown has just deleted the repo.
                continue
            if "has not been finished" not in str(error):
                raise
        holder = head_of(client, LOCK_REPO, BRANCH)
        if holder is None or holder.finished.seconds:
            continue
        if holder.commit.id not in seen:
            seen[holder.commit.id] = time.monotonic()
            logger.info("Another run is committing or updating the pipelines (%s): waiting", holder.description)
        if _is_dead(holder.description) or time.monotonic() - seen[holder.commit.id] > HELD_SECONDS:
            logger.warning("The run that held the lock is gone (%s)", holder.description)
            with suppress(PachydermError), readable("Dropping the lock"):
                client.drop_commit(holder.commit.id)
            continue
        time.sleep(PAUSE_SECONDS)


def _is_dead(holder: str) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    host, _, pid = holder.rpartition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
