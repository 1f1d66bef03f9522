"""What contents and nodes are named by: the BLAKE2b-256 of their bytes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Ref(NamedTuple):
    """One stretch of content."""

    hash: str
    size: int


def digest(data: bytes) -> bytes:
    """BLAKE2b-256."""
    return hashlib.blake2b(data, digest_size=32).digest()
