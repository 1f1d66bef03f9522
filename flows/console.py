"""What Prefect prints in `make up`."""

from __future__ import annotations

import copy
import logging

from prefect.logging.handlers import PrefectConsoleHandler


class OneLineHandler(PrefectConsoleHandler):
    """Prints an error in a line, without the way that it took: SQLite is busy, a server is ended before its
    worker; Prefect goes on from either."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the record."""
        if record.exc_info and record.exc_info[1]:
            reason = str(record.exc_info[1]).partition("\n")[0]
            record = copy.copy(record)
            record.msg, record.args = f"{record.getMessage().rstrip('.')}: {reason}", ()
            record.exc_info = record.exc_text = None
        super().emit(record)
