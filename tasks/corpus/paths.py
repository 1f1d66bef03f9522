"""Paths in the repo. Pachyderm takes printable ASCII in them, without the characters of its globs; the rest is written as in URLs."""

from __future__ import annotations

import hashlib
import string
from urllib.parse import quote

# Letters, digits and -._~ are so, too.
_AS_THEY_ARE = " " + "".join(char for char in string.punctuation if char not in r"*?[]{}!()@+^%\/")
LONGEST = 255  # bytes, of what stands between two slashes


def repo_path(name: str) -> str:
    """The path of a script whose name may be any; no two names have one path."""
    return "/".join(map(_part, name.split("/")))


def _part(name: str) -> str:
    quoted = quote(name, safe=_AS_THEY_ARE, errors="surrogateescape")
    if not quoted.strip("."):
        # As they are they lead elsewhere.
        return quoted.replace(".", "%2E")
    if len(quoted) <= LONGEST:
        return quoted
    mark = "-" + hashlib.sha256(quoted.encode()).hexdigest()[:16]
    return quoted[: LONGEST - len(mark)] + mark
