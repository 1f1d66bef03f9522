"""Lists of the objects in a bucket, in both versions of the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from localpach.api.s3.buckets import OWNER, Buckets
from localpach.api.s3.errors import S3Error
from localpach.api.s3.payload import Body
from localpach.api.s3.request import Answer, Request, xml_answer
from localpach.api.s3.xml import Node, iso
from localpach.pfs.records import CommitRecord, Entry
from localpach.pfs.service import Pfs

MOST_KEYS = 1000


class Listing:
    """Lists a commit's files as a bucket's objects; its directories are common prefixes."""

    def __init__(self, pfs: Pfs, buckets: Buckets) -> None:
        self._pfs = pfs
        self._buckets = buckets

    def list_objects(self, request: Request, body: Body) -> Answer:
        arguments = request.arguments
        page = _Page.of(request)
        record = self._buckets.readable(request.bucket)
        moment = iso(record.finishing or record.started)
        found = self._page(record, page)
        shown = [entry for _, entry in zip(range(page.most), found, strict=False)]
        last = _key(shown[-1]) if shown and next(found, None) is not None else ""
        nodes: list[Node] = [
            ("Name", request.bucket),
            ("Prefix", page.shown(arguments.get("prefix", ""))),
            ("Delimiter", page.delimiter),
            ("MaxKeys", str(page.most)),
            ("IsTruncated", "true" if last else "false"),
        ]
        if page.is_encoded:
            nodes.append(("EncodingType", "url"))
        if arguments.get("list-type") == "2":
            nodes.append(("KeyCount", str(len(shown))))
            given = [("StartAfter", "start-after"), ("ContinuationToken", "continuation-token")]
            nodes += [(name, arguments[argument]) for name, argument in given if argument in arguments]
            nodes += [("NextContinuationToken", last)] if last else []
        else:
            nodes.append(("Marker", page.shown(page.marker)))
            nodes += [("NextMarker", page.shown(last))] if last else []
        for entry in shown:
            key = page.shown(_key(entry))
            if entry.is_dir:
                nodes.append(("CommonPrefixes", [("Prefix", key), ("Owner", OWNER)]))
            else:
                nodes.append(("Contents", [("Key", key), ("LastModified", moment), *_details(entry)]))
        return xml_answer("ListBucketResult", nodes)

    def _page(self, record: CommitRecord, page: _Page) -> Iterator[Entry]:
        folder = page.prefix[: page.prefix.rfind("/") + 1]
        return self._below(record, folder, page.prefix, page.marker, not page.delimiter)

    def _below(self, record: CommitRecord, folder: str, prefix: str, marker: str, recursive: bool) -> Iterator[Entry]:
        """The files below a folder whose keys begin with a prefix and come after a marker; unless it is recursive, those
        and the directories in it."""
        is_within = marker.startswith(folder)
        if marker > folder and not is_within:
            return
        after = marker[len(folder) :].partition("/")[0] if is_within else ""
        for entry in self._pfs.files.children(record, folder, after=after):
            key = _key(entry)
            if not key.startswith(prefix):
                if key > prefix:
                    return
            elif entry.is_dir and recursive:
                yield from self._below(record, key, "", marker, recursive)
            elif key > marker:
                yield entry


class _Page(NamedTuple):
    """What a list is asked for."""

    prefix: str
    delimiter: str
    marker: str
    most: int
    is_encoded: bool

    @classmethod
    def of(cls, request: Request) -> _Page:
        arguments = request.arguments
        delimiter = arguments.get("delimiter", "")
        if delimiter not in ("", "/"):
            raise S3Error("InvalidDelimiter", f"the delimiter is {delimiter}; PFS has no other than /")
        if arguments.get("list-type") == "2":
            marker = arguments.get("continuation-token") or arguments.get("start-after", "")
        else:
            marker = arguments.get("marker", "")
        most = min(request.number("max-keys", MOST_KEYS), MOST_KEYS)
        prefix = arguments.get("prefix", "").removeprefix("/")
        return cls(prefix, delimiter, marker, most, arguments.get("encoding-type") == "url")

    def shown(self, key: str) -> str:
        """A key as the client wants to see it."""
        return quote(key, safe="/~") if self.is_encoded else key


def etag(entry: Entry) -> str:
    """What tells a file from others: its hash in PFS."""
    return f'"{entry.hash.hex()}"'


def _key(entry: Entry) -> str:
    return entry.path[1:]


def _details(entry: Entry) -> list[Node]:
    return [("ETag", etag(entry)), ("Size", str(entry.size)), ("StorageClass", "STANDARD"), ("Owner", OWNER)]
