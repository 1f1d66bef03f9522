"""How a flow is started from a terminal: parameters from the environment, errors as one sentence."""

from __future__ import annotations

import ctypes
import inspect
import os
import signal
import sys
from typing import Any

from prefect import Flow
from prefect.exceptions import ParameterTypeError

from tasks.errors import USER_ERRORS

PR_SET_PDEATHSIG = 1  # of prctl(2)


def run_from_terminal(flow: Flow[Any, Any]) -> None:
    """Runs `flow`, each parameter taken from the environment variable of its name in capitals.

    Exits with 1 on an error, and with 130 on Ctrl-C, when the job has been stopped.
    """
    _take_ctrl_c_alone()
    names = inspect.signature(flow.fn).parameters
    given = {name: os.environ[name.upper()] for name in names if os.environ.get(name.upper())}
    try:
        flow(**given)
    except USER_ERRORS as error:
        sys.exit(f"\nError: {error}")
    except ParameterTypeError as error:
        sys.exit(f"\nError: {_first_problem(flow, error)}")
    except KeyboardInterrupt:
        print("\nInterrupted; run again to go on.", file=sys.stderr)
        sys.exit(130)


def _take_ctrl_c_alone() -> None:
    """Goes on in a process that gets Ctrl-C from this one, which waits for its end.

    A terminal sends it to all processes that it knows of: to Prefect's temporary server, too, which the flow needs to
    end in an orderly way. Where this process is killed, the other one is terminated.
    """
    waiting = os.getpid()
    child = os.fork()
    if child == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != waiting:
            sys.exit(1)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(child, number))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(status if status >= 0 else 128 - status)


def _first_problem(flow: Flow[Any, Any], error: ParameterTypeError) -> str:
    """The first parameter that was refused, why, and what it is for."""
    problem = next(line.removeprefix(" - ") for line in str(error).splitlines() if line.startswith(" - "))
    help_text = flow.parameters.properties[problem.partition(":")[0].partition(".")[0]].get("description", "")
    return f"a parameter is not usable: {problem}. {help_text}".rstrip()
