"""The README's session, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from python_pachyderm import Client

from server import Server

README = Path(__file__).parents[1] / "README.md"


def test_the_session_runs_twice_and_does_its_work_once(
    prefect: None, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)
    commit, session = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(commit, str(README), "exec"), {})
    for _ in range(2):
        # A flow wants a file that its source can be read from.
        exec(compile(session, str(README), "exec"), {"__name__": "session"})
        assert capsys.readouterr().out == "3\n"
    assert len(list(client.list_job("count"))) == 1
