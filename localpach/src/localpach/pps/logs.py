"""What jobs say: one file a job, appended to as it comes, read back whole or followed."""

from __future__ import annotations

import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from localpach.proto import pps_pb2

_LENGTH = struct.Struct(">I")


class Logs:
    """The logs of one data directory."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "logs"
        self._changed = threading.Condition()
        self._generation = 0
        self._written: dict[tuple[int, str], int] = {}
        self._gone: set[tuple[int, str | None]] = set()

    def _path(self, pipeline: int, job_id: str) -> Path:
        return self._folder / str(pipeline) / job_id

    def write(self, pipeline: int, message: pps_pb2.LogMessage) -> None:
        """Appends a message, stamped now; what a killed job says after it was deleted is dropped."""
        message.ts.FromNanoseconds(time.time_ns())
        path = self._path(pipeline, message.job_id)
        data = message.SerializeToString()
        with self._changed:
            if not self._gone.isdisjoint(((pipeline, None), (pipeline, message.job_id))):
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.write(_LENGTH.pack(len(data)) + data)
            self._generation += 1
            self._written[pipeline, message.job_id] = self._generation
            self._changed.notify_all()

    def wake(self) -> None:
        """Lets followers look again."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def read(self, pipeline: int, job_id: str) -> Iterator[pps_pb2.LogMessage]:
        """What a job has said so far."""
        yield from (message for message, _ in self._from(self._path(pipeline, job_id), 0))

    def _from(self, path: Path, offset: int) -> Iterator[tuple[pps_pb2.LogMessage, int]]:
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(offset)
            while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                data = stream.read(length)
                if len(data) < length:
                    return
                offset += _LENGTH.size + length
                yield pps_pb2.LogMessage.FromString(data), offset

    def follow(
        self, pipeline: int, jobs: list[str], more: bool, over: Callable[[], bool], active: Callable[[], bool]
    ) -> Iterator[pps_pb2.LogMessage]:
        """What some jobs say, each message once, until `over` and all is read, or the reader is no longer `active`; with
        `more` what later jobs of the pipeline say, too."""
        offsets: dict[str, int] = {}
        to_read, wanted = jobs, set(jobs)
        while active():
            seen = self._generation
            ended = over()
            for job_id in to_read:
                for message, offset in self._from(self._path(pipeline, job_id), offsets.get(job_id, 0)):
                    offsets[job_id] = offset
                    yield message
            if ended:
                return
            with self._changed:
                if self._generation == seen:
                    self._changed.wait(1.0)
                said = [job_id for (num, job_id), when in self._written.items() if num == pipeline and when > seen]
            to_read = said if more else [job_id for job_id in said if job_id in wanted]

    def delete(self, pipeline: int, job_id: str | None = None) -> None:
        """Forgets a job, or all jobs of a pipeline."""
        with self._changed:
            self._gone.add((pipeline, job_id))
            for key in [key for key in self._written if key[0] == pipeline and job_id in (None, key[1])]:
                del self._written[key]
            if job_id is not None:
                self._path(pipeline, job_id).unlink(missing_ok=True)
            else:
                shutil.rmtree(self._folder / str(pipeline), ignore_errors=True)

    def keep(self, pipelines: set[int]) -> None:
        """Forgets all pipelines but these."""
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            if int(folder.name) not in pipelines:
                self.delete(int(folder.name))
