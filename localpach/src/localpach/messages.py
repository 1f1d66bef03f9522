"""Records of PFS as messages of the wire, for what is answered and for what is kept in this form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from localpach.pfs.records import CommitRecord, Entry
from localpach.proto import pfs_pb2


def timestamp(microseconds: int | None) -> Timestamp | None:
    """A message of microseconds since 1970."""
    if microseconds is None:
        return None
    return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def microseconds(moment: Timestamp) -> int:
    """Microseconds since 1970."""
    return moment.seconds * 1_000_000 + moment.nanos // 1000


def commit_message(record: CommitRecord) -> pfs_pb2.Commit:
    """How a commit is named in answers."""
    return record.commit.to_proto(record.branch)


def file_infos(record: CommitRecord, entries: Iterable[Entry]) -> Iterator[pfs_pb2.FileInfo]:
    """Entries of a commit; `committed` is when the commit was closed."""
    commit = commit_message(record)
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
