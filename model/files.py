"""Files that are there whole or not at all: written under another name, brought to the disk and renamed."""

from __future__ import annotations

import os
from pathlib import Path

DRAFT = ".new"


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    draft = path.with_name(path.name + DRAFT)
    draft.write_text(text, encoding="utf-8")
    publish(draft, path)


def publish(draft: Path, path: Path) -> None:
    """Puts a finished draft, in the same folder, where readers look for it."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
