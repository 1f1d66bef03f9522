"""The README's sessions, as they stand there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from python_pachyderm import Client

from prefect_pachyderm import commit
from server import Server

README = Path(__file__).parents[1] / "README.md"
COMMIT, SESSION, TRIGGER, ASSETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

T = TypeVar("T")


@pytest.fixture(autouse=True)
def named(prefect: None, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the server."""
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)


def run(*sessions: str) -> dict[str, Any]:
    """What is defined after these."""
    # A flow wants a file that its source can be read from.
    names: dict[str, Any] = {"__name__": "session"}
    for session in sessions:
        exec(compile(session, str(README), "exec"), names)
    return names


def until(found: Callable[[], T | None]) -> T:
    """What is found in the end."""
    deadline = time.monotonic() + 60
    while not (it := found()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return it


def test_the_session_runs_twice_and_does_its_work_once(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    run(COMMIT)
    for _ in range(2):
        run(SESSION)
        assert capsys.readouterr().out == "3\n"
    assert len(list(client.list_job("count"))) == 1


@pytest.mark.slow
def test_a_deployment_runs_for_each_commit_on_the_branch_and_for_no_other(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "looking.py").write_text(f"from prefect import flow\n{TRIGGER}")
    monkeypatch.syspath_prepend(tmp_path)
    looking = import_module("looking")
    deployment_id = looking.look_at.to_deployment("test", triggers=[looking.NEW_TEXTS]).apply()

    @flow
    def change() -> list[str]:
        commit("other", {"a": b"1"})
        commit("texts", {"a": b"1"}, branch="other")
        return [f"texts@{commit('texts', {'a': content})}" for content in (b"1", b"2", b"2")]

    def started() -> list[str] | None:
        with get_client(sync_client=True) as api:
            runs = api.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])))
        return [run.parameters["commit"] for run in runs] if len(runs) >= 2 else None

    first, second, again = change()
    assert second == again
    assert sorted(until(started)) == sorted([first, second])


@pytest.mark.slow
def test_assets_are_told_with_what_they_were_made_of(client: Client) -> None:
    def told() -> list[dict[str, Any]] | None:
        prefix = {"prefix": ["prefect.asset.materialization"]}
        with get_client(sync_client=True) as api:
            found = api.request("POST", "/events/filter", json={"filter": {"event": prefix}}).json()["events"]
        return found if len(found) >= 2 else None

    run(COMMIT, SESSION, ASSETS)
    by_key = {event["resource"]["prefect.resource.id"]: event for event in until(told)}
    texts, words = by_key["pachyderm://texts/master"], by_key["pachyderm://count/master"]
    assert texts["event"] == words["event"] == "prefect.asset.materialization.succeeded"
    assert texts["payload"] == {"commit": client.inspect_branch("texts", "master").head.id}
    assert "pachyderm://texts/master" in [each["prefect.resource.id"] for each in words["related"]]
