"""What a commit, its job and a look at both ask of the database does not grow with what came before them, or waits beside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from localpach.names import Branch, Repo
from localpach.pps.records import PipelineName
from localpach.proto import pfs_pb2, pps_pb2
from tests.helpers import pfs, pipeline, put, until
from tests.pps.bench import Bench
from tests.servers import Server, serving

COPIES = 5000
WAITING = 40
EVERY = 100

# Old commits and jobs as the newest ones of their repo and pipeline are, under ids of their own.
OLD_COMMITS = """
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
INSERT INTO commits (repo, id, branch, parent, origin, description, started, finishing, finished, tree, size)
SELECT repo, printf('%032x', n), branch, NULL, origin, '', started, finishing, finished, tree, size
FROM n, (SELECT * FROM commits WHERE num IN (SELECT max(num) FROM commits GROUP BY repo))
"""
OLD_JOBS = """
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
INSERT INTO jobs (pipeline, id, version, state, over, info)
SELECT pipeline, printf('%032x', n), version, state, over, info
FROM n, (SELECT * FROM jobs WHERE num IN (SELECT max(num) FROM jobs GROUP BY pipeline))
"""
# All commits of each repo in one line, whose end is the head.
ONE_LINE = """
UPDATE commits SET parent = (SELECT max(b.num) FROM commits b WHERE b.repo = commits.repo AND b.num < commits.num);
UPDATE branches SET head = (SELECT max(num) FROM commits c WHERE c.repo = branches.repo) WHERE name = 'master';
"""


class Steps:
    """Counts, by hundreds, the steps of SQLite's machine that all connections take which are made from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        monkeypatch.setattr(sqlite3, "connect", partial(self._connect, sqlite3.connect))

    def _connect(self, connect: Callable[..., sqlite3.Connection], *args: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*args, **named)
        connection.set_progress_handler(self._count, EVERY)
        return connection

    def _count(self) -> int:
        self.taken += EVERY
        return 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


@pytest.fixture
def watched(tmp_path: Path, steps: Steps) -> Iterator[Server]:
    with serving(tmp_path) as server:
        yield server


def test_a_job_and_looking_at_it_ask_no_more_after_many_than_after_few(watched: Server, steps: Steps) -> None:
    client = watched.client
    client.create_repo("in")
    pipeline(client, "copy", "cp /pfs/in/* /pfs/out/", pfs("in"))

    def work(number: int) -> int:
        before = steps.taken
        client.inspect_job(put(client, "in", {"/f": str(number).encode()}), "copy", wait=True)
        client.list_pipeline()
        client.list_commit("in", number=1)
        return steps.taken - before

    assert grows(watched, work, OLD_COMMITS, OLD_JOBS) < 1.3


def test_a_commit_that_fires_no_trigger_asks_no_more_after_many_than_after_few(watched: Server, steps: Steps) -> None:
    watched.client.create_repo("in")
    trigger = pfs_pb2.Trigger(branch="master", commits=10**6)
    watched.client.create_branch("in", "triggered", trigger=trigger)

    def work(number: int) -> int:
        before = steps.taken
        put(watched.client, "in", {"/f": str(number).encode()})
        return steps.taken - before

    # The first one after the others is where these are counted. A commit takes few steps; past all others it is a hundred
    # times as many.
    assert grows(watched, work, OLD_COMMITS, ONE_LINE) < 10


def test_a_job_asks_no_more_while_jobs_of_many_pipelines_wait(tmp_path: Path, steps: Steps) -> None:
    bench = Bench(tmp_path)
    branch = Branch(Repo("default", "open"), "master")
    bench.pfs.repos.create(branch.repo)
    bench.pfs.commits.start(branch)
    bench.create(input=pfs("in", "/"))

    def add_waiting(*numbers: int) -> None:
        with bench.store.write():
            for number in numbers:
                name = PipelineName("default", f"waits{number}").to_proto()
                transform = pps_pb2.Transform(cmd=["true"], image="img")
                request = pps_pb2.CreatePipelineRequest(pipeline=name, transform=transform, input=pfs("open"))
                bench.pps.lifecycle.create(request)

    def work(number: int) -> int:
        before = steps.taken
        bench.put(f"/{number}")
        job = bench.last()
        assert job.state == pps_pb2.JOB_SUCCESS
        until(lambda: not bench.pps.running.has(job.num))
        return steps.taken - before

    add_waiting(1)
    few = min(map(work, range(3)))
    add_waiting(*range(2, WAITING))
    many = min(map(work, range(3, 6)))
    assert (
        len({job.pipeline for job in bench.pps.queries.select(None, (), -1, False) if not job.is_over}) == WAITING - 1
    )
    bench.close()
    assert (many - EVERY) / few < 1.3


def grows(server: Server, work: Callable[[int], int], *statements: str) -> float:
    """How many times the steps of `work` after few commits it takes after many, which some statements make."""
    few = min(map(work, range(1, 4)))
    old = sqlite3.connect(server.root / "metadata.sqlite")
    for statement in statements:
        old.executescript(statement.replace("?", str(COPIES)))
    old.close()
    many = min(map(work, range(4, 7)))
    return (many - EVERY) / few
