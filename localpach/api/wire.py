"""The hot messages on the wire, by hand: protobuf's pure Python takes ten times as long, and copies as often.

Only what is plain is done here; `parse_modify` leaves all else to the generated class. Tags are those of pfs.proto
(field number << 3 | wire type), the encoding is that of https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from python_pachyderm.service import pfs_proto

from localpach.pfs import CommitRecord, Entry
from localpach.pfs.base import timestamp
from localpach.pfs.branches import commit_proto

ADD_FILE, DELETE_FILE, PATH, DATUM, RAW, VALUE = 0x12, 0x1A, 0x0A, 0x12, 0x1A, 0x0A


class RawAdd(NamedTuple):
    """A ModifyFileRequest that adds bytes to a file; `data` is a view of the message."""

    path: str
    datum: str
    data: memoryview


class RawDelete(NamedTuple):
    """A ModifyFileRequest that deletes a file, or what a datum wrote to it."""

    path: str
    datum: str


def parse_modify(message: bytes) -> RawAdd | RawDelete | pfs_proto.ModifyFileRequest:
    """A message of a ModifyFile stream."""
    view = memoryview(message)
    if message and message[0] in (ADD_FILE, DELETE_FILE):
        length, at = _varint(view, 1)
        if at + length == len(view):
            found = _add_or_delete(message[0], view[at:])
            if found is not None:
                return found
    return pfs_proto.ModifyFileRequest.FromString(message)


def _add_or_delete(kind: int, view: memoryview) -> RawAdd | RawDelete | None:
    """An AddFile of path, datum and raw bytes, or a DeleteFile; None where it has anything else."""
    path = datum = ""
    data: memoryview | None = None
    at = 0
    while at < len(view):
        tag = view[at]
        if tag not in (PATH, DATUM, RAW):
            return None
        length, at = _varint(view, at + 1)
        part = view[at : at + length]
        at += length
        if tag == PATH:
            path = str(part, "utf-8")
        elif tag == DATUM:
            datum = str(part, "utf-8")
        elif data is not None or kind != ADD_FILE:
            return None
        else:
            data = part
    if kind == DELETE_FILE:
        return RawDelete(path, datum)
    if data is None:
        return None
    if not len(data):
        return RawAdd(path, datum, data)
    if data[0] != VALUE:
        return None
    length, at = _varint(data, 1)
    return RawAdd(path, datum, data[at:]) if at + length == len(data) else None


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = shift = 0
    while True:
        byte = view[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _field(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + _number(len(data)) + data if data else b""


def encode_infos(record: CommitRecord, entries: Iterable[Entry]) -> Iterator[bytes]:
    """Entries of a commit as FileInfo messages."""
    commit = _field(0x0A, commit_proto(record).SerializeToString())
    moment = timestamp(record.finishing)
    committed = _field(0x1A, moment.SerializeToString()) if moment is not None else b""
    for entry in entries:
        file = commit + _field(0x12, entry.path.encode()) + _field(0x1A, entry.datum.encode())
        kind = pfs_proto.DIR if entry.is_dir else pfs_proto.FILE
        size = b"\x20" + _number(entry.size) if entry.size else b""
        yield _field(0x0A, file) + b"\x10" + _number(kind) + committed + size + _field(0x2A, entry.hash)
