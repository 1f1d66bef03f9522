"""pfs_v2.API, the part about files and file sets."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BytesValue

from localpach.api.modification import Modification
from localpach.api.pfs import readable, repo_of, resolve
from localpach.errors import Corrupt, LocalpachError, NotFound, Refused, Unimplemented
from localpach.messages import file_info, file_infos
from localpach.names import Branch, Commit, is_id
from localpach.pfs import paths
from localpach.pfs.records import CommitRecord, Entry
from localpach.pfs.service import Pfs
from localpach.proto import pfs_pb2
from localpach.storage.big import READ_BYTES
from localpach.waiting import Call, Deadline

HEAR_OUT_SECONDS = 10.0
MAX_PAGE = 100_000
BLOCK = 512
# Fields of a tar header (POSIX.1-1988).
CHECKSUM, DEVICES = slice(148, 156), slice(329, 345)


class FilesServicer:
    """Translates requests into calls of PFS."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs

    refusals: ClassVar = {
        "Egress": "here only pipelines send commits to an object store, by `egress` in their spec; read others' files with"
        " GetFileTAR and send them yourself"
    }

    def ModifyFile(self, stream: Iterator[pfs_pb2.ModifyFileRequest], context: Call) -> Empty:
        """All changes of the stream are made at once, or none."""
        modification = Modification(self._pfs)
        target: Commit | Branch | None = None
        with _heard_out(stream):
            try:
                for message in stream:
                    if message.WhichOneof("body") == "set_commit":
                        if target is not None:
                            raise Refused("cannot set commit")
                        target = self._target(message.set_commit)
                    elif target is None:
                        raise Refused("first message must be a commit")
                    else:
                        modification.take(message)
                    # Clients send up to 20 MiB in one: it must not be held while the next one comes.
                    del message
                self._apply(target, modification)
            finally:
                modification.abandon()
        return Empty()

    def _target(self, commit: pfs_pb2.Commit) -> Commit | Branch:
        """The open commit to write to, or the branch, whose head may be finished, or missing."""
        branch = Branch(repo_of(commit), commit.branch.name)
        if not commit.id:
            return branch
        if not branch.name and not is_id(commit.id):
            return branch._replace(name=commit.id)
        try:
            record = resolve(self._pfs, commit)
        except NotFound:
            if branch.name:
                return branch
            raise
        if record.finishing is not None:
            raise Refused(f"commit {record.commit} has already finished")
        return record.commit

    def _apply(self, target: Commit | Branch | None, modification: Modification) -> None:
        changes = modification.finish()
        if isinstance(target, Commit):
            self._pfs.writes.apply(target, changes, modification.batch)
        elif isinstance(target, Branch):
            self._pfs.writes.apply_to_branch(target, changes, modification.batch)

    def CreateFileSet(
        self, stream: Iterator[pfs_pb2.ModifyFileRequest], context: Call
    ) -> pfs_pb2.CreateFileSetResponse:
        modification = Modification(self._pfs)
        with _heard_out(stream):
            try:
                for message in stream:
                    modification.take(message)
                    del message
                id = self._pfs.file_sets.create(modification.finish(), modification.batch)
            finally:
                modification.abandon()
        return pfs_pb2.CreateFileSetResponse(file_set_id=id)

    def GetFileSet(self, request: pfs_pb2.GetFileSetRequest, context: Call) -> pfs_pb2.CreateFileSetResponse:
        id = self._pfs.file_sets.of_commit(resolve(self._pfs, request.commit).commit)
        return pfs_pb2.CreateFileSetResponse(file_set_id=id)

    def AddFileSet(self, request: pfs_pb2.AddFileSetRequest, context: Call) -> Empty:
        # An id that can't be one is told before a commit that is missing.
        self._pfs.file_sets.check_id(request.file_set_id)
        self._pfs.file_sets.add_to(resolve(self._pfs, request.commit).commit, request.file_set_id)
        return Empty()

    def RenewFileSet(self, request: pfs_pb2.RenewFileSetRequest, context: Call) -> Empty:
        self._pfs.file_sets.renew(request.file_set_id, request.ttl_seconds)
        return Empty()

    def ShardFileSet(self, request: pfs_pb2.ShardFileSetRequest, context: Call) -> pfs_pb2.ShardFileSetResponse:
        """One shard, from the first path to the last: on one machine there is nobody to share with."""
        self._pfs.file_sets.as_commit(request.file_set_id)
        return pfs_pb2.ShardFileSetResponse(shards=[pfs_pb2.PathRange()])

    def ComposeFileSet(self, request: pfs_pb2.ComposeFileSetRequest, context: Call) -> pfs_pb2.CreateFileSetResponse:
        return pfs_pb2.CreateFileSetResponse(file_set_id=self._pfs.file_sets.compose(request.file_set_ids))

    def InspectFile(self, request: pfs_pb2.InspectFileRequest, context: Call) -> pfs_pb2.FileInfo:
        record = readable(self._pfs, _commit(request, "file"))
        return file_info(record, self._pfs.files.entry(record, request.file.path, request.file.datum))

    def ListFile(self, request: pfs_pb2.ListFileRequest, context: Call) -> Iterator[pfs_pb2.FileInfo]:
        commit = _commit(request, "file")
        _check_page(request)
        record = readable(self._pfs, commit)
        file, after = request.file, request.paginationMarker.path
        entries = self._pfs.files.children(record, file.path, file.datum, after, request.reverse)
        yield from file_infos(record, _limit(entries, request.number))

    def WalkFile(self, request: pfs_pb2.WalkFileRequest, context: Call) -> Iterator[pfs_pb2.FileInfo]:
        commit = _commit(request, "file")
        _check_page(request)
        record = readable(self._pfs, commit)
        entries: Iterable[Entry] = self._pfs.files.walk(record, request.file.path, request.file.datum)
        marker = request.paginationMarker.path
        if request.reverse:
            entries = reversed(list(entries))
        if marker:
            entries = (each for each in entries if (each.path < marker if request.reverse else each.path > marker))
        yield from file_infos(record, _limit(iter(entries), request.number))

    def GlobFile(self, request: pfs_pb2.GlobFileRequest, context: Call) -> Iterator[pfs_pb2.FileInfo]:
        record = readable(self._pfs, _commit(request))
        entries = self._pfs.files.glob(record, request.pattern)
        yield from file_infos(record, _in_range(entries, request.path_range))

    def DiffFile(self, request: pfs_pb2.DiffFileRequest, context: Call) -> Iterator[pfs_pb2.DiffFileResponse]:
        new = readable(self._pfs, _commit(request, "new_file"))
        old = None
        if request.HasField("old_file") and request.old_file.HasField("commit"):
            old = readable(self._pfs, request.old_file.commit), request.old_file.path
        before = old[0] if old else self._pfs.commits.parent(new)
        for here, there in self._pfs.files.diff((new, request.new_file.path), old):
            yield pfs_pb2.DiffFileResponse(
                new_file=file_info(new, here) if here else None,
                old_file=file_info(before, there) if there and before else None,
            )

    def GetFile(self, request: pfs_pb2.GetFileRequest, context: Call) -> Iterator[BytesValue]:
        _check_no_url(request)
        record = readable(self._pfs, _commit(request, "file"))
        matches = [each for _, each in zip(range(2), self._matches(record, request), strict=False)]
        if len(matches) > 1:
            raise Refused("matched multiple files. Use GetFileTAR instead")
        for chunk in self._pfs.files.read(record, matches[0], request.offset):
            yield BytesValue(value=chunk)

    def GetFileTAR(self, request: pfs_pb2.GetFileRequest, context: Call) -> Iterator[BytesValue]:
        _check_no_url(request)
        record = readable(self._pfs, _commit(request, "file"))
        skip = request.offset
        pending = bytearray()
        try:
            for chunk in self._tar(record, self._matches(record, request)):
                pending += chunk[skip:]
                skip = max(skip - len(chunk), 0)
                if len(pending) >= READ_BYTES:
                    yield BytesValue(value=bytes(pending))
                    pending.clear()
        except Corrupt:
            # Up to the header of a file that does not come: who takes no notice of the error misses it.
            yield BytesValue(value=bytes(pending))
            raise
        if pending:
            yield BytesValue(value=bytes(pending))

    def _matches(self, record: CommitRecord, request: pfs_pb2.GetFileRequest) -> Iterator[Entry]:
        """What the path, which may be a pattern, names; NotFound where that is nothing."""
        found = False
        matches = self._pfs.files.glob(record, request.file.path, request.file.datum)
        for entry in _in_range(matches, request.path_range):
            found = True
            yield entry
        if not found:
            path = paths.clean(request.file.path)
            raise NotFound(f"file {path} not found in repo {record.commit.repo} at commit {record.commit.id}")

    def _tar(self, record: CommitRecord, entries: Iterable[Entry]) -> Iterator[bytes]:
        last = ""
        for entry in entries:
            for each in self._pfs.files.walk(record, entry.path) if entry.is_dir else (entry,):
                if each.path <= last:
                    continue
                last = each.path
                yield _tar_header(each)
                if not each.is_dir:
                    yield from self._pfs.files.read(record, each)
                    yield b"\0" * (-each.size % BLOCK)
        yield b"\0" * (2 * BLOCK)


