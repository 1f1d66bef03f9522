"""URLs of what output may be written beneath: a folder, or a bucket with the beginning of its keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from localpach.errors import Precondition, Refused, Unimplemented

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class Place(NamedTuple):
    """A bucket of S3 or, without one, this machine, and the steps down from there."""

    bucket: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        path = quote("/" + "/".join(self.steps))
        return f"s3://{self.bucket}{path}" if self.bucket else f"file://{path}"

    @property
    def folder(self) -> Path:
        return Path("/", *self.steps)

    def holds(self, other: Place) -> bool:
        """Whether the other one is this one, or beneath it."""
        return self.bucket == other.bucket and self.steps == other.steps[: len(self.steps)]


def place_of(url: str) -> Place:
    """The place that a URL names.

    Raises:
        Refused: it names none. What is said of a URL never repeats it: it may have a login in it.
        Unimplemented: it is one of a scheme that is not served.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Refused("egress: the URL can't be read; write s3://bucket/prefix or file:///folder") from error
    if parts.scheme not in ("s3", "file"):
        raise Unimplemented("egress: only s3://bucket/prefix and file:///folder are served here; choose one of them")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Refused(
            "egress: the URL must have neither a login nor ? or # in it (%3F and %23 stand for these in names)"
        )
    if parts.scheme == "s3" and not _BUCKET.fullmatch(parts.netloc):
        raise Refused("egress: after s3:// the URL must have the name of a bucket")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise Refused("egress: after file: the URL must have three slashes and the path of a folder")
    steps = tuple(unquote(step) for step in parts.path.split("/") if step)
    if any(step in (".", "..") or not {"/", "\0"}.isdisjoint(step) for step in steps):
        raise Refused("egress: the URL's path must have no step . or .., nor %2F or %00 in one")
    return Place(parts.netloc, steps)


def allowed_place(url: str) -> Place:
    """The place of a URL that who serves lets output be written beneath; a folder has to be there."""
    place = place_of(url)
    if not place.bucket and not place.folder.is_dir():
        raise Precondition(f"--egress {place}: there is no such folder; make one, for pipelines' output alone")
    return place
