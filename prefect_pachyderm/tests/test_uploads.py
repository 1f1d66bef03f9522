"""Files committed by a task."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from prefect import flow
from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import PachydermCredentials, PachydermError, PrefectPachydermError, commit, events
from prefect_pachyderm.commits import stream_file
from proxy import proxy
from server import Server


@pytest.fixture
def named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the server."""
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `data` in the working directory."""
    folder = tmp_path / "data"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "deep" / "er" / "b.txt").write_text("two")
    (folder / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    return folder


@flow
def commit_in_flow(files: object, description: str = "") -> str:
    assert isinstance(files, (str, Path, Mapping))
    return commit("new", files, description=description)


def contents(client: Client, commit_id: str) -> dict[str, bytes]:
    paths = [info.file.path for info in client.walk_file(("new", commit_id), "/") if info.file.path[-1] != "/"]
    return {path: b"".join(stream_file(client, ("new", commit_id), path)) for path in paths}


WHOLE = {"/.hidden": b"", "/a.txt": b"one", "/deep/er/b.txt": b"two"}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        pytest.param(Path("data"), WHOLE, marks=pytest.mark.slow),
        pytest.param("data", WHOLE, marks=pytest.mark.slow),
        pytest.param("data/**/*", WHOLE, marks=pytest.mark.slow),
        pytest.param("data/deep/er/b.txt", {"/b.txt": b"two"}, marks=pytest.mark.slow),
        pytest.param("data/*", {"/.hidden": b"", "/a.txt": b"one"}, marks=pytest.mark.slow),
        pytest.param("data/*/er/?.txt", {"/deep/er/b.txt": b"two"}, marks=pytest.mark.slow),
        ("**/[ab].txt", {"/data/a.txt": b"one", "/data/deep/er/b.txt": b"two"}),
        ({"x": b"bytes", "/y/z": Path("data/a.txt"), "none": b""}, {"/x": b"bytes", "/y/z": b"one", "/none": b""}),
    ],
    ids=str,
)
def test_folders_patterns_and_bytes_become_the_whole_content_once(
    prefect: None,
    named: None,
    client: Client,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: object,
    wanted: dict[str, bytes],
) -> None:
    emitted: list[object] = []
    monkeypatch.setattr(events, "emit_event", lambda event, resource, **rest: emitted.append(resource))
    first = commit_in_flow({"before": b"gone"})
    made = commit_in_flow(files, "mine")
    assert contents(client, made) == wanted
    assert commit_in_flow(files, "again") == made
    assert client.inspect_branch("new", "master").head.id == made
    assert next(iter(client.inspect_commit(("new", made)))).description == "mine"
    names = [f"new@{each}" for each in (first, made)]
    assert emitted == [
        {"prefect.resource.id": f"pachyderm.commit.{name}", "prefect.resource.name": name} for name in names
    ]


def test_an_absolute_folder_and_credentials_are_taken(
    prefect: None, server: Server, client: Client, folder: Path
) -> None:
    credentials = PachydermCredentials(address=server.address, auth_token=SecretStr(server.token))

    @flow
    def run() -> list[str]:
        made = commit("new", folder, credentials=credentials)
        return [made, commit("new", {"a": b"1"}, branch="other", credentials=credentials)]

    master, other = run()
    assert contents(client, master) == WHOLE
    assert contents(client, other) == {"/a": b"1"}
    assert [client.inspect_branch("new", name).head.id for name in ("master", "other")] == [master, other]


def test_links_are_followed_to_files_in_the_folder_and_nowhere_else(
    prefect: None, named: None, client: Client, folder: Path, tmp_path: Path
) -> None:
    (folder / "link").symlink_to("a.txt")
    made = commit_in_flow(folder)
    assert contents(client, made) == {**WHOLE, "/link": b"one"}
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_text("secret")

    @flow
    def refuse() -> None:
        for target in ("../outside/b", "../outside", "deep", "nowhere", "link"):
            (folder / "link").unlink()
            (folder / "link").symlink_to(target)
            with pytest.raises(PrefectPachydermError, match=r"link is a link (that leads out|to no file)"):
                commit("new", folder)
        (folder / "link").unlink()
        (folder / "link").symlink_to("../outside")
        with pytest.raises(PrefectPachydermError, match="leads out of data"):
            commit("new", "data/*/b")

    refuse()
    assert client.inspect_branch("new", "master").head.id == made


@pytest.mark.parametrize("files", [Path("nowhere"), Path("/nowhere/a"), "data/*.csv", "nowhere/*", {}], ids=str)
def test_nothing_is_no_commit(prefect: None, named: None, client: Client, folder: Path, files: object) -> None:
    with pytest.raises(PrefectPachydermError, match=r"^There is nothing to commit to new@master: "):
        commit_in_flow(files)
    assert [each.repo.name for each in client.list_repo()] == ["in"]


def test_what_can_not_be_committed_is_said_in_a_sentence_and_leaves_nothing(
    prefect: None, named: None, client: Client, folder: Path
) -> None:
    made = commit_in_flow(folder)
    with pytest.raises(PrefectPachydermError, match=r"^gone can't be committed: No such file or directory\.$"):
        commit_in_flow({"a": b"1", "b": Path("gone")})
    with pytest.raises(PrefectPachydermError, match=r"Invalid pattern|nothing to commit"):  # by Python's version
        commit_in_flow("data/**a")
    with pytest.raises(PachydermError, match=r"^Committing 1 files to new@master failed: .*relative"):
        commit_in_flow({"../a": b"1"})
    (folder / os.fsdecode(b"caf\xe9")).touch()
    with pytest.raises(PrefectPachydermError, match=r"^The file 'caf.*' can't be committed: its name is no UTF-8"):
        commit_in_flow("data")
    with pytest.raises(
        PrefectPachydermError, match=r"^The content of a can't be committed: it is of the type str; give"
    ):
        commit_in_flow({"a": "data/a.txt"})
    assert client.inspect_branch("new", "master").head.id == made
    theirs = client.start_commit("new", "master")
    with pytest.raises(PachydermError, match=f"Somebody is writing the commit new@{theirs.id}"):
        commit_in_flow({"a": b"1"})
    assert client.inspect_branch("new", "master").head.id == theirs.id


def test_what_is_no_regular_file_is_left_out(prefect: None, named: None, client: Client, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    assert contents(client, commit_in_flow(folder)) == WHOLE


@pytest.mark.parametrize(
    ("failing", "how"),
    [
        ({"CreateFileSet": 1}, True),
        ({"StartCommit": 1}, "late"),
        ({"FinishTransaction": 1, "DeleteTransaction": 1}, True),
        ({"FinishTransaction": 1}, "late"),
        ({"AddFileSet": 1, "DropCommitSet": 1}, True),
        ({"FinishCommit": 1, "DropCommitSet": 1}, "late"),
        ({"InspectCommit": 1}, True),
    ],
    ids=str,
)
def test_a_server_that_is_gone_for_a_while_leaves_one_commit_and_one_event(
    prefect: None,
    server: Server,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    failing: dict[str, int],
    how: Literal[True, "late"],
) -> None:
    """While files are sent and what has begun is to be dropped, or while the end is waited for."""
    emitted: list[str] = []
    monkeypatch.setattr(events, "emit_event", lambda event, resource, **rest: emitted.append(resource))

    @flow
    def run(address: str) -> str:
        credentials = PachydermCredentials(address=address, auth_token=SecretStr(server.token))
        return commit("new", {"a": b"1"}, credentials=credentials)

    with proxy(server.address, lambda name, number: failing.get(name) == number and how) as (address, calls):
        made = run(address)
        assert all(calls[name] > number for name, number in failing.items())
    assert contents(client, made) == {"/a": b"1"}
    assert [info.commit.id for info in client.list_commit("new")] == [made]
    assert not list(client.list_transaction())
    assert len(emitted) == 1
