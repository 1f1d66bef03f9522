"""The jobs of a flow run: written into its labels before anything waits for them, and stopped when it is cancelled.

Prefect tells a cancellation to the main thread alone. A job that another thread waits for, as a submitted task does, is stopped
by a thread that watches the main one and the flow run's state.
"""

from __future__ import annotations

import contextvars
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

from httpx import HTTPError
from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError, TerminationSignal

from prefect_pachyderm.calls import Logger
from prefect_pachyderm.credentials import PachydermCredentials

# With pipeline and job after it; its value says which Pachyderm.
LABEL = "pachyderm.job."
LOOK_SECONDS = 0.25
# Prefect's server is asked less often than this process.
ASK_SECONDS = 1.0


def note_job(pipeline: str, job_id: str, credentials: PachydermCredentials, logger: Logger) -> None:
    """Writes a job into the labels of the outermost flow run, where `stop_jobs` finds it. Without a flow run nothing is done."""
    try:
        root = runtime.flow_run.root_flow_run_id
        if root:
            with get_client(sync_client=True) as client:
                client.update_flow_run_labels(UUID(root), {f"{LABEL}{pipeline}@{job_id}": credentials.place})
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
def when_cancelled(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` when the flow run is cancelled during the block, unless Prefect interrupts this thread itself."""
    if threading.current_thread() is threading.main_thread() and multiprocessing.parent_process() is None:
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=contextvars.copy_context().run, args=(_watch, over, stop), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(over: threading.Event, stop: Callable[[], None]) -> None:
    asked = time.monotonic()
    with ExitStack() as stack:
        run = _FlowRun(stack)
        while not over.wait(LOOK_SECONDS):
            cancelled = _is_main_thread_interrupted()
            if not cancelled and time.monotonic() - asked > ASK_SECONDS:
                cancelled = run.is_cancelled()
                asked = time.monotonic()
            if cancelled:
                stop()
                return


class _FlowRun:
    """The outermost flow run, if there is one; without one no server is asked, or started, in vain."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._client: SyncPrefectClient | None = None
        self._id: str | None = None

    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it, as far as the server can be asked."""
        try:
            self._id = self._id or runtime.flow_run.root_flow_run_id
            if not self._id:
                return False
            self._client = self._client or self._stack.enter_context(get_client(sync_client=True))
            state = self._client.read_flow_run(UUID(self._id)).state
        except (HTTPError, PrefectHTTPStatusError):
            return False
        return state is not None and (state.is_cancelling() or state.is_cancelled())


def _is_main_thread_interrupted() -> bool:
    """Whether it is on its way out of a flow that was interrupted; it may wait for this very thread meanwhile."""
    found = sys._current_exceptions().get(threading.main_thread().ident or 0)
    error = found[1] if isinstance(found, tuple) else found  # a tuple before Python 3.12
    return isinstance(error, (KeyboardInterrupt, TerminationSignal))