@contextmanager
def _heard_out(stream: Iterator[object]) -> Iterator[None]:
    """Takes what a client goes on to send before it is refused: Go's clients, cut short, tell of the end of the stream in
    place of the reason."""
    try:
        yield
    except LocalpachError:
        deadline = Deadline(HEAR_OUT_SECONDS)
        for _ in stream:
            if deadline.is_over:
                break
        raise


def _commit(request: Any, field: str = "") -> pfs_pb2.Commit:
    """The commit that a request names, itself or of the file in `field`."""
    if field and not request.HasField(field):
        raise Refused("file cannot be nil")
    holder = getattr(request, field) if field else request
    if not holder.HasField("commit"):
        raise Refused("file commit cannot be nil" if field else "commit cannot be nil")
    commit: pfs_pb2.Commit = holder.commit
    return commit


def _check_no_url(request: pfs_pb2.GetFileRequest) -> None:
    if request.URL:
        raise Unimplemented("writing files to a URL needs a Pachyderm cluster; read them here and send them yourself")


def _check_page(request: pfs_pb2.ListFileRequest | pfs_pb2.WalkFileRequest) -> None:
    if request.reverse and not request.number:
        raise Refused("number must be > 0 when reverse is true")
    if request.number > MAX_PAGE:
        raise Refused(f"cannot return more than {MAX_PAGE} files at a time")


def _limit(entries: Iterator[Entry], number: int) -> Iterator[Entry]:
    for place, entry in enumerate(entries):
        if number > 0 and place >= number:
            return
        yield entry


def _in_range(entries: Iterable[Entry], within: pfs_pb2.PathRange) -> Iterator[Entry]:
    for entry in entries:
        if entry.path >= within.lower and (not within.upper or entry.path < within.upper):
            yield entry


def _tar_header(entry: Entry) -> bytes:
    """As Pachyderm writes it: the path with its leading slash, mode and time 0, and device numbers of 0."""
    info = tarfile.TarInfo(entry.path)
    info.mode = 0
    info.size = 0 if entry.is_dir else entry.size
    info.type = tarfile.DIRTYPE if entry.is_dir else tarfile.REGTYPE
    try:
        header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    except ValueError:
        return info.tobuf(tarfile.PAX_FORMAT)
    header[DEVICES] = b"0000000\0" * 2
    header[CHECKSUM] = b" " * 8
    header[CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(header)
