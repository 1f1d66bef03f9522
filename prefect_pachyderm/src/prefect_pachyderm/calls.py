"""Calls to Pachyderm: what can go wrong with one, said in a sentence, and what is tried again.

PrefectPachydermError      something a user can mend; the message says what and how
├── PachydermError         a call was refused, or nobody answered
├── LocalpachError         the program localpach is missing, or did not do what it was asked
└── JobFailed              a job ended in another state than success
    ├── JobTimedOut        it took longer than it was given, and was stopped
    └── JobGone            somebody has deleted it, or its pipeline
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc
import python_pachyderm
from httpx import HTTPStatusError, TransportError
from prefect import State, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from python_pachyderm.service import pfs_grpc, pps_grpc

TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
# What gRPC says of TLS that can't be had, and what that means. None of it passes by itself.
TLS_PROBLEMS = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; check the TLS roots in PACHD_ROOT_CERTIFICATES",
    "Hostname Verification Check failed": "its certificate is for another host; check the name in PACHD_ADDRESS",
    "WRONG_VERSION_NUMBER": "TLS is not spoken there; leave out grpcs:// and the TLS roots",
    "Failed to create security handshaker": "the TLS roots hold no certificate; check PACHD_ROOT_CERTIFICATES",
}
# What it says of a connection that there is none of, which may be there a little later.
NO_CONNECTION = {
    "errors resolving": "no host of this name is known; check PACHD_ADDRESS",
    "Connection refused": "nobody listens there; check host and port in PACHD_ADDRESS",
    "last error: UNAVAILABLE.*(Socket closed|Connection reset)": "the connection is closed at once; "
    "where TLS is spoken, write grpcs:// before the address in PACHD_ADDRESS",
    "timed out|Handshake read failed|[Tt]imeout": "no answer has come; check PACHD_ADDRESS, and what is between",
    "parsing HTTP/2|ALPN|http2 header": "what answers there is no Pachyderm; check PACHD_ADDRESS",
    "": "nobody answers there; check PACHD_ADDRESS",
}
# How long an answer may take to a call that waits for nothing; a server may be frozen, and its connections live.
ANSWER_SECONDS = 20.0
# How long nobody may answer before a call is given up.
PATIENCE_SECONDS = 120.0
LONGEST_PAUSE_SECONDS = 4.0

T = TypeVar("T")
Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

# python-pachyderm raises a call's error in a callback, too, where nobody can catch it.
logging.getLogger("grpc._channel").addFilter(lambda record: not str(record.msg).startswith("Exception in callback"))


class PrefectPachydermError(Exception):
    """Something a user can mend; the message is one sentence that says what and how."""


class PachydermError(PrefectPachydermError):
    """Pachyderm refused a call or could not be reached. `transient`: the same call may succeed a little later."""

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


@contextmanager
def readable(doing: str) -> Iterator[None]:
    """Turns what gRPC and python-pachyderm raise into one sentence that starts with what was being done.

    Raises:
        PachydermError: in place of what was raised.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise _from_grpc(doing, error) from error
    except ConnectionError as error:
        # python-pachyderm raises this for every error at the start of a file's stream, too.
        if isinstance(error.__cause__, grpc.RpcError):
            raise _from_grpc(doing, error.__cause__) from error
        raise PachydermError(f"{doing} failed: nobody answers there; check PACHD_ADDRESS. ({error})", True) from error


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Code and details of a call's error."""
    return error.code(), error.details() or ""


def pps(client: python_pachyderm.Client) -> Any:
    """The stub of PPS on the client's connection, for requests that the client has no method for."""
    return pps_grpc.APIStub(client._channel)


def pfs(client: python_pachyderm.Client) -> Any:
    """The stub of PFS on the client's connection, for calls that the client's methods give no deadline."""
    return pfs_grpc.APIStub(client._channel)


def call_patiently(call: Callable[[], T], logger: Logger) -> T:
    """The call's answer, asked for again as long as it fails transiently.

    Raises:
        PachydermError: it was refused, or nobody has answered for two minutes.
    """
    first_failure: float | None = None
    attempt = 0
    while True:
        started = time.monotonic()
        try:
            return call()
        except PachydermError as error:
            now = time.monotonic()
            if first_failure is None or now - started > ANSWER_SECONDS + LONGEST_PAUSE_SECONDS:
                # What took its time had been connected: this is another outage.
                first_failure, attempt = now, 0
            if not error.transient or now - first_failure > PATIENCE_SECONDS:
                raise
            attempt += 1
            logger.debug("%s; trying again", error)
            if attempt == 1:
                logger.warning("The connection to Pachyderm broke off; trying again")
            time.sleep(min(LONGEST_PAUSE_SECONDS, 0.25 * 2**attempt) * random.uniform(0.5, 1))


def _from_grpc(doing: str, error: grpc.RpcError) -> PachydermError:
    code, details = status_of(error)
    problem = next((meaning for sign, meaning in TLS_PROBLEMS.items() if sign in details), None)
    if problem:
        return PachydermError(f"{doing} failed: {problem}. ({details})")
    return PachydermError(_sentence(doing, code, details), transient=code in TRANSIENT)


def _sentence(doing: str, code: grpc.StatusCode, details: str) -> str:
    if code == grpc.StatusCode.UNAVAILABLE or "http2 header" in details:
        meaning = next(meaning for sign, meaning in NO_CONNECTION.items() if re.search(sign, details))
        return f"{doing} failed: {meaning}. ({details})"
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{doing} failed: no answer has come; check that pachd is well, and what is between. ({details})"
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return f"{doing} failed: the token was refused; check PACH_PYTHON_AUTH_TOKEN. ({details})"
    return f"{doing} failed: {details} ({code.name})."


def _is_transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    if isinstance(error, HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, TransportError) or (isinstance(error, PachydermError) and error.transient)


# For tasks that may be run again without harm: Pachyderm, or Prefect's server, may be on its way back.
RETRIES: Final[dict[str, Any]] = {
    "retries": 5,
    "retry_delay_seconds": [1, 2, 4, 8, 16],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _is_transient,
}
# For tasks whose answer is what Pachyderm has now, so that a run that is retried asks again.
LIVE: Final[dict[str, Any]] = {**RETRIES, "cache_policy": NO_CACHE}
