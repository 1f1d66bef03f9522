"""How a flow starts from a terminal: what is taken from the environment, and how it ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from prefect import Flow

from flows import __main__, ctrl_c, terminal
from flows.train import train
from tasks.errors import ScriptwrightError

Given = dict[str, str]


def start(patch: pytest.MonkeyPatch, outcome: BaseException | None = None) -> Given:
    """Starts `train` in this process, which comes to this end; returns the parameters that it was given."""
    first: list[str] = []
    for name in ("_lock_temporary_server", "_see_cluster_answer"):
        patch.setattr(terminal, name, partial(first.append, name))

    class Started:
        fn = staticmethod(train.fn)
        parameters = train.parameters
        given: Given

        def __call__(self, **given: str) -> None:
            assert first == ["_lock_temporary_server", "_see_cluster_answer"]
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


@pytest.mark.parametrize("words", [[], ["trian"]])
def test_a_flow_that_is_not_there_is_told_with_those_that_are(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "flows", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "flow" in done.stderr.splitlines()[-1]
    for name in __main__.FLOWS:
        assert name in done.stderr


def test_all_flows_can_be_started() -> None:
    flows = [getattr(import_module(f"flows.{name}"), name) for name in __main__.FLOWS]
    assert all(isinstance(flow, Flow) for flow in flows)


def test_parameters_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODEL": "quick", "SEED": "3", "FORMAT": "", "TOLERANCE": "1", "tokens": "700"}.items():
        monkeypatch.setenv(name, value)
    assert start(monkeypatch) == {"model": "quick", "seed": "3"}


def test_a_users_error_is_told_by_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^\nError: It is broken; mend it\.$"):
        start(monkeypatch, ScriptwrightError("It is broken; mend it."))


@pytest.mark.parametrize("cluster", ["", "pachd.example.com"])
def test_the_first_and_the_last_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: str
) -> None:
    def interrupt(flow: object) -> None:
        assert flow is train
        raise KeyboardInterrupt

    monkeypatch.setenv("PACHD_ADDRESS", cluster)
    monkeypatch.setattr(__main__, "take_ctrl_c_alone", lambda: None)
    monkeypatch.setattr(terminal, "run_from_terminal", interrupt)
    with pytest.raises(SystemExit) as ended:
        __main__.main("train")
    looking = f", and looking for the Pachyderm at {cluster}" if cluster else ""
    assert capsys.readouterr() == (f"Starting Prefect{looking}\n", "\nInterrupted; run again to go on.\n")
    assert ended.value.code == 130


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


class Alone:
    """A process that has begun as a flow does from a terminal, and then acts; `says` is what the one that acts says."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.says, there = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._act(act, there)
        os.close(there)

    def _act(self, act: Callable[[], object], there: int) -> NoReturn:
        status: Any = 99
        try:
            ctrl_c.take_ctrl_c_alone()
            os.write(there, f"{os.getpid()} {os.getsid(0)}\n".encode())
            act()
            status = 0
        except SystemExit as end:
            status = end.code
        except KeyboardInterrupt:
            status = 130
        finally:
            os._exit(status)

    def line(self) -> str:
        """What it says next; nothing once nobody is left who could say anything."""
        assert select.select([self.says], [], [], 60)[0], "it says nothing, and is there"
        return os.read(self.says, 100).decode()

    def end(self) -> int:
        """How it has ended, when all that it has started has ended, too."""
        pid, session = self.line().split()
        assert pid == session != str(self.pid)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert not self.line()
        os.close(self.says)
        return status


def leave_one_behind() -> None:
    if not os.fork():
        time.sleep(300)
    sys.exit(3)


def send(number: int, who: Callable[[], int]) -> None:
    os.kill(who(), number)
    time.sleep(60)


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (list, 0),
        (leave_one_behind, 3),
        (partial(send, signal.SIGKILL, os.getpid), 137),
        (partial(send, signal.SIGTERM, os.getpid), 143),
        (partial(send, signal.SIGTERM, os.getppid), 143),
        (partial(send, signal.SIGINT, os.getppid), 130),
        (partial(send, signal.SIGKILL, os.getppid), -9),
    ],
    ids=["done", "one left behind", "killed", "terminated", "SIGTERM", "Ctrl-C", "left alone"],
)
def test_who_waits_ends_as_the_flow_does_and_leaves_nothing(act: Callable[[], object], status: int) -> None:
    assert Alone(act).end() == status
