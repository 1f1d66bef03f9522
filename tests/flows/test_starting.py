"""How a flow starts from a terminal: what is taken from the environment, and how it ends."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from flows import terminal
from flows.train import train
from tasks.errors import ScriptwrightError

Given = dict[str, str]


def start(patch: pytest.MonkeyPatch, outcome: BaseException | None = None) -> Given:
    """Starts `train` in this process, which comes to this end; returns the parameters that it was given."""
    for name in ("_take_ctrl_c_alone", "_lock_temporary_server"):
        patch.setattr(terminal, name, lambda: None)

    class Started:
        fn = staticmethod(train.fn)
        parameters = train.parameters
        given: Given

        def __call__(self, **given: str) -> None:
            self.given = given
            train.validate_parameters(given)
            if outcome:
                raise outcome

    flow: Any = Started()
    terminal.run_from_terminal(flow)
    return dict(flow.given)


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in train.parameters.properties:
        monkeypatch.delenv(name.upper(), raising=False)


def test_parameters_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODEL": "quick", "SEED": "3", "FORMAT": "", "TOLERANCE": "1", "tokens": "700"}.items():
        monkeypatch.setenv(name, value)
    assert start(monkeypatch) == {"model": "quick", "seed": "3"}


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        (ScriptwrightError("It is broken; mend it."), "\nError: It is broken; mend it.", ""),
        (KeyboardInterrupt(), 130, "\nInterrupted; run again to go on.\n"),
    ],
)
def test_an_end_before_the_end_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: BaseException,
    status: str | int,
    said: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        start(monkeypatch, outcome)
    assert (ended.value.code, capsys.readouterr().err) == (status, said)


def test_the_first_parameter_that_is_no_good_is_told_with_its_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", "-1")
    monkeypatch.setenv("TOKENS", "none")
    with pytest.raises(SystemExit) as ended:
        start(monkeypatch)
    said = str(ended.value.code)
    assert said.startswith("\nError: a parameter is not usable: tokens: ")
    assert said.endswith(". Length of the new script in tokens.")


def test_a_temporary_server_has_a_login_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    refreshed: list[str] = []
    logins = []
    monkeypatch.setattr(
        terminal, "refresh_global_settings_context", lambda: refreshed.append(os.environ["PREFECT_API_AUTH_STRING"])
    )
    for url in (None, None, "http://127.0.0.1:4200/api"):
        monkeypatch.setattr(
            terminal, "get_current_settings", lambda url=url: SimpleNamespace(api=SimpleNamespace(url=url))
        )
        monkeypatch.setattr(os, "environ", {})
        terminal._lock_temporary_server()
        logins.append(dict(os.environ))
    first, second, named = logins
    assert named == {} and first != second
    login = first.pop("PREFECT_API_AUTH_STRING")
    name, _, password = login.partition(":")
    assert (name, len(password) >= 43) == ("scriptwright", True)
    assert first == {
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",
    }
    assert refreshed == [login, second["PREFECT_API_AUTH_STRING"]]
