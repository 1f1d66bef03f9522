"""What is wrong with one object holds up no other: each loop says it in its log, and goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localpach import waiting
from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client, branch_of
from tests.helpers import last_job, pfs, pipeline, put, refused, until
from tests.servers import Server, serving


def damage(server: Server, statement: str) -> None:
    """Changes the database behind the server's back."""
    connection = sqlite3.connect(server.root / "metadata.sqlite", timeout=60)
    with connection:
        assert connection.execute(statement).rowcount
    connection.close()


@pytest.fixture(autouse=True)
def _nothing_unexpected() -> None:
    """What nobody expects is put there by the tests, and may be told with where it was met."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One for each test, which damages it."""
    with serving(tmp_path) as server:
        yield server


def works(client: Client) -> None:
    """Another pipeline's job is done."""
    client.create_repo("other")
    put(client, "other", {"/a": b"1"})
    pipeline(client, "works", "cp /pfs/other/a /pfs/out/", pfs("other"))
    assert last_job(client, "works").state == pps_pb2.JOB_SUCCESS


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pipeline_versions SET info = x'ff'",
        "UPDATE pipelines SET version = 7",
        "UPDATE jobs SET info = x'ff' WHERE over = 0",
        "UPDATE ticks SET name = 'nobody'",
    ],
)
def test_a_damaged_pipeline_job_or_cron(
    server: Server, client: Client, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@every 1s"))
    client.create_repo("open")
    client.start_commit("open", "master")
    pipeline(client, "damaged", "true", pps_pb2.Input(cross=[cron, pfs("open")]))
    client.run_cron("damaged")
    damage(server, statement)
    works(client)
    until(lambda: any("controller, " in record.getMessage() for record in caplog.records))


def test_a_damaged_trigger(server: Server, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for repo in ("a", "b"):
        client.create_repo(repo)
        trigger = pfs_pb2.Trigger(branch="master", commits=1)
        client.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=branch_of(repo, "fired"), trigger=trigger))
    damage(server, "UPDATE branches SET trigger = x'ff' WHERE repo = (SELECT num FROM repos WHERE name = 'a')")
    id = put(client, "b", {"/a": b"1"})
    until(lambda: client.inspect_commit(("b", "fired")).commit.id == id)
    until(lambda: any("the trigger of branch" in record.getMessage() for record in caplog.records))


def test_commits_are_finished_whose_trigger_is_damaged(
    server: Server, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.create_repo("a")
    trigger = pfs_pb2.Trigger(branch="master", commits=1)
    client.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=branch_of("a", "fired"), trigger=trigger))
    damage(server, "UPDATE branches SET trigger = x'ff' WHERE trigger IS NOT NULL")
    ids = [put(client, "a", {"/a": str(number).encode()}) for number in range(2)]
    said = "the trigger of branch default/a@fired is damaged; create the branch again with its trigger"
    assert [any(id in each and said in each for each in caplog.messages) for id in ids] == [True, True]
    assert client.inspect_commit(("a", "master")).error == ""
    client.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=branch_of("a", "fired"), trigger=trigger))
    id = put(client, "a", {"/a": b"2"})
    until(lambda: client.inspect_commit(("a", "fired")).commit.id == id)


def test_a_commit_whose_files_are_damaged_is_finished_with_that_as_its_error(server: Server, client: Client) -> None:
    client.create_repo("a")
    damaged, whole = (client.start_commit("a", branch) for branch in ("x", "y"))
    for commit in (damaged, whole):
        client.put_file_bytes(commit, "/f", b"1")
    damage(server, f"UPDATE commits SET tree = '{'0' * 64}', collisions = '[\"/f\"]' WHERE id = '{damaged.id}'")
    for commit in (damaged, whole):
        client.finish_commit(commit)
        client.wait_commit(commit)
    assert "is missing from the database" in client.inspect_commit(("a", damaged.id)).error
    assert client.inspect_commit(("a", whole.id)).error == ""
    assert refused(lambda: client.get_file(("a", damaged.id), "/f"))[0] == "DATA_LOSS"


def test_a_lasting_fault_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "RETRY_SECONDS", 0.01)
    faults = [ValueError("first"), ValueError("first"), OSError(28, "full"), None, ValueError("first")]
    steps: list[str] = []

    def step() -> None:
        steps.append("step")
        with loop.alone("one"):
            fault = faults.pop(0) if faults else None
            if fault is not None:
                raise fault
        with loop.alone("two"):
            steps.append("two")

    bulletin = waiting.Bulletin(lambda call: call())
    loop = waiting.Loop(bulletin, waiting.Topic.WORK, step, "loop")
    loop.start()
    until(lambda: len(steps) >= 8)
    # Nothing was wrong with the fourth step, so that the fifth waits for news.
    time.sleep(0.05)
    assert steps == ["step", "two"] * 4
    bulletin.tell(waiting.Topic.WORK)
    until(lambda: len(steps) >= 12)
    loop.close()
    assert [record.getMessage() for record in caplog.records] == [
        "loop, one: first",
        "loop, one: the disk is full, nothing was changed: [Errno 28] full; free some space, and try again",
        "loop, one: first",
    ]


def test_what_a_killed_server_was_writing_is_gone_at_the_next_start(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    (tmp_path / "tmp" / "half").write_bytes(b"half")
    with serving(tmp_path):
        assert not list((tmp_path / "tmp").iterdir())
