"""What every parser keeps to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from localpach.errors import LocalpachError

LONGEST_TEXT = 2100
# Lives as long as the process.
_ASIDE = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


class Parser(NamedTuple):
    """What is fuzzed, and inputs to begin with."""

    parse: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


@contextmanager
def refusal() -> Iterator[None]:
    """A block that ends well, or by one short sentence of ours."""
    try:
        yield
    except LocalpachError as error:
        assert 0 < len(error.message) <= LONGEST_TEXT, f"a sentence of {len(error.message)} characters"


def folder(name: str) -> Path:
    """A fresh folder, where the disk is quickest."""
    made = Path(_ASIDE.name, name)
    if made.exists():
        shutil.rmtree(made)
    made.mkdir()
    return made


def text_of(data: bytes) -> str:
    """What the wire can carry of an input."""
    return data.decode(errors="ignore")


def lines_of(data: bytes, count: int) -> list[str]:
    """The first lines of an input; those that it lacks are empty, and the last one has all the rest."""
    lines = text_of(data).split("\n", count - 1)
    return lines + [""] * (count - len(lines))
