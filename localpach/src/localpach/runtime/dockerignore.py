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

from localpach.errors import Refused


@dataclass(frozen=True)
class _Pattern:
    text: str
    regex: re.Pattern[str]
    is_exception: bool

    def may_match_below(self, folder: PurePosixPath) -> bool:
        parts = self.text.split("/")
        for pattern, name in zip(parts, folder.parts, strict=False):
            if "**" in pattern:
                return True
            if not _compile(pattern).fullmatch(name):
                return False
        return len(parts) > len(folder.parts)


class DockerIgnore:
    """The patterns of one file, in order."""

    def __init__(self, text: str) -> None:
        """Raises Refused for a pattern that Docker refuses."""
        self._patterns = [_parse(line) for line in text.removeprefix("\ufeff").splitlines() if _says_something(line)]

    @classmethod
    def of(cls, context: Path) -> DockerIgnore:
        """The patterns for a build's folder; none where it has no such file."""
        file = context / ".dockerignore"
        return cls(file.read_text() if file.exists() else "")

    def leaves_out(self, path: PurePosixPath) -> bool:
        """Whether a path, relative to the build's folder, is left out."""
        names = [part.as_posix() for part in (path, *path.parents) if part.name]
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
    try:
        return _Pattern(text, _compile(text), is_exception)
    except (re.error, IndexError, ValueError) as error:
        raise Refused(f".dockerignore: {line.strip()} is no pattern: a bracket or backslash is left open") from error


def _compile(text: str) -> re.Pattern[str]:
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
            regex += re.escape(text[at])
            at += 1
        else:
            regex += re.escape(char)
    return re.compile(regex, re.DOTALL)


def _end_of_class(text: str, at: int) -> int:
    while text[at] != "]":
        at += 2 if text[at] == "\\" else 1
    return at


def _class(inside: str) -> str:
    negated = inside.startswith("^")
    chars = re.findall(r"\\?.", inside[negated:], re.DOTALL)
    if not chars:
        raise ValueError("an empty class")
    return f"[{'^' * negated}{''.join(char if char == '-' else re.escape(char[-1]) for char in chars)}]"
