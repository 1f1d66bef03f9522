"""What jobs say: one file a job, appended to as it comes, read back whole or followed."""

from __future__ import annotations

import errno
import logging
import shutil
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path

from google.protobuf.message import DecodeError

from localpach.clock import now_ns
from localpach.proto import pps_pb2
from localpach.waiting import Bulletin, Call, Deadline, Topic

# Stands for a job in what a command says that runs for none, as in Pachyderm's logs.
NO_JOB = "spout"

log = logging.getLogger("localpach")

_LENGTH = struct.Struct(">I")


class Logs:
    """The logs of one data directory."""

    def __init__(self, root: Path, bulletin: Bulletin) -> None:
        self._folder = root / "logs"
        self._bulletin = bulletin
        self._lock = threading.Lock()
        self._writes = 0
        self._lost: dict[Path, int] = {}
        self._last_write: dict[tuple[int, str], int] = {}
        self._gone: set[tuple[int, str | None]] = set()

    def _path(self, pipeline: int, job_id: str) -> Path:
        return self._folder / str(pipeline) / job_id

    def write(self, pipeline: int, message: pps_pb2.LogMessage) -> None:
        """Appends a message, stamped now; what a killed job says after it was deleted is dropped."""
        message.ts.FromNanoseconds(now_ns())
        path = self._path(pipeline, message.job_id)
        data = message.SerializeToString()
        with self._lock:
            if not self._gone.isdisjoint(((pipeline, None), (pipeline, message.job_id))):
                return
            try:
                is_first = (pipeline, message.job_id) not in self._last_write
                self._append(path, _LENGTH.pack(len(data)) + data, is_first)
            except OSError as error:
                # No reason to end a job; what comes next says that something is missing.
                log.error("a message of job %s is lost: %s", message.job_id, error)
                self._lost[path] = self._lost.get(path, 0) + 1
                return
            self._writes += 1
            self._last_write[pipeline, message.job_id] = self._writes
        self._bulletin.tell(Topic.LOGS)

    def _append(self, path: Path, data: bytes, is_first: bool) -> None:
        """All of it or nothing. Before the first message of this process, what a crash has left half written is cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as stream:
            end = stream.tell()
            if end and is_first:
                end = max((offset for _, offset in self._from(path, 0)), default=0)
                stream.truncate(end)
            lost = self._lost.get(path)
            if lost:
                message = pps_pb2.LogMessage(
                    message=f"{lost} messages before this one are lost: the disk was full or failed"
                )
                message.ts.FromNanoseconds(now_ns())
                note = message.SerializeToString()
                data = _LENGTH.pack(len(note)) + note + data
            try:
                if stream.write(data) != len(data):
                    raise OSError(errno.ENOSPC, "it was written in part")
            except OSError:
                stream.truncate(end)
                raise
            self._lost.pop(path, None)

    def read(self, pipeline: int, job_id: str) -> Iterator[pps_pb2.LogMessage]:
        """What a job has said so far."""
        yield from (message for message, _ in self._from(self._path(pipeline, job_id), 0))

    def _from(self, path: Path, offset: int) -> Iterator[tuple[pps_pb2.LogMessage, int]]:
        """The messages from a place on, each with where it ends; without those that power loss or damage left unreadable."""
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(offset)
            while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                data = stream.read(length)
                if not data or len(data) < length:
                    return
                offset += _LENGTH.size + length
                try:
                    message = pps_pb2.LogMessage.FromString(data)
                except DecodeError:
                    continue
                yield message, offset

    def follow(
        self, pipeline: int, jobs: list[str], more: bool, is_over: Callable[[], bool], call: Call
    ) -> Iterator[pps_pb2.LogMessage]:
        """What some jobs say, each message once, until `is_over` and all is read, or the call has ended; with `more` what
        later jobs of the pipeline say, too."""
        offsets: dict[str, int] = {}
        to_read, wanted = jobs, set(jobs)
        self._bulletin.tell_at_end(call, Topic.LOGS)
        while call.is_active():
            edition, seen = self._bulletin.edition(Topic.LOGS), self._writes
            ended = is_over()
            for job_id in to_read:
                for message, offset in self._from(self._path(pipeline, job_id), offsets.get(job_id, 0)):
                    offsets[job_id] = offset
                    yield message
            if ended:
                return
            self._bulletin.wait_past(Topic.LOGS, edition, Deadline(None))
            to_read = [job_id for job_id in self._written_since(pipeline, seen) if more or job_id in wanted]

    def _written_since(self, pipeline: int, write: int) -> list[str]:
        with self._lock:
            return [job_id for (num, job_id), last in self._last_write.items() if num == pipeline and last > write]

    def delete(self, pipeline: int, job_id: str | None = None) -> None:
        """Forgets a job, or all jobs of a pipeline."""
        with self._lock:
            self._gone.add((pipeline, job_id))
            for key in [key for key in self._last_write if key[0] == pipeline and job_id in (None, key[1])]:
                del self._last_write[key]
            if job_id is not None:
                self._path(pipeline, job_id).unlink(missing_ok=True)
            else:
                shutil.rmtree(self._folder / str(pipeline), ignore_errors=True)

    def keep_only(self, jobs: Mapping[int, Set[str]]) -> None:
        """Forgets all but some pipelines, and of these all but their jobs: what was to be deleted when the disk failed, or
        the server was killed."""
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            if folder.name.isdigit() and int(folder.name) not in jobs:
                self.delete(int(folder.name))
            elif folder.name.isdigit():
                for job_id in {path.name for path in folder.iterdir()} - jobs[int(folder.name)]:
                    self.delete(int(folder.name), job_id)
