"""Writing and deleting on disk, so that a crash leaves all or nothing."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

# Of a folder's name, in that of its parts; the system takes 255 bytes.
NAME_KEPT = 60


def sync(path: Path) -> None:
    """Brings a file's bytes, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Makes a small file that is there whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(handle)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync(path.parent)


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """A folder and all that is below it, each with its own status, links' included."""
    left = [str(folder)]
    yield left[0], folder.lstat()
    while left:
        for item in os.scandir(left.pop()):
            status = item.stat(follow_symlinks=False)
            yield item.path, status
            if stat.S_ISDIR(status.st_mode):
                left.append(item.path)


def remove_tree(folder: Path) -> None:
    """Deletes a folder, or what stands in its place, however deep it is and however its modes were set."""
    left = [folder]
    while left:
        here = left.pop()
        if not here.is_dir() or here.is_symlink():
            here.unlink(missing_ok=True)
            continue
        here.chmod(0o700)
        for item in here.iterdir():
            if item.is_symlink() or not item.is_dir():
                item.unlink()
                continue
            item.chmod(0o700)
            # Beside the folder: paths would become longer than the system takes. Who lists what is there knows whose part it is.
            left.append(item.rename(folder.with_name(f".{folder.name.lstrip('.')[:NAME_KEPT]}.{uuid4().hex}")))
        here.rmdir()


def name_again(file: Path, name: Path) -> None:
    """Gives a file a second name, in the place of what has it; a copy of that name where the disk has no second names."""
    fresh = name.with_name(f".{name.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        try:
            os.link(file, fresh)
        except OSError:
            shutil.copy2(file, fresh)
            sync(fresh)
        fresh.replace(name)
    finally:
        fresh.unlink(missing_ok=True)


def remove_if_possible(folder: Path) -> None:
    """As `remove_tree`; what the disk does not let be deleted stays."""
    with suppress(OSError):
        remove_tree(folder)
