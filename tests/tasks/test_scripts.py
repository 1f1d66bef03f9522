"""Scripts as commits: one for what is new, none for what is there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from python_pachyderm import Client
from python_pachyderm.service import pfs_proto

from prefect_pachyderm.calls import PachydermError
from prefect_pachyderm.commits import head_of
from tasks import scripts
from tasks.scripts import commit_scripts
from tests.jobs import put


@pytest.fixture(autouse=True)
def without_a_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(scripts, "get_run_logger", lambda: logging.getLogger("scriptwright"))


def commit(folder: Path, **texts: str) -> str:
    files = {name: folder / name for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    return commit_scripts.fn(files, "https://example.com/s.tar.gz", "1a2b")


def content(client: Client) -> dict[str, bytes]:
    head = ("GoT_scripts", "master")
    paths = [info.file.path for info in client.walk_file(head, "/") if not info.file.path.endswith("/")]
    return {path: client.get_file(head, path).read() for path in paths}


def commits(client: Client) -> list[str]:
    return [info.commit.id for info in client.list_commit("GoT_scripts")]


def test_what_is_new_is_one_commit_and_what_is_there_is_none(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = commit(tmp_path, a="A", b="B")
    assert content(client) == {"/a": b"A", "/b": b"B"}
    assert commit(tmp_path, a="A", b="B") == first
    assert caplog.messages == [
        f"Committed 2 scripts as GoT_scripts@{first}",
        f"GoT_scripts@{first} has these 2 scripts already: no new commit",
    ]
    second = commit(tmp_path, a="A", c="C")
    assert content(client) == {"/a": b"A", "/c": b"C"}
    third = commit(tmp_path, a="A", c="c")
    assert content(client) == {"/a": b"A", "/c": b"c"}
    assert commits(client) == [third, second, first]
    (info,) = client.inspect_commit(("GoT_scripts", third))
    assert info.description == "https://example.com/s.tar.gz sha256:1a2b"
    assert client.inspect_repo("GoT_scripts").description == "Scripts that the language model is trained on."


def test_what_crashes_of_ours_have_left_is_dropped(client: Client, tmp_path: Path) -> None:
    first = commit(tmp_path, a="A")
    client.start_commit("GoT_scripts", "master", description="s.tar.gz sha256:1a2b")
    assert commit(tmp_path, a="A") == first
    client.start_commit("GoT_scripts", "master", description="s.tar.gz sha256:1a2b")
    second = commit(tmp_path, b="B")
    assert commits(client) == [second, first]
    assert content(client) == {"/b": b"B"}


def test_a_commit_that_is_being_finished_is_left_alone(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def still_finishing(client: Client, repo: str, branch: str) -> pfs_proto.CommitInfo | None:
        info = head_of(client, repo, branch)
        if info is not None:
            info.ClearField("finished")
        return info

    monkeypatch.setattr(scripts, "head_of", still_finishing)
    first = commit(tmp_path, a="A")
    assert commit(tmp_path, a="A") == first
    second = commit(tmp_path, b="B")
    assert commits(client) == [second, first]


def test_what_somebody_else_is_writing_is_left_to_him(client: Client, tmp_path: Path) -> None:
    first = commit(tmp_path, a="A")
    other = client.start_commit("GoT_scripts", "master", description="by hand")
    with pytest.raises(PachydermError, match=rf"^Somebody is writing the commit GoT_scripts@{other.id}; finish it"):
        commit(tmp_path, b="B")
    assert commits(client) == [other.id, first]
    client.finish_commit(other)
    assert commit(tmp_path, a="A") != first


def test_what_somebody_else_has_put_there_counts(client: Client, tmp_path: Path) -> None:
    client.create_repo("GoT_scripts", description="mine")
    other = put(client, "GoT_scripts", {"/a": b"A"})
    assert commit(tmp_path, a="A") == other
    assert client.inspect_repo("GoT_scripts").description == "mine"
