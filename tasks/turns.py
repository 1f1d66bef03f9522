"""One run at a time changes scripts and pipelines, whichever Prefect server, if any, it was started from.

What runs share is Pachyderm, so the lock is there: an open commit in the repo `GoT_lock`. Starting a second one on the same
branch is refused by Pachyderm, atomically. The lock is held for the seconds in which scripts are committed and pipelines
updated; after that a run only waits for jobs, and two runs may wait for the same one. Before that, a run that would replace
the pipelines' specs waits until the jobs of the present ones are over, for an update ends them.

A run that died leaves the lock behind, and so does one whose Pachyderm was gone when it gave the lock back. Its commit says
which process of which machine took it, and for which turn: who finds that this process is gone, that the turn was one of its own
and is over, or the lock older than any run holds it, drops it by its id, so that nobody drops the lock of the next one.
"""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import python_pachyderm
from prefect import get_run_logger
from python_pachyderm.service import pfs_proto

from prefect_pachyderm.calls import PachydermError, readable
from prefect_pachyderm.commits import ensure_repo, head_of
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.jobs import JobFailed, PachydermJob
from prefect_pachyderm.pipelines import jobs_in_the_way
from prefect_pachyderm.specs import Template
from tasks.project import BRANCH, LOCK_REPO

HELD_SECONDS = 120.0
PAUSE_SECONDS = 0.25
# The turns of this process that are not over.
_turns: set[str] = set()


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
    turn_id = uuid.uuid4().hex
    _turns.add(turn_id)
    try:
        with readable("Taking the lock"):
            commit = _acquire(client, turn_id)
        try:
            yield
        finally:
            with suppress(PachydermError), readable("Releasing the lock"):
                client.drop_commit(commit.id)
    finally:
        _turns.remove(turn_id)


def _acquire(client: python_pachyderm.Client, turn_id: str) -> pfs_proto.Commit:
    logger = get_run_logger()
    seen: dict[str, float] = {}
    while True:
        ensure_repo(client, LOCK_REPO, "Lock: who changes scripts and pipelines holds an open commit here.")
        try:
            with readable("Taking the lock"):
                holder = f"{socket.gethostname()} {os.getpid()} {turn_id}"
                return client.start_commit(LOCK_REPO, BRANCH, description=holder)
        except PachydermError as error:
            if "not found" in str(error):
                # A teardown has just deleted the repo.
                continue
            if "has not been finished" not in str(error):
                raise
        head = head_of(client, LOCK_REPO, BRANCH)
        if head is None or head.finished.seconds:
            continue
        if head.commit.id not in seen:
            seen[head.commit.id] = time.monotonic()
            logger.info("Another run is committing or updating the pipelines (%s): waiting", head.description)
        if _is_over(head.description) or time.monotonic() - seen[head.commit.id] > HELD_SECONDS:
            logger.warning("The run that held the lock is gone (%s)", head.description)
            with suppress(PachydermError), readable("Dropping the lock"):
                client.drop_commit(head.commit.id)
            continue
        time.sleep(PAUSE_SECONDS)


def _is_over(holder: str) -> bool:
    """Whether the holder was a turn of this process that is over, or a process of this machine that is no more."""
    ours = re.fullmatch(rf"{re.escape(socket.gethostname())} (\d+) (\w+)", holder)
    if ours is None:
        return False
    pid, turn_id = int(ours[1]), ours[2]
    if pid == os.getpid():
        return turn_id not in _turns
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
