"""The jobs of a flow run: written into its labels before anything waits for them, and stopped when it is cancelled.

Prefect tells a cancellation to the main thread alone, and only where a worker runs the flow; a time-out ends the thread that it
is raised in. A job is stopped by a thread that watches the main one, the runs' states and their time.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from httpx import HTTPError
from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError, TerminationSignal

from prefect_pachyderm.calls import Logger
from prefect_pachyderm.credentials import PachydermCredentials

# With pipeline and job after it; its value says which Pachyderm.
LABEL = "pachyderm.job."
LOOK_SECONDS = 0.25
# Prefect's server is asked less often than this process.
ASK_SECONDS = 1.0
# How long after a time-out Prefect's exception may take to end the wait, before its job is stopped all the same.
GRACE_SECONDS = 1.0
CANCELLED = "the flow run was cancelled"
TIMED_OUT = "the flow run or task run took longer than its timeout_seconds"


def note_job(pipeline: str, job_id: str, credentials: PachydermCredentials, logger: Logger) -> None:
    """Writes a job into the labels of the flow run and of those that it runs in, where `stop_jobs` finds it.

    Without a flow run nothing is done.
    """
    if not runtime.flow_run.id:
        return
    try:
        with get_client(sync_client=True) as client:
            for run in _own_and_outer(client):
                client.update_flow_run_labels(run.id, {f"{LABEL}{pipeline}@{job_id}": credentials.place})
    except (HTTPError, PrefectHTTPStatusError) as error:
        logger.warning(
            "Job %s@%s is not noted in the flow run; who cancels it may miss it: %r", pipeline, job_id, error
        )


def noted_jobs(flow_run_id: UUID) -> list[tuple[str, str, str]]:
    """Pipeline, id and place (see `PachydermCredentials.at`) of the jobs that a flow run has started or waited for."""
    with get_client(sync_client=True) as client:
        labels = client.read_flow_run(flow_run_id).labels
    jobs = []
    for label, place in labels.items():
        if label.startswith(LABEL):
            pipeline, _, job_id = label.removeprefix(LABEL).rpartition("@")
            jobs.append((pipeline, job_id, str(place)))
    return jobs


@contextmanager
def when_interrupted(stop: Callable[[str], None]) -> Iterator[None]:
    """Calls `stop` with the reason when the flow run is cancelled, or a run outlasts its time, during the block."""
    over = threading.Event()
    watcher = threading.Thread(target=contextvars.copy_context().run, args=(_watch, over, stop), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def has_timed_out(seconds_ago: float = 0.0) -> bool:
    """Whether a flow run or task run that we are in had outlasted its `timeout_seconds` then."""
    then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    limits: dict[UUID, tuple[datetime, float | None]] = {}
    for context in _contexts():
        kind, run = (
            (context.flow, context.flow_run)
            if isinstance(context, FlowRunContext)
            else (context.task, context.task_run)
        )
        # A run that is tried again has its time anew; its newest context is the innermost.
        if kind and run:
            limits.setdefault(run.id, (context.start_time, kind.timeout_seconds))
    return any(limit is not None and (then - start).total_seconds() >= limit for start, limit in limits.values())


def has_lost_turn(error: asyncio.CancelledError) -> bool:
    """Whether Prefect has cancelled this await since the run's concurrency lease is lost.

    It cancels its scope from another thread. Then anyio names neither a task that did it nor, as of a time-out, a reason.
    """
    return re.fullmatch("Cancelled via cancel scope [0-9a-f]+", str(error)) is not None and not has_timed_out()


def _contexts() -> Iterator[FlowRunContext | TaskRunContext]:
    """Those of the runs that we are in, of each kind from the innermost."""
    for kind in (FlowRunContext, TaskRunContext):
        context = kind.get()
        while context is not None:
            yield context
            outer = context._token.old_value if context._token else None
            context = outer if isinstance(outer, kind) else None


def _watch(over: threading.Event, stop: Callable[[str], None]) -> None:
    asked = time.monotonic()
    with ExitStack() as stack:
        run = _FlowRun(stack)
        while not over.wait(LOOK_SECONDS):
            if has_timed_out(GRACE_SECONDS):
                stop(TIMED_OUT)
                return
            cancelled = _is_main_thread_interrupted()
            if not cancelled and time.monotonic() - asked > ASK_SECONDS:
                cancelled = run.is_cancelled()
                asked = time.monotonic()
            if cancelled:
                stop(CANCELLED)
                return


class _FlowRun:
    """The flow run, if there is one; without one no server is asked, or started, in vain."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._client: SyncPrefectClient | None = None

    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it, or one that it runs in, as far as the server can be asked."""
        if not runtime.flow_run.id:
            return False
        try:
            self._client = self._client or self._stack.enter_context(get_client(sync_client=True))
            states = (run.state for run in _own_and_outer(self._client))
            return any(state is not None and (state.is_cancelling() or state.is_cancelled()) for state in states)
        except (HTTPError, PrefectHTTPStatusError):
            return False


def _own_and_outer(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """The flow run and those that it runs in, also as another deployment's, as far as nobody has deleted them."""
    run_id = runtime.flow_run.id
    with suppress(ObjectNotFound):
        while run_id:
            run = client.read_flow_run(UUID(str(run_id)))
            yield run
            parent = run.parent_task_run_id
            run_id = client.read_task_run(parent).flow_run_id if parent else None


def _is_main_thread_interrupted() -> bool:
    """Whether it is on its way out of a flow that was interrupted; it may wait for this very thread meanwhile."""
    found = sys._current_exceptions().get(threading.main_thread().ident or 0)
    error = found[1] if isinstance(found, tuple) else found  # a tuple before Python 3.12
    return isinstance(error, (KeyboardInterrupt, TerminationSignal))
