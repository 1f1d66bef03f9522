"""How long somebody waits for a job, and the call that blocks for no longer."""

from __future__ import annotations

import math
import time
from contextlib import suppress

import grpc
import python_pachyderm
from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import pps, status_of

# How often a call that blocks looks whether anybody waits still; what Prefect raises in its thread gets in then.
LOOK_SECONDS = 0.25


class NotOverError(Exception):
    """A call has blocked as long as it may, and the job is not over."""


class TimeIsUpError(Exception):
    """A wait has taken as long as it may."""


class GivenUpError(Exception):
    """Nobody waits any more. `reason`: for what the job is to be stopped, if so."""

    def __init__(self, reason: str | None) -> None:
        self.reason = reason


class Wait:
    """One wait: how long it may take still, and whether anybody waits any more."""

    def __init__(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self._given_up: GivenUpError | None = None

    def give_up(self, reason: str | None) -> None:
        """Ends it at the next look."""
        self._given_up = GivenUpError(reason)

    def seconds_left(self) -> float:
        """How long it may take still.

        Raises:
            TimeIsUpError: no longer.
            GivenUpError: nobody waits.
        """
        if self._given_up:
            raise self._given_up
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeIsUpError
        return left


def inspect_job(
    client: python_pachyderm.Client, request: pps_proto.InspectJobRequest, seconds: float, wait: Wait
) -> pps_proto.JobInfo:
    """What Pachyderm says of the job within this time.

    Raises:
        NotOverError: the request waits for the job's end, and that has not come.
    """
    call = pps(client).InspectJob.future(request, timeout=seconds)
    try:
        while True:
            with suppress(grpc.FutureTimeoutError):
                return call.result(LOOK_SECONDS)
            wait.seconds_left()
    except grpc.RpcError as error:
        if request.wait and status_of(error)[0] == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise NotOverError from error
        raise
    finally:
        call.cancel()
