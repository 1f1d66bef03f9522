"""Commits made of files, and commits that somebody makes, followed with their jobs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pytest
from prefect import flow
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import JobFailed, PachydermError, PachydermPipeline, events
from prefect_pachyderm.calls import readable
from prefect_pachyderm.commits import commit_files, ensure_repo, has_exactly, head_of, input_commits, stream_file
from prefect_pachyderm.follow import new_commits, report_commit
from prefect_pachyderm.waits import wait_for_job
from server import Server


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files by their paths in a repo, an empty one among them."""
    (tmp_path / "one").write_text("1\n")
    (tmp_path / "two").write_text("2\n2\n")
    (tmp_path / "none").touch()
    return {"a.txt": tmp_path / "one", "d/b.txt": tmp_path / "two", "empty.txt": tmp_path / "none"}


def contents(client: Client, commit: tuple[str, str]) -> dict[str, bytes]:
    paths = [info.file.path for info in client.walk_file(commit, "/") if not info.file.path.endswith("/")]
    return {path: b"".join(stream_file(client, commit, path)) for path in paths}


def test_files_become_the_whole_content(client: Client, files: dict[str, Path]) -> None:
    commit = commit_files(client, "in", "master", files, "mine")
    client.wait_commit(("in", commit))
    assert contents(client, ("in", commit)) == {"/a.txt": b"1\n", "/d/b.txt": b"2\n2\n", "/empty.txt": b""}
    head = head_of(client, "in", "master")
    assert head is not None
    assert (head.commit.id, head.description) == (commit, "mine")
    assert has_exactly(client, head, files)
    assert not has_exactly(client, head, {"a.txt": files["a.txt"]})
    assert not has_exactly(client, head, {**files, "c": files["a.txt"]})
    assert not has_exactly(client, head, {**files, "a.txt": files["d/b.txt"]})


def test_a_commit_that_fails_on_the_way_leaves_nothing(
    client: Client, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    before = head_of(client, "in", "master")
    assert before is not None
    files["d/b.txt"].unlink()
    with pytest.raises(FileNotFoundError):
        commit_files(client, "in", "master", files, "mine")
    after = head_of(client, "in", "master")
    assert after is not None
    assert after.commit.id == before.commit.id
    assert not [record for record in caplog.records if record.exc_info]
    assert contents(client, ("in", "master")) == {"/a": b"one"}


class Watched:
    """A file that tells how many were open at once."""

    opened: ClassVar[list[BinaryIO]] = []
    most = 0

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, mode: str) -> BinaryIO:
        file: BinaryIO = self._path.open(mode)  # type: ignore[assignment]
        Watched.opened.append(file)
        Watched.most = max(Watched.most, sum(not each.closed for each in Watched.opened))
        return file


def test_one_file_is_open_at_once(client: Client, files: dict[str, Path]) -> None:
    many = {f"{number}.txt": files["a.txt"] for number in range(10)}
    commit = commit_files(client, "in", "master", {path: Watched(file) for path, file in many.items()}, "mine")  # type: ignore[misc]
    assert contents(client, ("in", commit)) == {f"/{path}": b"1\n" for path in many}
    assert Watched.most == 1


