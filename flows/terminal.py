"""How a flow is started from a terminal: parameters from the environment, errors as one sentence."""

from __future__ import annotations

import ctypes
import inspect
import os
import secrets
import signal
import sys
from contextlib import suppress
from typing import Any

from prefect import Flow
from prefect.context import refresh_global_settings_context
from prefect.exceptions import ParameterTypeError
from prefect.settings import get_current_settings

from flows.silence import SignsOfLife
from tasks.errors import USER_ERRORS

# Of prctl(2).
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def run_from_terminal(flow: Flow[Any, Any]) -> None:
    """Runs `flow`, each parameter taken from the environment variable of its name in capitals.

    Exits with 1 on an error, and with 130 on Ctrl-C, when the job has been stopped.
    """
    _take_ctrl_c_alone()
    _lock_temporary_server()
    names = inspect.signature(flow.fn).parameters
    given = {name: os.environ[name.upper()] for name in names if os.environ.get(name.upper())}
    try:
        with SignsOfLife("the start"):
            flow(**given)
    except USER_ERRORS as error:
        sys.exit(f"\nError: {error}")
    except ParameterTypeError as error:
        sys.exit(f"\nError: {_first_problem(flow, error)}")
    except KeyboardInterrupt:
        print("\nInterrupted; run again to go on.", file=sys.stderr)
        sys.exit(130)


def _take_ctrl_c_alone() -> None:
    """Goes on in a process that gets Ctrl-C from this one, which waits for its end and ends what it has left.

    A terminal sends it to all processes that it knows of: to Prefect's temporary server, too, which the flow needs to
    end in an orderly way. Where this process is killed, the other one is terminated.
    """
    prctl = ctypes.CDLL(None).prctl
    waiting = os.getpid()
    # They are waited for: a handler's turn may come just before a wait that nothing else ends.
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != waiting:
            sys.exit(1)
        return
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if (number := signal.sigwait(signals)) != signal.SIGCHLD:
            os.kill(child, number)
    status = os.waitstatus_to_exitcode(ended[1])
    _end_rest(child)
    sys.exit(status if status >= 0 else 128 - status)


def _end_rest(group: int) -> None:
    """Ends what a flow had no time to end, as Prefect's temporary server that was just starting. localpach is meant to
    stay, and has a group of its own."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.killpg(group, signal.SIGKILL)
        while True:
            os.waitpid(-group, 0)


def _lock_temporary_server() -> None:
    """Gives the server that Prefect starts for this run a login that nobody else knows: every program of this machine
    reaches it, and every page in a browser."""
    if get_current_settings().api.url:
        return
    login = f"scriptwright:{secrets.token_urlsafe(32)}"
    os.environ |= {
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",
    }
    refresh_global_settings_context()


def _first_problem(flow: Flow[Any, Any], error: ParameterTypeError) -> str:
    """The first parameter that was refused, why, and what it is for."""
    problem = next(line.removeprefix(" - ") for line in str(error).splitlines() if line.startswith(" - "))
    help_text = flow.parameters.properties[problem.partition(":")[0].partition(".")[0]].get("description", "")
    return f"a parameter is not usable: {problem}. {help_text}".rstrip()
