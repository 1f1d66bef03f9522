"""`.dockerignore`: which files of a build's folder Docker would not see.

The patterns are those of Go's `filepath.Match`, and `**` for any number of folders; with `!` a pattern takes in again. The
last pattern that matches a path or a folder above it counts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import re2

from localpach.errors import Refused

# No pattern takes long, whatever is in it.
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.dot_nl = True


@dataclass(frozen=True)
class _Pattern:
    """`parts` are those of its names that are matched one by one, before one with `**`, if there is any."""

    regex: Any
    parts: tuple[Any, ...]
    is_deep: bool
    is_exception: bool

    def may_match_below(self, folder: PurePosixPath) -> bool:
        if not all(part.fullmatch(name) for part, name in zip(self.parts, map(_text, folder.parts), strict=False)):
            return False
        return self.is_deep or len(self.parts) > len(folder.parts)


class DockerIgnore:
    """The patterns of one file, in order."""

    def __init__(self, text: str) -> None:
        """Raises Refused for a pattern that Docker refuses."""
        self._patterns = [_parse(line) for line in text.removeprefix("\ufeff").splitlines() if _says_something(line)]

    @classmethod
    def of(cls, context: Path) -> DockerIgnore:
        """The patterns for a build's folder; none where it has no such file."""
        file = context / ".dockerignore"
        return cls(file.read_text(errors="replace") if file.exists() else "")

    def leaves_out(self, path: PurePosixPath) -> bool:
        """Whether a path, relative to the build's folder, is left out."""
        names = [_text(part.as_posix()) for part in (path, *path.parents) if part.name]
        for pattern in reversed(self._patterns):
            if any(pattern.regex.fullmatch(name) for name in names):
                return not pattern.is_exception
        return False

    def walk(self, context: Path, start: PurePosixPath) -> Iterator[PurePosixPath]:
        """What is not left out of `start` and below, relative to the build's folder: files, links and folders, in
        order. A folder that is left out may still hold files that are not."""
        if start.name and not self.leaves_out(start):
            yield start
        folder = context / start
        if not folder.is_dir() or (folder.is_symlink() and start.name):
            return
        if start.name and self.leaves_out(start) and not self._may_take_in_below(start):
            return
        for item in sorted(folder.iterdir()):
            yield from self.walk(context, start / item.name)

    def _may_take_in_below(self, folder: PurePosixPath) -> bool:
        return any(pattern.is_exception and pattern.may_match_below(folder) for pattern in self._patterns)


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _parse(line: str) -> _Pattern:
    text = line.strip()
    is_exception = text.startswith("!")
    text = text.removeprefix("!").strip()
    if not text:
        raise Refused('.dockerignore: "!" alone takes nothing in again; name a pattern behind it')
    text = posixpath.normpath(text).lstrip("/")
    regex = _compiled(text)
    if regex is None:
        raise Refused(f".dockerignore: {line.strip()} is no pattern: a bracket or backslash is left open")
    parts: list[Any] = []
    for name in text.split("/"):
        # A class may hold a slash, too.
        part = None if "**" in name else _compiled(name)
        if part is None:
            return _Pattern(regex, tuple(parts), True, is_exception)
        parts.append(part)
    return _Pattern(regex, tuple(parts), False, is_exception)


def _compiled(text: str) -> Any | None:
    try:
        return _compile(text)
    except (re2.error, IndexError, ValueError):
        return None


def _text(name: str) -> str:
    """A file's name, which need not be UTF-8."""
    return name.encode(errors="replace").decode()


def _compile(text: str) -> Any:
    regex, at = "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if text.startswith("**", at - 1):
            at += 2 if text.startswith("/", at + 1) else 1
            regex += "(?:.*/)?" if at < len(text) else ".*"
        elif char == "*":
            regex += "[^/]*"
        elif char == "?":
            regex += "[^/]"
        elif char == "[":
            end = _end_of_class(text, at)
            regex += _class(text[at:end])
            at = end + 1
        elif char == "\\":
            regex += re2.escape(text[at])
            at += 1
        else:
            regex += re2.escape(char)
    return re2.compile(regex, _OPTIONS)


def _end_of_class(text: str, at: int) -> int:
    while text[at] != "]":
        at += 2 if text[at] == "\\" else 1
    return at


def _class(inside: str) -> str:
    negated = inside.startswith("^")
    chars = re.findall(r"\\?.", inside[negated:], re.DOTALL)
    if not chars:
        raise ValueError("an empty class")
    return f"[{'^' * negated}{''.join(char if char == '-' else re2.escape(char[-1]) for char in chars)}]"
