"""Files of trees, made without the code that makes them."""

from __future__ import annotations

import hashlib

from localpach.storage.refs import Ref
from localpach.storage.trees import DEFAULT_DATUM, File


def file_of(*parts: tuple[str, tuple[bytes, ...]]) -> File:
    """A file of such pieces by such datums; the hash is that of small pieces."""
    refs = tuple((datum, tuple(ref_of(data) for data in pieces)) for datum, pieces in parts)
    whole = b"".join(data for _, pieces in parts for data in pieces)
    hashed = hashlib.blake2b(blake(whole) if whole else b"", digest_size=32).hexdigest()
    return File(len(whole), hashed, refs)


def blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def ref_of(data: bytes) -> Ref:
    return Ref(blake(data).hex(), len(data))


def plain(data: bytes) -> File:
    return file_of((DEFAULT_DATUM, (data,)))