def test_who_is_killed_while_files_are_sent_leaves_no_commit(server: Server, client: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    code = (
        "import sys; from pathlib import Path; from python_pachyderm import Client;"
        "from prefect_pachyderm.commits import commit_files;"
        "client = Client('127.0.0.1', int(sys.argv[1]), auth_token=sys.argv[2]);"
        "commit_files(client, 'in', 'master', {'a': b'1', 'b': Path(sys.argv[3])}, 'never')"
    )
    command = [sys.executable, "-c", code, str(server.port), server.token, str(tmp_path / "fifo")]
    with subprocess.Popen(command) as process, (tmp_path / "fifo").open("wb") as fifo:
        fifo.write(b"half of it")
        fifo.flush()
        process.kill()
    head = head_of(client, "in", "master")
    assert head is not None
    assert head.finished.seconds
    assert has_exactly(client, head, {"a": b"one"})


def test_an_open_commit_has_nothing_yet(client: Client, tmp_path: Path) -> None:
    client.start_commit("in", "master")
    head = head_of(client, "in", "master")
    assert head is not None
    assert not has_exactly(client, head, {})
    (tmp_path / "one").write_text("one")
    assert not has_exactly(client, head, {"a": tmp_path / "one"})


@pytest.mark.parametrize("missing", ["finished", "finishing"])
def test_a_commit_that_is_being_finished_has_what_it_will_have(
    client: Client, files: dict[str, Path], missing: str
) -> None:
    commit_files(client, "in", "other", files, "mine")
    head = head_of(client, "in", "other")
    assert head is not None
    head.ClearField(missing)
    assert has_exactly(client, head, files)


def test_a_repo_is_made_once_and_a_branch_may_have_no_head(client: Client) -> None:
    assert head_of(client, "new", "master") is None
    ensure_repo(client, "new", "first")
    ensure_repo(client, "new", "second")
    (info,) = [each for each in client.list_repo() if each.repo.name == "new"]
    assert info.description == "first"
    assert head_of(client, "new", "master") is None


def test_a_repo_that_somebody_else_has_just_made_is_there(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(client, "list_repo", list)
        ensure_repo(client, "in", "mine")
    assert contents(client, ("in", "master")) == {"/a": b"one"}


def test_an_output_commit_is_made_of_the_commits_of_its_inputs(client: Client) -> None:
    create_pipeline(client, "true")
    read = client.inspect_branch("in", "master").head.id
    assert input_commits(client, "p", "master") == [("in", read)]


def test_what_is_not_there_is_said_in_a_sentence(client: Client) -> None:
    with pytest.raises(PachydermError, match=r"^Looking at nowhere@master failed: .*nowhere") as caught:
        input_commits(client, "nowhere", "master")
    assert not caught.value.transient
    with pytest.raises(KeyError), readable("Looking"):
        raise KeyError("no error of Pachyderm's")


@pytest.fixture
def named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the server."""
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)


Emitted = dict[str, tuple[str, list[dict[str, str]], dict[str, Any], object]]


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emitted]:
    """The events by resource: name, related resources, payload and id."""
    found: Emitted = {}

    def record(event: str, resource: dict[str, str], related: list[dict[str, str]], payload: Any, id: object) -> None:
        found[resource["prefect.resource.id"]] = (event, related, payload, id)

    monkeypatch.setattr(events, "emit_event", record)
    yield found


def test_what_changes_something_is_an_event(
    prefect: None, named: None, client: Client, emitted: Emitted, files: dict[str, Path]
) -> None:
    spec = {
        "pipeline": {"name": "p"},
        "input": {"pfs": {"repo": "in", "glob": "/"}},
        "transform": {"image": "host", "cmd": ["sleep", "300"]},
    }
    job = PachydermPipeline(spec=spec).trigger()
    assert emitted["pachyderm.pipeline.p"][0] == "pachyderm.pipeline.changed"
    job.stop("it is not needed")
    assert emitted[f"pachyderm.job.p@{job.job_id}"][0] == "pachyderm.job.killed"
    again = PachydermPipeline(spec={**spec, "transform": {"image": "host", "cmd": ["true"]}}).trigger()
    again.wait_for_completion()
    assert emitted[f"pachyderm.job.p@{again.job_id}"][0] == "pachyderm.job.succeeded"
    assert emitted["pachyderm.pipeline.p"][2] == {"version": "2"}
    commit = commit_files(client, "in", "master", files, "mine")
    event, _, payload, _ = emitted[f"pachyderm.commit.in@{commit}"]
    size = sum(file.stat().st_size for file in files.values())
    assert (event, payload) == ("pachyderm.commit.finished", {"description": "mine", "error": "", "bytes": size})


def test_a_pipeline_that_is_made_anew_is_another_event(
    prefect: None, named: None, client: Client, emitted: Emitted
) -> None:
    """Of one event Prefect keeps the first, and the versions begin with 1 again."""
    pipeline = PachydermPipeline(
        spec={
            "pipeline": {"name": "p"},
            "input": {"pfs": {"repo": "in", "glob": "/"}},
            "transform": {"image": "host", "cmd": ["true"]},
        }
    )
    told = []
    for _ in range(2):
        pipeline.trigger().wait_for_completion()
        told.append(emitted["pachyderm.pipeline.p"])
        client.delete_pipeline("p", force=True)
    assert [payload for _, _, payload, _ in told] == [{"version": "1"}] * 2
    assert len({event_id for *_, event_id in told}) == 2


def create_pipeline(client: Client, script: str) -> None:
    transform = pps_proto.Transform(cmd=["sh"], stdin=[script], image="host")
    pfs = pps_proto.PFSInput(repo="in", glob="/")
    client.create_pipeline("p", transform=transform, input=pps_proto.Input(pfs=pfs))


def put(client: Client, content: bytes) -> str:
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/a", content)
    return str(commit.id)


def test_a_job_that_ends_is_an_event(prefect: None, named: None, client: Client, emitted: Emitted) -> None:
    create_pipeline(client, "case $(cat /pfs/in/a) in bad) exit 1 ;; slow) echo begun; sleep 300 ;; esac")

    @flow
    def wait(job_id: str) -> None:
        wait_for_job("p", job_id, on_line=lambda line: client.stop_job(job_id, "p") if line == "begun" else None)

    first = str(client.inspect_branch("p", "master").head.id)
    wait(first)
    event, related, payload, _ = emitted[f"pachyderm.job.p@{first}"]
    assert event == "pachyderm.job.succeeded"
    datums = {"total": 1, "processed": 1, "skipped": 0}
    assert payload == {"state": "JOB_SUCCESS", "reason": "", "datums": datums}
    (read,) = [each for each in related if each["prefect.resource.role"] == "input-commit"]
    (written,) = [each for each in related if each["prefect.resource.role"] == "output-commit"]
    assert read["prefect.resource.id"].startswith("pachyderm.commit.in@")
    assert written["prefect.resource.id"] == f"pachyderm.commit.p@{first}"

    for content, outcome in ((b"bad", "failed"), (b"slow", "killed")):
        job_id = put(client, content)
        with pytest.raises(JobFailed):
            wait(job_id)
        assert emitted[f"pachyderm.job.p@{job_id}"][0] == f"pachyderm.job.{outcome}"


def test_commits_are_followed_from_the_last_one_reported(
    prefect: None, named: None, client: Client, emitted: Emitted
) -> None:
    create_pipeline(client, "[ $(cat /pfs/in/a) != bad ]")
    client.wait_commit(("p", "master"))

    @flow
    def follow(made: list[bytes], count: int) -> dict[str, dict[str, str]]:
        outcomes = {}
        for content in made:
            put(client, content)
        for info in new_commits("in", "master"):
            outcomes[info.commit.id] = report_commit("in", "master", info.commit.id)
            if len(outcomes) == count:
                break
        return outcomes

    @flow
    def begin() -> None:
        report_commit("in", "master", client.inspect_branch("in", "master").head.id)

    begin()
    first = follow([b"good", b"bad", b"fine"], 2)
    good, bad = first
    assert first[good] == {"p": "succeeded"}
    assert "ended as JOB_FAILURE" in first[bad]["p"]
    (rest,) = follow([], 1).items()
    assert rest[0] not in first
    assert rest[1] == {"p": "succeeded"}
    assert emitted[f"pachyderm.commit.in@{good}"][0] == "pachyderm.commit.finished"
    assert emitted[f"pachyderm.job.p@{bad}"][0] == "pachyderm.job.failed"
    ids = [each[3] for each in emitted.values()]
    assert len(ids) == len(set(ids))


def test_an_asynchronous_flow_follows_from_the_last_one_reported_too(
    prefect: None, named: None, client: Client
) -> None:
    @flow
    async def follow() -> str:
        report_commit("in", "master", client.inspect_branch("in", "master").head.id)
        first, _ = put(client, b"first"), put(client, b"second")
        info = next(iter(new_commits("in", "master")))
        return "the first" if info.commit.id == first else "a later one"

    assert asyncio.run(follow()) == "the first"
