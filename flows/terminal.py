"""How a flow is started from a terminal: parameters from the environment, errors as one sentence."""

from __future__ import annotations

import inspect
import os
import secrets
import sys
from typing import Any

from prefect import Flow
from prefect.context import refresh_global_settings_context
from prefect.exceptions import ParameterTypeError
from prefect.settings import get_current_settings

from tasks.errors import USER_ERRORS


def run_from_terminal(flow: Flow[Any, Any]) -> None:
    """Runs `flow`, each parameter taken from the environment variable of its name in capitals; exits with 1 on an error."""
    _lock_temporary_server()
    names = inspect.signature(flow.fn).parameters
    given = {name: os.environ[name.upper()] for name in names if os.environ.get(name.upper())}
    try:
        flow(**given)
    except USER_ERRORS as error:
        sys.exit(f"\nError: {error}")
    except ParameterTypeError as error:
        sys.exit(f"\nError: {_first_problem(flow, error)}")


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
