"""Answers about files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from localpach.pfs.base import CommitRecord, timestamp
from localpach.pfs.branches import commit_proto
from localpach.pfs.files import Entry
from localpach.proto import pfs_pb2


def file_infos(record: CommitRecord, entries: Iterable[Entry]) -> Iterator[pfs_pb2.FileInfo]:
    """Entries of a commit as protos; `committed` is when the commit was closed."""
    commit = commit_proto(record)
    committed = timestamp(record.finishing)
    for entry in entries:
        yield pfs_pb2.FileInfo(
            file=pfs_pb2.File(commit=commit, path=entry.path, datum=entry.datum),
            file_type=pfs_pb2.DIR if entry.is_dir else pfs_pb2.FILE,
            committed=committed,
            size_bytes=entry.size,
            hash=entry.hash,
        )


def file_info(record: CommitRecord, entry: Entry) -> pfs_pb2.FileInfo:
    """One entry."""
    return next(file_infos(record, [entry]))
