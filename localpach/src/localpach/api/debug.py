"""debug_v2.Debug: a dump of what helps to find out what went wrong, without tokens, secrets or contents of files; what
the server's threads do; how much it logs.
"""

from __future__ import annotations

import io
import itertools
import logging
import sys
import tarfile
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from google.protobuf.wrappers_pb2 import BytesValue

from localpach import VERSION
from localpach.api.infos import job_info, pipeline_info, repo_info
from localpach.errors import NotFound, Refused
from localpach.pfs.service import Pfs
from localpach.pps.records import PipelineName, PipelineRecord
from localpach.pps.service import Pps
from localpach.proto import debug_pb2
from localpach.waiting import Call

CHUNK_BYTES = 1 << 20
PROFILE_SECONDS, SAMPLE_SECONDS = 60.0, 0.01
SOURCE = Path(__file__).parents[1]
LEVELS = {
    debug_pb2.SetLogLevelRequest.DEBUG: logging.DEBUG,
    debug_pb2.SetLogLevelRequest.INFO: logging.INFO,
    debug_pb2.SetLogLevelRequest.ERROR: logging.ERROR,
    debug_pb2.SetLogLevelRequest.OFF: logging.CRITICAL + 1,
}


class DebugServicer:
    """Dumps as gzipped tar archives, in pieces."""

    def __init__(self, pfs: Pfs, pps: Pps) -> None:
        self._pfs = pfs
        self._pps = pps

    def GetDumpV2Template(
        self, request: debug_pb2.GetDumpV2TemplateRequest, context: Call
    ) -> debug_pb2.GetDumpV2TemplateResponse:
        """A request for all that there is."""
        names = [record.name for record in self._pps.pipelines.all()]
        system = debug_pb2.System(database=True, version=True)
        pipelines = [debug_pb2.Pipeline(project=each.project, name=each.name) for each in names]
        return debug_pb2.GetDumpV2TemplateResponse(request=debug_pb2.DumpV2Request(system=system, pipelines=pipelines))

    def DumpV2(self, request: debug_pb2.DumpV2Request, context: Call) -> Iterator[debug_pb2.DumpChunk]:
        """The server's part where `system` asks for it, and the named pipelines."""
        pipelines = [self._pps.pipelines.get(PipelineName(each.project, each.name)) for each in request.pipelines]
        for chunk in self._archive(request.system.version, request.system.database, pipelines, limit=0):
            yield debug_pb2.DumpChunk(content=debug_pb2.DumpContent(content=chunk))

    def Dump(self, request: debug_pb2.DumpRequest, context: Call) -> Iterator[BytesValue]:
        """All, or what the filter names; of each pipeline at most the newest `limit` jobs."""
        if request.limit < 0:
            raise Refused(f"limit: {request.limit} is less than nothing")
        chosen = request.filter.WhichOneof("filter")
        pipelines: list[PipelineRecord] = []
        if chosen == "pipeline":
            pipelines = [self._pps.pipelines.get(PipelineName.of(request.filter.pipeline))]
        elif chosen is None:
            pipelines = self._pps.pipelines.all()
        system = chosen in (None, "pachd", "database")
        for chunk in self._archive(system, system, pipelines, request.limit):
            yield BytesValue(value=chunk)

    def Profile(self, request: debug_pb2.ProfileRequest, context: Call) -> Iterator[BytesValue]:
        """What the threads do: now (`goroutine`), or sampled for a time (`cpu`), as stacks with how often each was seen."""
        name = request.profile.name
        if name not in ("cpu", "goroutine"):
            raise Refused(f'unable to find profile "{name}"')
        seconds = request.profile.duration.ToNanoseconds() / 1e9 or PROFILE_SECONDS if name == "cpu" else 0.0
        ends = time.monotonic() + seconds
        stacks = Counter(_stacks())
        while time.monotonic() < ends and context.is_active():
            time.sleep(SAMPLE_SECONDS)
            stacks.update(_stacks())
        lines = [f"{stack} {count}" for stack, count in stacks.most_common()]
        yield from _packed(lambda archive: _add(archive, f"pachd/{name}", lines))

    def Binary(self, request: debug_pb2.BinaryRequest, context: Call) -> Iterator[BytesValue]:
        """The server's program: the source of localpach."""
        yield from _packed(lambda archive: archive.add(SOURCE, "pachd/localpach", filter=_source_only))

    def SetLogLevel(self, request: debug_pb2.SetLogLevelRequest, context: Call) -> debug_pb2.SetLogLevelResponse:
        """For a time; there is one log, so the level for gRPC is for gRPC's own messages in it."""
        chosen = request.WhichOneof("level")
        if chosen is None or getattr(request, chosen) not in LEVELS:
            raise Refused("no log level set")
        log = logging.getLogger("localpach" if chosen == "pachyderm" else "grpc")
        log.setLevel(LEVELS[getattr(request, chosen)])
        timer = threading.Timer(request.duration.ToNanoseconds() / 1e9, log.setLevel, [logging.NOTSET])
        timer.daemon = True
        timer.start()
        return debug_pb2.SetLogLevelResponse(affected_pods=["pachd"])

    def _archive(
        self, version: bool, database: bool, pipelines: Iterable[PipelineRecord], limit: int
    ) -> Iterator[bytes]:
        def fill(archive: tarfile.TarFile) -> None:
            if version:
                _add(archive, "pachd/version.txt", [".".join(map(str, VERSION))])
            if database:
                self._add_database(archive)
            for record in pipelines:
                self._add_pipeline(archive, record, limit)

        return (chunk.value for chunk in _packed(fill))

    def _add_database(self, archive: tarfile.TarFile) -> None:
        _add(archive, "source-repos/repos.json", (MessageToJson(repo_info(record)) for record in self._pfs.repos.all()))
        _add(archive, "pachd/fsck.txt", self._pfs.fsck.check())

    def _add_pipeline(self, archive: tarfile.TarFile, record: PipelineRecord, limit: int) -> None:
        folder = f"pipelines/{record.name}"
        try:
            info = pipeline_info(self._pps, record, record.version, details=True, workers=True)
        except NotFound:
            # It was deleted since.
            return
        _add(archive, f"{folder}/spec.json", [MessageToJson(info)])
        found = self._pps.queries.select(record.name, [], history=-1, reverse=False)
        jobs = list(itertools.islice(found, limit or None))
        infos = []
        for job in jobs:
            # One that was deleted since is left out.
            with suppress(NotFound):
                infos.append(MessageToJson(job_info(self._pps, job, details=True)))
        _add(archive, f"{folder}/jobs.json", infos)
        for job in jobs:
            messages = self._pps.logs.read(record.num, job.id)
            _add(archive, f"{folder}/logs/{job.id}.json", map(MessageToJson, messages))


def _add(archive: tarfile.TarFile, name: str, texts: Iterable[str]) -> None:
    """A file of texts, each on lines of its own."""
    data = "".join(f"{text}\n" for text in texts).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _packed(fill: Callable[[tarfile.TarFile], None]) -> Iterator[BytesValue]:
    """A gzipped tar archive, in pieces."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            fill(archive)
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield BytesValue(value=chunk)


def _stacks() -> Iterator[str]:
    """What each thread is doing, outermost call first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for id, frame in sys._current_frames().items():
        calls = [f"{Path(call.filename).stem}.{call.name}:{call.lineno}" for call in traceback.extract_stack(frame)]
        yield ";".join([names.get(id, "unknown"), *calls])


def _source_only(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
