"""Flows: what happens in which order. A user's error is told by its sentence, in a terminal and in a deployment's log."""

import logging

from tasks.errors import USER_ERRORS


def _without_traceback(record: logging.LogRecord) -> bool:
    """The way that a user's error took through our code is noise."""
    if record.exc_info and isinstance(record.exc_info[1], USER_ERRORS):
        record.exc_info = None
    return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_without_traceback)
