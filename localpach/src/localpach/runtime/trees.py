"""Folders of files that shall be the same wherever they are made: all that counts is who may execute what."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path


def copy(source: Path, place: Path) -> None:
    """Copies a file, a link as one, or a folder with nothing in it; folders above it are made."""
    if source.is_dir() and not source.is_symlink():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.exists():
        place.unlink()
    shutil.copyfile(source, place, follow_symlinks=False)
    if not place.is_symlink():
        place.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def digest(folder: Path) -> str:
    """A hash over the paths, contents, links and executable bits of all that is in a folder."""
    hasher = hashlib.sha256()
    for item in sorted(folder.rglob("*")):
        if item.is_symlink():
            kind, content = "link", str(item.readlink()).encode()
        elif item.is_dir():
            kind, content = "folder", b""
        else:
            kind, content = f"file {item.stat().st_mode & 0o100}", item.read_bytes()
        hasher.update(f"{item.relative_to(folder)}\0{kind}\0".encode())
        hasher.update(hashlib.sha256(content).digest())
    return hasher.hexdigest()
