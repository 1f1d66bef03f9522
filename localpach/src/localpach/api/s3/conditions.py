"""What the headers of a request make of a whole object: nothing new, a part of it, or a refusal."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from localpach.api.s3.errors import S3Error
from localpach.api.s3.request import Request

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def is_known(request: Request, etag: str, modified: int) -> bool:
    """Whether the client has the object as it is; `modified` is in seconds since 1970.

    Raises:
        S3Error: it wants another one.
    """
    match, unmodified = request.header("If-Match"), _moment(request, "If-Unmodified-Since")
    if not _matches(match, etag) if match else unmodified is not None and modified > unmodified:
        raise S3Error("PreconditionFailed", "the object is not the one that is wanted, by its ETag or time")
    other, since = request.header("If-None-Match"), _moment(request, "If-Modified-Since")
    return _matches(other, etag) if other else since is not None and modified <= since


def part(request: Request, etag: str, modified: int, size: int) -> range | None:
    """The bytes that are wanted of an object of `size`; None is all of them."""
    given = request.header("If-Range")
    if given and given != etag and _moment(request, "If-Range") != modified:
        return None
    return within(request.header("Range"), size)


def within(text: str, size: int) -> range | None:
    """The bytes of an object of `size` that a range stands for; None where it is none, or several.

    Raises:
        S3Error: there are none of these.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    if first:
        found = range(int(first), min(int(last) + 1, size) if last else size)
    else:
        found = range(max(size - int(last), 0), size)
    if not found:
        raise S3Error("InvalidRange", f"the object has {size} bytes, of which none is within {text}")
    return found


def _matches(given: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    # Some clients leave the quotes out.
    return not {"*", etag, etag.strip('"')}.isdisjoint(tags)


def _moment(request: Request, name: str) -> float | None:
    """A date; one that can't be read counts for nothing."""
    try:
        return parsedate_to_datetime(request.header(name)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
