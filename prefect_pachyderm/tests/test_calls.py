"""What is tried again, for how long, and with what pauses, on a clock of the test's own."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import grpc
import pytest
from httpx import ConnectError, Request, Response
from prefect import flow, task
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

from prefect_pachyderm import JobFailed, JobGone, JobTimedOut, PachydermError, PrefectPachydermError, calls, events
from prefect_pachyderm.calls import call_patiently
from prefect_pachyderm.embedded import LocalpachError


class Clock:
    """Stands still but for what is slept or spent."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(calls, "time", clock)
    return clock


class Failing:
    """A call that fails so many times, each after so many seconds, before it answers."""

    def __init__(self, clock: Clock, times: float, seconds: float = 0.0, transient: bool = True) -> None:
        self._clock, self._times, self._seconds, self._transient = clock, times, seconds, transient
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        self._clock.now += self._seconds
        if self.count <= self._times:
            raise PachydermError("Asking failed.", transient=self._transient)
        return "answer"


def ask(call: Failing) -> str:
    return call_patiently(call, logging.getLogger(__name__))


def test_pauses_grow_to_four_seconds(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, __name__)
    assert ask(Failing(clock, 8)) == "answer"
    limits = [0.5, 1, 2, 4, 4, 4, 4, 4]
    assert len(clock.pauses) == len(limits)
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(clock.pauses, limits, strict=True))
    once, each = "The connection to Pachyderm broke off; trying again", "Asking failed.; trying again"
    assert caplog.messages == [each, once, *[each] * 7]


def test_two_minutes_without_an_answer_are_the_end(clock: Clock) -> None:
    call = Failing(clock, float("inf"))
    with pytest.raises(PachydermError, match="Asking failed"):
        ask(call)
    assert 120 < clock.now - 1000 < 125


def test_a_call_that_was_connected_for_a_while_begins_another_outage(clock: Clock) -> None:
    """Each wait blocks for a minute and breaks off: that may go on for hours."""
    assert ask(Failing(clock, 100, seconds=60)) == "answer"
    assert max(clock.pauses) <= 0.5


def test_what_does_not_pass_is_raised_at_once(clock: Clock) -> None:
    call = Failing(clock, 1, transient=False)
    with pytest.raises(PachydermError):
        ask(call)
    assert call.count == 1
    assert not clock.pauses


class Refused(grpc.RpcError):
    """A call's error."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details


UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
ERRORS = [
    (UNAVAILABLE, "no route", "nobody answers there; check PACHD_ADDRESS. (no route)", True),
    (grpc.StatusCode.CANCELLED, "the channel is closed", "the channel is closed (CANCELLED).", True),
    (grpc.StatusCode.UNAUTHENTICATED, "none", "the token was refused; check PACH_PYTHON_AUTH_TOKEN. (none)", False),
    (grpc.StatusCode.NOT_FOUND, "repo in not found", "repo in not found (NOT_FOUND).", False),
    (grpc.StatusCode.INTERNAL, None, " (INTERNAL).", False),
    (UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted; check the TLS roots in", False),
    (UNAVAILABLE, "Hostname Verification Check failed", "its certificate is for another host; check the name", False),
    (UNAVAILABLE, "WRONG_VERSION_NUMBER", "TLS is not spoken there; leave out grpcs:// and the TLS roots.", False),
    (UNAVAILABLE, "Failed to create security handshaker", "the TLS roots hold no certificate; check", False),
]


@pytest.mark.parametrize(("code", "details", "sentence", "transient"), ERRORS)
@pytest.mark.parametrize("in_a_stream", [False, True])
def test_what_was_refused_is_a_sentence(
    code: grpc.StatusCode, details: str | None, sentence: str, transient: bool, in_a_stream: bool
) -> None:
    with pytest.raises(PachydermError) as caught, calls.readable("Asking"):
        if in_a_stream:
            raise ConnectionError("The stream has ended.") from Refused(code, details)
        raise Refused(code, details)
    assert str(caught.value).startswith(f"Asking failed: {sentence}")
    assert caught.value.transient is transient


def test_who_does_not_answer_is_told() -> None:
    with pytest.raises(PachydermError) as caught, calls.readable("Asking"):
        raise ConnectionError("away")
    assert str(caught.value) == "Asking failed: nobody answers there; check PACHD_ADDRESS. (away)"
    assert caught.value.transient


def test_what_nobody_can_catch_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    for text in ("Exception in callback of a call", "another"):
        logging.getLogger("grpc._channel").error(text)
    logging.getLogger("another").error("Exception in callback")
    assert caplog.messages == ["another", "Exception in callback"]


def answered(status: int) -> PrefectHTTPStatusError:
    """What Prefect's client raises for an answer of its server."""
    request = Request("POST", "http://127.0.0.1/api/artifacts")
    return PrefectHTTPStatusError(str(status), request=request, response=Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (PachydermError("away", transient=True), True),
        (ConnectError("away"), True),
        (answered(500), True),
        (answered(503), True),
        (answered(404), False),
        (PachydermError("refused"), False),
        (ValueError("a mistake"), False),
    ],
)
def test_a_task_is_run_again_if_that_may_help(error: Exception, again: bool) -> None:
    assert calls.RETRIES["retry_condition_fn"](None, None, Failed(data=error)) is again


def test_a_task_waits_twice_as_long_each_time() -> None:
    assert calls.RETRIES["retry_delay_seconds"] == [2**number for number in range(calls.RETRIES["retries"])]


def test_the_tree_in_the_docstring_is_that_of_the_errors() -> None:
    tree = {
        PachydermError: PrefectPachydermError,
        LocalpachError: PrefectPachydermError,
        JobFailed: PrefectPachydermError,
        JobTimedOut: JobFailed,
        JobGone: JobFailed,
    }
    assert all(error.__base__ is base for error, base in tree.items())
    assert all(error.__name__ in (calls.__doc__ or "") for error in tree)


def test_a_server_of_prefect_that_does_not_answer_is_asked_again(prefect: None) -> None:
    """Its own client gives up at once where it has not been connected yet."""
    left = [ConnectError("All connection attempts failed")]

    @task(**{**calls.LIVE, "retry_delay_seconds": 0})
    def ask_prefect() -> str:
        if left:
            raise left.pop()
        return "answer"

    assert flow(ask_prefect)() == "answer"


def test_an_event_fails_nothing_while_the_server_of_prefect_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    emitted: list[Any] = []
    monkeypatch.setattr(events, "emit_event", lambda *_, related, **__: emitted.extend(related))
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid.uuid4()))
    commit = events.related_resource("commit", "in@1")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        events.emit("model.released", "model", "m@1", [commit], {})
    assert emitted == [commit]
