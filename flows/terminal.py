"""How a flow is started from a terminal: parameters from the environment, errors as one sentence."""

from __future__ import annotations

import inspect
import logging
import os
import secrets
import sys
from typing import Any

from prefect import Flow, get_client
from prefect.context import refresh_global_settings_context
from prefect.exceptions import ParameterTypeError, PrefectHTTPStatusError
from prefect.settings import get_current_settings

from prefect_pachyderm.credentials import connect, is_embedded
from tasks.corpus.fetch import shown, without_secrets
from tasks.errors import USER_ERRORS, ScriptwrightError


def run_from_terminal(flow: Flow[Any, Any]) -> None:
    """Runs `flow`, each parameter taken from the environment variable of its name in capitals; exits with 1 on an error."""
    _lock_temporary_server()
    names = inspect.signature(flow.fn).parameters
    given = {name: os.environ[name.upper()] for name in names if os.environ.get(name.upper())}
    try:
        _see_cluster_answer()
        _see_prefect_answer()
        flow(**given)
    except USER_ERRORS as error:
        sys.exit(f"\nError: {error}")
    except ParameterTypeError as error:
        sys.exit(f"\nError: {_first_problem(flow, error)}")


def _see_cluster_answer() -> None:
    """Who waits at a terminal learns of an address or a token that is wrong before Prefect is started. A block is in Prefect,
    and the embedded server has to be started."""
    if not os.environ.get("PACHYDERM_BLOCK") and not is_embedded():
        connect()


def _see_prefect_answer() -> None:
    """Prefect's own error would be a traceback."""
    api = get_current_settings().api.url
    if not api:
        return
    with get_client(sync_client=True) as client:
        if silence := client.api_healthcheck():
            reason = without_secrets(silence).partition("\n")[0]
            raise ScriptwrightError(
                f"Prefect's server at {shown(api)} does not answer ({reason}); start it, or leave out PREFECT_API_URL."
            )
        try:
            client.raise_for_api_version_mismatch_once()
        except PrefectHTTPStatusError as error:
            raise ScriptwrightError(
                f"Prefect's server at {shown(api)} refuses the login ({error.response.status_code}); set "
                "PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud."
            ) from error
        # What is no Prefect may answer with something that is no version: a ValueError.
        except (RuntimeError, ValueError) as error:
            raise ScriptwrightError(
                f"Prefect's server at {shown(api)} can't be used ({without_secrets(error)}); its address ends in /api."
            ) from error


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
    logging.getLogger("prefect").addFilter(_without_hint)


def _without_hint(record: logging.LogRecord) -> bool:
    """Prefect advises to run a server, in a line without a prefix."""
    record.msg = str(record.msg).partition("\nSee ")[0]
    return True


def _first_problem(flow: Flow[Any, Any], error: ParameterTypeError) -> str:
    """The first parameter that was refused, why, and what it is for."""
    problem = next(line.removeprefix(" - ") for line in str(error).splitlines() if line.startswith(" - "))
    help_text = flow.parameters.properties[problem.partition(":")[0].partition(".")[0]].get("description", "")
    return f"a parameter is not usable: {problem}. {help_text}".rstrip()
