"""The changes that a client sends in a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlparse

from localpach.api.pfs import readable
from localpach.errors import Refused
from localpach.pfs import paths
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Add, Change, Copy, Delete
from localpach.proto import pfs_pb2
from localpach.storage.objects import ContentWriter

URL_TIMEOUT_SECONDS = 60
# Of the user in a URL, wherever in a text.
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s]*@")


class Modification:
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
            source = readable(self._pfs, copy.src.commit).root
            target = paths.check_copy(copy.dst)
            self._changes.append(Copy(source, paths.clean(copy.src.path), target, copy.datum, copy.append))

    def _delete(self, path: str, datum: str) -> None:
        self._close()
        checked = paths.check(path)
        self._changes.append(Delete(checked.rstrip("/") + "/" if path.endswith("/") else checked, datum))

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
    try:
        yield from _get(url)
    except Refused as error:
        raise Refused(_PASSWORD.sub(r"\1:***@", error.message)) from error


def _get(url: str) -> Iterator[bytes]:
    # Seldom needed, and 8 MiB of the server's memory.
    import requests  # noqa: PLC0415

    try:
        where = urlparse(url)
        port = where.port or (443 if where.scheme == "https" else 80)
    except ValueError as error:
        raise Refused(f'Get "{url}": {error}') from error
    if where.scheme not in ("http", "https"):
        raise Refused(f"unrecognized object store: {where.scheme}")
    try:
        with requests.get(url, stream=True, timeout=URL_TIMEOUT_SECONDS) as response:
            if response.status_code >= 400:
                raise Refused(f'error retrieving content from "{url}": {response.status_code} {response.reason}')
            yield from response.iter_content(1 << 20)
    except requests.ConnectionError as error:
        raise Refused(f'Get "{url}": dial tcp {where.hostname}:{port}: connect: connection refused') from error
    except requests.RequestException as error:
        raise Refused(f'Get "{url}": {error}') from error
