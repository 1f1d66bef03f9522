"""The files that a command has left in `/pfs/out`: links lead where they led for it, and never out of what was its own.

Nothing here follows a link by the system's means: each step of a path is looked at, below folders that are the command's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from localpach.errors import Refused
from localpach.pfs import paths

OUT = "/pfs/out"
LINKS = 40
# Of directories, one after another on the way to a file.
LINKS_ON_THE_WAY = 8
# Of files and directories.
LINKED = 100_000
# How overlayfs marks a directory that hides those below it.
_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")

Places = Mapping[str, tuple[Path, ...]]


class Output(NamedTuple):
    """A file to be stored at a path, which the command saw at `seen`; `is_linked` where a link led to it, so that it must
    stay where it is."""

    path: str
    file: Path
    seen: str
    is_linked: bool


class _Node(NamedTuple):
    """What stands at a path that the command saw: in layers, for a directory, the upper first."""

    path: str
    files: tuple[Path, ...]
    mode: int

    def link(self) -> str:
        return str(self.files[0].readlink())


class Outputs:
    """What is to be uploaded of a command's files, which lie at `places`: folders by where the command saw them."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._linked = 0

    def __iter__(self) -> Iterator[Output]:
        """All files, those that links lead to first: the others are moved.

        Raises:
            Refused: something that can't be uploaded, by its path.
        """
        try:
            found = list(self._below())
        except OSError as error:
            raise Refused(f"{OUT} can't be read: {error.strerror}") from error
        yield from sorted(found, key=lambda each: (not each.is_linked, each.path))

    def _below(self) -> Iterator[Output]:
        root = self._at(OUT, self._places[OUT])
        if root is None or not stat.S_ISDIR(root.mode):
            raise Refused(f"{OUT} is not there any more, or is no directory: write files into it, and leave it be")
        # Paths to be uploaded as, what stands there, how many links are on the way, and the directories that it is in.
        left = [("", root, 0, frozenset({OUT}))]
        while left:
            path, folder, links, above = left.pop()
            for name in self._names(folder):
                here = _checked(f"{path}/{name}")
                node = self._child(folder, name)
                assert node is not None
                target = self._follow(here, node) if stat.S_ISLNK(node.mode) else node
                passed = links + (target is not node)
                self._count(passed > 0)
                if stat.S_ISDIR(target.mode):
                    if target.path in above:
                        raise Refused(f"{here} in {OUT} is a link to a directory that it is in itself: it has no end")
                    if passed > LINKS_ON_THE_WAY:
                        raise Refused(f"{here} in {OUT} has more than {LINKS_ON_THE_WAY} links on its way")
                    left.append((here, target, passed, above | {target.path}))
                elif stat.S_ISREG(target.mode):
                    yield Output(here, _readable(target), target.path, passed > 0)
                else:
                    raise Refused(f"{here} in {OUT} is neither a file nor a directory: write regular files there")

    def _count(self, is_linked: bool) -> None:
        self._linked += is_linked
        if self._linked > LINKED:
            raise Refused(f"links in {OUT} lead to more than {LINKED} files and directories; leave fewer links there")

    def _follow(self, output: str, link: _Node) -> _Node:
        """Where a link leads."""
        here = [_Node("/", (), stat.S_IFDIR)]
        rest = _parts(link.path)
        links = 0
        while rest:
            name = rest.pop()
            if name == "..":
                here = here[:-1] or here
                continue
            node = self._child(here[-1], name)
            if node is None:
                raise Refused(f"{output} in {OUT} is a link to {_shown(link.link())}: {self._why(here[-1], name)}")
            if not stat.S_ISLNK(node.mode):
                here.append(node)
                continue
            links += 1
            if links > LINKS:
                raise Refused(f"{output} in {OUT} is a link that leads to no end")
            target = node.link()
            rest += _parts(target)
            here = here[:1] if target.startswith("/") else here
        return here[-1]

    def _why(self, folder: _Node, name: str) -> str:
        path = _join(folder.path, name)
        if any(path.startswith(f"{place}/") for place in self._places):
            return "there is nothing"
        return "only links to inputs and to the command's own files work"

    def _child(self, folder: _Node, name: str) -> _Node | None:
        path = _join(folder.path, name)
        if path in self._places:
            return self._at(path, self._places[path])
        if not folder.files:
            below = any(place.startswith(f"{path}/") for place in self._places)
            return _Node(path, (), stat.S_IFDIR) if below else None
        return self._at(path, tuple(layer / name for layer in folder.files)) if stat.S_ISDIR(folder.mode) else None

    def _at(self, path: str, layers: tuple[Path, ...]) -> _Node | None:
        """What the layers have at a path together."""
        found: list[Path] = []
        for layer in layers:
            try:
                status = layer.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(status.st_mode):
                # Deleted things are devices without a number in the upper layer.
                is_gone = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
                if not found and not is_gone:
                    return _Node(path, (layer,), status.st_mode)
                break
            if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                layer.chmod(0o700)
            found.append(layer)
            if _is_opaque(layer):
                break
        return _Node(path, tuple(found), stat.S_IFDIR) if found else None

    def _names(self, folder: _Node) -> list[str]:
        """What is in a directory."""
        if not folder.files:
            inside = {place[len(folder.path.rstrip("/")) + 1 :].split("/")[0] for place in self._places}
            return sorted(inside)
        names = {item.name for layer in folder.files for item in layer.iterdir()}
        return sorted(name for name in names if self._child(folder, name) is not None)


def _checked(path: str) -> str:
    if path.count("/") > paths.LEVELS:
        raise Refused(f"{_shown(path[:40])}… in {OUT} is more than {paths.LEVELS} directories deep")
    shown = _shown(path)
    if shown != path:
        raise Refused(f"path ({shown}) in {OUT} invalid: only printable ASCII characters allowed")
    return paths.check(path)


def _readable(node: _Node) -> Path:
    if not node.mode & stat.S_IRUSR:
        node.files[0].chmod(0o600)
    return node.files[0]


def _is_opaque(folder: Path) -> bool:
    for name in _OPAQUE:
        with suppress(OSError):
            return os.getxattr(folder, name) == b"y"
    return False


def _parts(path: str) -> list[str]:
    """The steps of a path, the last first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _shown(path: str) -> str:
    """A path whose bytes may be no text, as one."""
    return path.encode(errors="backslashreplace").decode()
