"""Answers about files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from python_pachyderm.service import pfs_proto

from localpach.pfs.base import CommitRecord, timestamp
from localpach.pfs.branches import commit_proto
from localpach.pfs.files import Entry


def file_infos(record: CommitRecord, entries: Iterable[Entry]) -> Iterator[pfs_proto.FileInfo]:
    """Entries of a commit as protos; `committed` is when the commit was closed."""
    commit = commit_proto(record)
    committed = timestamp(record.finishing)
    for entry in entries:
        yield pfs_proto.FileInfo(
            file=pfs_proto.File(commit=commit, path=entry.path, datum=entry.datum),
            file_type=pfs_proto.DIR if entry.is_dir else pfs_proto.FILE,
            committed=committed,
            size_bytes=entry.size,
            hash=entry.hash,
        )


def file_info(record: CommitRecord, entry: Entry) -> pfs_proto.FileInfo:
    """One entry."""
    return next(file_infos(record, [entry]))
