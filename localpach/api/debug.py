"""debug_v2.Debug: a dump of what helps to find out what went wrong, without tokens, secrets or contents of files."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue
from python_pachyderm.proto.v2.debug import debug_pb2 as debug_proto
from python_pachyderm.service import pps_proto

from localpach import VERSION
from localpach.errors import NotFound
from localpach.pfs import Pfs
from localpach.pfs.fsck import check
from localpach.pps import Pps
from localpach.storage.store import CallContext

CHUNK_BYTES = 1 << 20


class DebugServicer:
    """Dumps as gzipped tar archives, in pieces."""

    def __init__(self, pfs: Pfs, pps: Pps) -> None:
        self._pfs = pfs
        self._pps = pps

    def GetDumpV2Template(
        self, request: debug_proto.GetDumpV2TemplateRequest, context: CallContext
    ) -> debug_proto.GetDumpV2TemplateResponse:
        """A request for all that there is."""
        names = [info.pipeline for info in self._pps.list_pipelines(None, [], 0)]
        system = debug_proto.System(database=True, version=True)
        pipelines = [debug_proto.Pipeline(project=each.project.name, name=each.name) for each in names]
        return debug_proto.GetDumpV2TemplateResponse(
            request=debug_proto.DumpV2Request(system=system, pipelines=pipelines)
        )

    def DumpV2(self, request: debug_proto.DumpV2Request, context: CallContext) -> Iterator[debug_proto.DumpChunk]:
        """The server's part where `system` asks for it, and the named pipelines."""
        pipelines = [self._pipeline(each) for each in request.pipelines]
        for chunk in self._archive(request.system.version, request.system.database, pipelines, limit=0):
            yield debug_proto.DumpChunk(content=debug_proto.DumpContent(content=chunk))

    def Dump(self, request: debug_proto.DumpRequest, context: CallContext) -> Iterator[BytesValue]:
        """All, or what the filter names; of each pipeline at most the newest `limit` jobs."""
        chosen = request.filter.WhichOneof("filter")
        pipelines: list[pps_proto.PipelineInfo] = []
        if chosen == "pipeline":
            pipelines = [self._pps.inspect_pipeline(request.filter.pipeline, True)]
        elif chosen is None:
            pipelines = list(self._pps.list_pipelines(None, [], 0))
        system = chosen in (None, "pachd", "database")
        for chunk in self._archive(system, system, pipelines, request.limit):
            yield BytesValue(value=chunk)

    def _pipeline(self, name: debug_proto.Pipeline) -> pps_proto.PipelineInfo:
        pipeline = pps_proto.Pipeline(name=name.name)
        pipeline.project.name = name.project
        return self._pps.inspect_pipeline(pipeline, True)

    def _archive(
        self, version: bool, database: bool, pipelines: Iterable[pps_proto.PipelineInfo], limit: int
    ) -> Iterator[bytes]:
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                if version:
                    _add(archive, "pachd/version.txt", [".".join(map(str, VERSION))])
                if database:
                    self._add_database(archive)
                for info in pipelines:
                    self._add_pipeline(archive, info, limit)
            file.seek(0)
            yield from _chunks(file)

    def _add_database(self, archive: tarfile.TarFile) -> None:
        _add(archive, "source-repos/repos.json", map(MessageToJson, self._pfs.repo_infos("", [])))
        _add(archive, "pachd/fsck.txt", check(self._pfs))

    def _add_pipeline(self, archive: tarfile.TarFile, info: pps_proto.PipelineInfo, limit: int) -> None:
        name = info.pipeline.name
        folder = f"pipelines/{info.pipeline.project.name}/{name}"
        _add(archive, f"{folder}/spec.json", [MessageToJson(info)])
        request = pps_proto.ListJobRequest(pipeline=info.pipeline, history=-1, details=True, number=limit)
        jobs = list(self._pps.list_jobs(request))
        _add(archive, f"{folder}/jobs.json", map(MessageToJson, jobs))
        try:
            num = self._pps._pipeline_row(info.pipeline)["num"]
        except NotFound:
            # It was deleted since.
            return
        for job in jobs:
            messages: Iterable[Message] = self._pps.logs.read(num, job.job.id)
            _add(archive, f"{folder}/logs/{job.job.id}.json", map(MessageToJson, messages))


def _add(archive: tarfile.TarFile, name: str, texts: Iterable[str]) -> None:
    """A file of texts, each on lines of its own."""
    data = "".join(f"{text}\n" for text in texts).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
