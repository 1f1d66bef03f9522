"""Scripts that are in no archive: a folder of files, or a single file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

from tasks.corpus.archives import COMPRESSIONS, ZIPS
from tasks.corpus.fetch import sha256_of

# Some of which are of kinds that are not read.
ARCHIVE_SUFFIXES = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zip", ".7z", ".rar", ".zst")
CHUNK = 64 * 1024
_TAR_MARK = (257, b"ustar")


def is_archive(path: Path, name: str) -> bool:
    """Whether a file is an archive, by its name or by its first bytes."""
    if path.is_dir():
        return False
    if name.lower().endswith(ARCHIVE_SUFFIXES):
        return True
    with path.open("rb") as file:
        start = file.read(512)
    place, mark = _TAR_MARK
    return not start or start.startswith((*COMPRESSIONS, *ZIPS)) or start[place:].startswith(mark)


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its files' names and SHA-256s."""
    if not path.is_dir():
        return sha256_of(path)
    lines = (f"{sha256_of(path / name)}  {name}\n" for name in list_plain(path, path.name))
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def list_plain(path: Path, name: str) -> list[str]:
    """The files of a folder, without links and what is hidden, or the single file by its name."""
    if not path.is_dir():
        return [name]
    files = (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    names = sorted(file.relative_to(path).as_posix() for file in files)
    return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]


def read_plain(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and chunks of each wanted file."""
    for name in wanted:
        with (path / name if path.is_dir() else path).open("rb") as file:
            yield name, iter(lambda file=file: file.read(CHUNK), b"")  # type: ignore[misc]
