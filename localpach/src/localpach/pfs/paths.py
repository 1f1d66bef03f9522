"""File paths, as Pachyderm checks and cleans them."""

from __future__ import annotations

import posixpath
import re

from localpach.errors import Refused

# How deep files may lie: what works on trees calls itself for each level.
LEVELS = 250

_PRINTABLE = re.compile(r"[ -~]+")
_GLOBBING = re.compile(r"[*?\[\]{}!()@+^]")


def clean(path: str) -> str:
    """`path` with one leading slash and no trailing one; the root is `/`."""
    return posixpath.normpath("/" + path.lstrip("/"))


def check_copy(path: str) -> str:
    """The clean form of a path that a client wants to copy to, where Pachyderm looks less closely.

    Raises:
        Refused: it holds what no file system can name.
    """
    if not path.isprintable():
        raise Refused(f"path ({path!r}) invalid: only printable characters allowed")
    return clean(path)


def check(path: str) -> str:
    """The clean form of a path that a client wants to write or delete.

    Raises:
        Refused: it holds what Pachyderm does not allow in a path.
    """
    if not _PRINTABLE.fullmatch(path):
        raise Refused(f"path ({path}) invalid: only printable ASCII characters allowed")
    globbing = _GLOBBING.search(path)
    if globbing:
        raise Refused(f"path ({path}) invalid: globbing character ({globbing[0]}) not allowed in path")
    if any(element in (".", "..") for element in path.split("/")):
        raise Refused(f"path ({path}) invalid: relative file paths are not allowed")
    return clean(path)
