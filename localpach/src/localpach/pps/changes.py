"""Which pipelines the controller has to look at: a step of it costs what has changed, however many wait."""

from __future__ import annotations

import threading
from functools import partial

from localpach.storage.store import Store
from localpach.waiting import Bulletin, Topic


class Changes:
    """The numbers of pipelines that something has changed for: their state may fit no more, or a job be ready to start."""

    def __init__(self, store: Store, bulletin: Bulletin) -> None:
        self._store = store
        self._bulletin = bulletin
        self._nums: set[int] = set()
        self._lock = threading.Lock()

    def tell(self, pipeline: int) -> None:
        """Has a pipeline looked at, once the open write is durable."""
        self._store.after_commit(partial(self._add, pipeline))

    def _add(self, pipeline: int) -> None:
        with self._lock:
            self._nums.add(pipeline)
        self._bulletin.tell(Topic.WORK)

    def take(self) -> set[int]:
        """Those told of since the last time."""
        with self._lock:
            taken, self._nums = self._nums, set()
        return taken
