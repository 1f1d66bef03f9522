"""storage.Fileset: file sets as clients since Pachyderm 2.10 make and read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import ClassVar

from google.protobuf.empty_pb2 import Empty

from localpach.api.files import FilesServicer
from localpach.errors import Refused
from localpach.pfs.file_sets import FILE_SETS_REPO
from localpach.pfs.service import Pfs
from localpach.proto import pfs_pb2, storage_pb2
from localpach.waiting import Call


class FilesetServicer:
    """Translates requests into calls of PFS; `files` is how the older API makes file sets."""

    refusals: ClassVar = {
        "ReadFilesetCDR": "there is no object store here that could be read by URL; ReadFileset has the same files"
    }

    def __init__(self, pfs: Pfs, files: FilesServicer) -> None:
        self._pfs = pfs
        self._files = files

    def CreateFileset(
        self, stream: Iterator[storage_pb2.CreateFilesetRequest], context: Call
    ) -> storage_pb2.CreateFilesetResponse:
        made = self._files.CreateFileSet(map(_modification, stream), context)
        return storage_pb2.CreateFilesetResponse(fileset_id=made.file_set_id)

    def ReadFileset(
        self, request: storage_pb2.ReadFilesetRequest, context: Call
    ) -> Iterator[storage_pb2.ReadFilesetResponse]:
        """The files that all filters let pass, in pieces; of empty files only the paths."""
        wanted = [_predicate(each) for each in request.filters]
        record = self._pfs.file_sets.as_commit(request.fileset_id)
        for entry in self._pfs.files.walk(record, "/"):
            if entry.is_dir or not all(predicate(entry.path) for predicate in wanted):
                continue
            if request.empty_files or not entry.size:
                yield storage_pb2.ReadFilesetResponse(path=entry.path)
                continue
            for chunk in self._pfs.files.read(record, entry):
                yield storage_pb2.ReadFilesetResponse(path=entry.path, data={"value": chunk})

    def RenewFileset(self, request: storage_pb2.RenewFilesetRequest, context: Call) -> Empty:
        self._pfs.file_sets.renew(request.fileset_id, request.ttl_seconds)
        return Empty()

    def ComposeFileset(
        self, request: storage_pb2.ComposeFilesetRequest, context: Call
    ) -> storage_pb2.ComposeFilesetResponse:
        id = self._pfs.file_sets.compose(request.fileset_ids)
        if request.ttl_seconds:
            self._pfs.file_sets.renew(id, request.ttl_seconds)
        return storage_pb2.ComposeFilesetResponse(fileset_id=id)

    def ShardFileset(self, request: storage_pb2.ShardFilesetRequest, context: Call) -> storage_pb2.ShardFilesetResponse:
        """One shard of all: on one machine there is nobody to share with."""
        self._pfs.file_sets.as_commit(request.fileset_id)
        return storage_pb2.ShardFilesetResponse(shards=[storage_pb2.PathRange()])


def _modification(request: storage_pb2.CreateFilesetRequest) -> pfs_pb2.ModifyFileRequest:
    """The same change as the older API has it."""
    kind = request.WhichOneof("modification")
    if kind == "append_file":
        add = pfs_pb2.AddFile(path=request.append_file.path)
        add.raw.CopyFrom(request.append_file.data)
        return pfs_pb2.ModifyFileRequest(add_file=add)
    if kind == "delete_file":
        return pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=request.delete_file.path))
    if kind == "copy_file":
        asked = request.copy_file
        commit = pfs_pb2.Commit(repo=pfs_pb2.Repo(name=FILE_SETS_REPO), id=asked.fileset_id)
        copy = pfs_pb2.CopyFile(src=pfs_pb2.File(commit=commit, path=asked.src), dst=asked.dst)
        return pfs_pb2.ModifyFileRequest(copy_file=copy)
    raise Refused("a change of a file set must append, delete or copy a file")


def _predicate(chosen: storage_pb2.FileFilter) -> Callable[[str], bool]:
    """Which paths a filter lets pass."""
    if chosen.WhichOneof("filter") == "path_range":
        lower, upper = chosen.path_range.lower, chosen.path_range.upper
        return lambda path: path >= lower and (not upper or path < upper)
    try:
        pattern = re.compile(chosen.path_regex)
    except re.error as error:
        raise Refused(f"path_regex {chosen.path_regex!r} is no regular expression: {error}") from error
    return lambda path: pattern.search(path) is not None
