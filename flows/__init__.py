"""Flows: what happens in which order. A user's error is told by its sentence, in a terminal and in a deployment's log.
A run of a deployment outlives the worker that prints what it says; with `make up` it is never silent for long."""

import atexit
import logging
import os
from contextlib import ExitStack

from flows.silence import SignsOfLife


def _tell_by_sentence(record: logging.LogRecord) -> bool:
    """The way that a user's error took through our code, or Prefect's, is noise."""
    if not record.exc_info:
        return True
    from prefect.exceptions import ParameterTypeError, SignatureMismatchError

    from tasks.errors import USER_ERRORS

    error = record.exc_info[1]
    if isinstance(error, SignatureMismatchError):
        # Only `make up` has the server refuse these.
        record.msg, record.args = "The run has a parameter that its flow lacks. %s.", (error,)
    if isinstance(error, (*USER_ERRORS, ParameterTypeError, SignatureMismatchError)):
        record.exc_info = None
    return True


for _name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(_tell_by_sentence)


if "PREFECT__FLOW_RUN_ID" in os.environ:
    from rich.console import Console

    def _print_no_more(self: Console) -> None:
        """Rich ends a program whose pipe nobody reads any more."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)

    Console.on_broken_pipe = _print_no_more  # type: ignore[method-assign]

    if seconds := os.environ.get("SCRIPTWRIGHT_SIGN_OF_LIFE_SECONDS"):
        _signs = ExitStack()
        _signs.enter_context(SignsOfLife("the start", float(seconds)))
        atexit.register(_signs.close)
