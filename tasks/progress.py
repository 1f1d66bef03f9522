"""The progress of a training as an artifact in Prefect."""

from __future__ import annotations

import contextvars
import re
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import cast
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.names import artifact_key

EPOCH = re.compile(r"Epoch: (\d+) of (\d+) Learning rate")
STEP = re.compile(r"(0\.\d+|1\.0+) perplexity: (\S+)")
UPDATE_SECONDS = 1.0


class Progress:
    """A progress artifact made of what a training job says, updated at most once a second until the end of the block.

    Prefect is told from a thread of its own, so that a slow answer does not hold up the log.
    """

    def __init__(self, pipeline: str, job_id: str) -> None:
        self._key = artifact_key(f"progress-{pipeline}")
        self._job = f"{pipeline}@{job_id[:7]}"
        self._epoch, self._epochs = 1, 1
        self._newest: tuple[float, str] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._publish,), daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def read(self, line: str) -> None:
        """Takes a line of the log."""
        if match := EPOCH.match(line):
            self._epoch, self._epochs = int(match[1]), int(match[2])
        elif match := STEP.match(line):
            percent = 100 * (self._epoch - 1 + float(match[1])) / self._epochs
            self._newest = percent, f"{self._job}: epoch {self._epoch} of {self._epochs}, perplexity {match[2]}"

    def _publish(self) -> None:
        artifact: UUID | None = None
        shown, shown_at = None, 0.0
        last = False
        while not last:
            last = self._over.wait(UPDATE_SECONDS)
            newest = self._newest
            if newest is None or newest == shown:
                continue
            time.sleep(max(0.0, shown_at + UPDATE_SECONDS - time.monotonic()))
            percent, description = shown = newest
            with suppress(HTTPError):  # The next line of the log may find Prefect's server back.
                if artifact is None:
                    artifact = cast(UUID, create_progress_artifact(percent, key=self._key, description=description))
                else:
                    update_progress_artifact(artifact, percent, description=description)
            shown_at = time.monotonic()
