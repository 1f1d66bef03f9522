"""Output written to a folder. Who else writes there can put links on the way: no step follows one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from localpach.egress.places import Place
from localpach.errors import Refused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Folder:
    """A place of this machine, beneath one that is allowed; links on the way to that are those of who allowed it."""

    def __init__(self, place: Place, allowed: Place, mark: str) -> None:
        """What is being written has `mark` in its name: a file that a killed server has left gives way to its like."""
        self._place = place
        self._steps = place.steps[len(allowed.steps) :]
        self._fresh = f".{mark}.egress"
        with self._told(str(allowed.folder)):
            self._handle = os.open(allowed.folder, os.O_RDONLY | os.O_DIRECTORY)

    def put(self, path: str, size: int, content: Iterable[bytes]) -> None:
        """Writes a file, which is there whole or not at all."""
        *steps, name = path.strip("/").split("/")
        with self._told(path), self._opened([*self._steps, *steps]) as folder:
            with suppress(FileNotFoundError):
                os.unlink(self._fresh, dir_fd=folder)
            handle = os.open(self._fresh, _NEW, 0o666, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.writelines(content)
                    stream.flush()
                    os.fsync(handle)
                os.replace(self._fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(self._fresh, dir_fd=folder)
                raise
            os.fsync(folder)

    @contextmanager
    def _opened(self, steps: Sequence[str]) -> Iterator[int]:
        """A folder beneath the allowed one, made where there is none."""
        handle = os.dup(self._handle)
        try:
            for step in steps:
                with suppress(FileExistsError):
                    os.mkdir(step, dir_fd=handle)
                    os.fsync(handle)
                below = os.open(step, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Refused(f"egress to {self._place}: {path} can't be written: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._handle)
