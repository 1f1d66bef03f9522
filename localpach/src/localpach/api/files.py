"""pfs_v2.API, the part about files and file sets."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import urlparse

from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BytesValue

from localpach.api.pfs import repo_of, resolve
from localpach.errors import NotFound, Refused, Unimplemented
from localpach.messages import file_info, file_infos
from localpach.names import Branch, is_id
from localpach.pfs import paths
from localpach.pfs.file_sets import FILE_SETS_REPO
from localpach.pfs.records import CommitRecord, Entry
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Add, Change, Copy, Delete
from localpach.proto import pfs_pb2
from localpach.storage.objects import READ_BYTES, ContentWriter
from localpach.waiting import Call

URL_TIMEOUT_SECONDS = 60
BLOCK = 512
# Fields of a tar header (POSIX.1-1988).
CHECKSUM, DEVICES = slice(148, 156), slice(329, 345)


class FilesServicer:
    """Translates requests into calls of PFS."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs

    refusals: ClassVar = {
        "Egress": "writing a commit to an object store or a database needs a Pachyderm cluster; read its files with"
        " GetFileTAR and send them yourself"
    }

    def ModifyFile(self, stream: Iterator[pfs_pb2.ModifyFileRequest], context: Call) -> Empty:
        """All changes of the stream are made at once, or none."""
        modification = _Modification(self._pfs)
        target: pfs_pb2.Commit | None = None
        try:
            for message in stream:
                if message.WhichOneof("body") == "set_commit":
                    if target is not None:
                        raise Refused("cannot set commit")
                    target = _target(message.set_commit)
                    self._check_target(target)
                elif target is None:
                    raise Refused("first message must be a commit")
                else:
                    modification.take(message)
                # Clients send up to 20 MiB in one: it must not be held while the next one comes.
                del message
            self._commit(target, modification)
        finally:
            modification.abandon()
        return Empty()

    def _check_target(self, target: pfs_pb2.Commit) -> None:
        if target.id:
            record = resolve(self._pfs, target)
            if record.finishing is not None:
                raise Refused(f"commit {record.commit} has already finished")
        elif not self._pfs.repos.exists(Branch.of(target.branch).repo):
            raise NotFound(f"repo {Branch.of(target.branch).repo} not found")

    def _commit(self, target: pfs_pb2.Commit | None, modification: _Modification) -> None:
        if target is None:
            return
        changes = modification.finish()
        if target.id:
            self._pfs.writes.apply(resolve(self._pfs, target).commit, changes, modification.batch)
        else:
            self._pfs.writes.apply_to_branch(Branch.of(target.branch), changes, modification.batch)

    def CreateFileSet(
        self, stream: Iterator[pfs_pb2.ModifyFileRequest], context: Call
    ) -> pfs_pb2.CreateFileSetResponse:
        modification = _Modification(self._pfs)
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
        record = self._readable(_commit(request, "file"))
        return file_info(record, self._pfs.files.entry(record, request.file.path))

    def ListFile(self, request: pfs_pb2.ListFileRequest, context: Call) -> Iterator[pfs_pb2.FileInfo]:
        record = self._readable(_commit(request, "file"))
        after = request.paginationMarker.path
        entries = self._pfs.files.children(record, request.file.path, after, request.reverse)
        yield from file_infos(record, _limit(entries, request.number))

    def WalkFile(self, request: pfs_pb2.WalkFileRequest, context: Call) -> Iterator[pfs_pb2.FileInfo]:
        record = self._readable(_commit(request, "file"))
        entries: Iterable[Entry] = self._pfs.files.walk(record, request.file.path)
        marker = request.paginationMarker.path
        if request.reverse:
            entries = reversed(list(entries))
        if marker:
            entries = (each for each in entries if (each.path < marker if request.reverse else each.path > marker))
        yield from file_infos(record, _limit(iter(entries), request.number))

    def GlobFile(self, request: pfs_pb2.GlobFileRequest, context: Call) -> Iterator[pfs_pb2.FileInfo]:
        record = self._readable(_commit(request))
        entries = self._pfs.files.glob(record, request.pattern)
        yield from file_infos(record, _in_range(entries, request.path_range))

    def DiffFile(self, request: pfs_pb2.DiffFileRequest, context: Call) -> Iterator[pfs_pb2.DiffFileResponse]:
        new = self._readable(_commit(request, "new_file"))
        old = None
        if request.HasField("old_file") and request.old_file.HasField("commit"):
            old = self._readable(request.old_file.commit), request.old_file.path
        before = old[0] if old else self._pfs.commits.parent(new)
        for here, there in self._pfs.files.diff((new, request.new_file.path), old):
            yield pfs_pb2.DiffFileResponse(
                new_file=file_info(new, here) if here else None,
                old_file=file_info(before, there) if there and before else None,
            )

    def GetFile(self, request: pfs_pb2.GetFileRequest, context: Call) -> Iterator[BytesValue]:
        if request.URL:
            raise Unimplemented(
                "writing files to a URL needs a Pachyderm cluster; read them here and send them yourself"
            )
        record = self._readable(_commit(request, "file"))
        matches = [each for _, each in zip(range(2), self._matches(record, request), strict=False)]
        if len(matches) > 1:
            raise Refused("matched multiple files. Use GetFileTAR instead")
        for chunk in self._pfs.files.read(record, matches[0].path, request.offset):
            yield BytesValue(value=chunk)

    def GetFileTAR(self, request: pfs_pb2.GetFileRequest, context: Call) -> Iterator[BytesValue]:
        record = self._readable(_commit(request, "file"))
        skip = request.offset
        pending = bytearray()
        for chunk in self._tar(record, self._matches(record, request)):
            pending += chunk[skip:]
            skip = max(skip - len(chunk), 0)
            if len(pending) >= READ_BYTES:
                yield BytesValue(value=bytes(pending))
                pending.clear()
        if pending:
            yield BytesValue(value=bytes(pending))

    def _matches(self, record: CommitRecord, request: pfs_pb2.GetFileRequest) -> Iterator[Entry]:
        """What the path, which may be a pattern, names; NotFound where that is nothing."""
        found = False
        for entry in _in_range(self._pfs.files.glob(record, request.file.path), request.path_range):
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
                    yield from self._pfs.files.read(record, each.path)
                    yield b"\0" * (-each.size % BLOCK)
        yield b"\0" * (2 * BLOCK)

    def _readable(self, commit: pfs_pb2.Commit) -> CommitRecord:
        """The commit to read from, or a file set named as one."""
        if FILE_SETS_REPO in (commit.repo.name, commit.branch.repo.name):
            return self._pfs.file_sets.as_commit(commit.id)
        return resolve(self._pfs, commit)


