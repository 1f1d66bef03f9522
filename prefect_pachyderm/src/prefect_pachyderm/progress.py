"""What is logged of one job: each state, each reason that keeps it from starting, and its lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import Logger

STARTING = (pps_proto.JOB_CREATED, pps_proto.JOB_STARTING)


class Progress:
    """Logs what becomes of a job, each thing once. `logger` is asked for each time: that of the run which is on."""

    def __init__(self, job: str, logger: Callable[[], Logger]) -> None:
        self._job = job
        self._logger = logger
        self._state: int | None = None
        self._wait = ""
        self._block: str | None = None

    @property
    def is_starting(self) -> bool:
        """Whether the job had not begun when its state was logged last."""
        return self._state in STARTING

    def tell(self, message: str, *arguments: object, level: int = logging.INFO) -> None:
        """Logs; a handler that fails, or gives up where the terminal is gone, is no reason to leave a job alone."""
        with suppress(Exception, SystemExit):
            self._logger().log(level, message, *arguments)

    def state(self, info: pps_proto.JobInfo) -> None:
        """Logs the job's state, with its reason, when it is another one than before, and what it waits for, when that is."""
        waits_for = info.reason if info.state in STARTING else ""
        if (info.state, waits_for) != (self._state, self._wait):
            self._state, self._wait = info.state, waits_for
            state = pps_proto.JobState.Name(info.state)
            self.tell("Job %s is %s%s", self._job, state, f": {info.reason}" if info.reason else "")

    def block(self, reason: str) -> None:
        """Logs why the job can't start, when it is another reason than before."""
        if reason != self._block:
            self._block = reason
            self.tell("Job %s can't start: %s", self._job, reason, level=logging.WARNING)

    def line(self, message: pps_proto.LogMessage) -> None:
        """Logs a line of the job's own, or an error of its worker's.

        Raises:
            Exception: whatever a handler raises.
        """
        if self.is_starting and not message.master:
            self.state(pps_proto.JobInfo(state=pps_proto.JOB_RUNNING))
        line = message.message.rstrip("\n")
        if message.user:
            self._logger().info("%s", line)
        elif line.startswith("errored"):
            self._logger().warning("%s", line)