class _Modification:
    """Gathers the changes of a stream; contents are stored as they come, a file sent in pieces as one content."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs
        self._changes: list[Change] = []
        self._open: tuple[str, str] | None = None
        self._path = ""
        self._writer: ContentWriter | None = None
        self.batch = pfs.writes.batch()

    def take(self, message: pfs_pb2.ModifyFileRequest) -> None:
        """Keeps one change; of a file's bytes, no more than is needed until they are stored."""
        kind = message.WhichOneof("body")
        if kind == "add_file":
            self._add(message.add_file)
            return
        if kind == "delete_file":
            self._delete(message.delete_file.path, message.delete_file.datum)
            return
        self._close()
        if kind == "copy_file":
            copy = message.copy_file
            source = resolve(self._pfs, copy.src.commit).root
            self._changes.append(
                Copy(source, paths.clean(copy.src.path), paths.check(copy.dst), copy.datum, copy.append)
            )

    def _delete(self, path: str, datum: str) -> None:
        self._close()
        self._changes.append(Delete("/" if path == "/" else paths.check(path), datum))

    def _begin(self, path: str, datum: str) -> ContentWriter:
        """Where the bytes of a file go, which may come in several messages."""
        if self._open != (path, datum) or self._writer is None:
            checked = paths.check(path)
            self._close()
            self._open, self._path = (path, datum), checked
            self._writer = self._pfs.objects.writer(self.batch)
        return self._writer

    def _add(self, add: pfs_pb2.AddFile) -> None:
        writer = self._begin(add.path, add.datum)
        if add.WhichOneof("source") == "url":
            for chunk in _fetch(add.url.URL):
                writer.write(chunk)
            self._close()
        else:
            writer.write(add.raw.value)

    def _close(self) -> None:
        if self._open and self._writer:
            self._changes.append(Add(self._path, self._open[1], (self._writer.close(),)))
        self._open = self._writer = None

    def finish(self) -> list[Change]:
        """The changes since the last time."""
        self._close()
        changes, self._changes = self._changes, []
        return changes

    def abandon(self) -> None:
        """Forgets a content that was not completed."""
        if self._writer:
            self._writer.abandon()


def _fetch(url: str) -> Iterator[bytes]:
    # Seldom needed, and 8 MiB of the server's memory.
    import requests  # noqa: PLC0415

    scheme = urlparse(url).scheme
    if scheme not in ("http", "https"):
        raise Refused(f"unrecognized object store: {scheme}")
    try:
        with requests.get(url, stream=True, timeout=URL_TIMEOUT_SECONDS) as response:
            if response.status_code >= 400:
                raise Refused(f'error retrieving content from "{url}": {response.status_code} {response.reason}')
            yield from response.iter_content(1 << 20)
    except requests.ConnectionError as error:
        where = urlparse(url)
        port = where.port or (443 if scheme == "https" else 80)
        raise Refused(f'Get "{url}": dial tcp {where.hostname}:{port}: connect: connection refused') from error
    except requests.RequestException as error:
        raise Refused(f'Get "{url}": {error}') from error


def _target(commit: pfs_pb2.Commit) -> pfs_pb2.Commit:
    """A commit to write to; what has no form of an id there names a branch, whose head may be finished already."""
    if commit.id and commit.HasField("branch") and not commit.branch.name and not is_id(commit.id):
        return pfs_pb2.Commit(branch=Branch(repo_of(commit), commit.id).to_proto())
    return commit


def _commit(request: Any, field: str = "") -> pfs_pb2.Commit:
    """The commit that a request names, itself or of the file in `field`."""
    if field and not request.HasField(field):
        raise Refused("file cannot be nil")
    holder = getattr(request, field) if field else request
    if not holder.HasField("commit"):
        raise Refused("file commit cannot be nil" if field else "commit cannot be nil")
    commit: pfs_pb2.Commit = holder.commit
    return commit


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
