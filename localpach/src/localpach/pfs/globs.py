"""Pachyderm's glob language: `* ** ? [a-z] {a,b} (a|b) @() ?() *() +() !()`; brackets `( )` capture for joins and groups."""

from __future__ import annotations

import re
from functools import lru_cache

from localpach.errors import Refused

_SPECIAL = re.compile(r"[*?\[\]{}!()@+^\\]")
_QUANTIFIER = {"@": "", "?": "?", "*": "*", "+": "+"}


class Glob:
    """A compiled pattern.

    Attributes:
        pattern: in absolute form.
        prefix: the deepest directory that all matches lie below.
        depth: how many path elements a match can have at most; None without bound.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = "/" + pattern.strip("/")
        special = _SPECIAL.search(self.pattern)
        self.is_literal = special is None
        literal = self.pattern[: special.start()] if special else self.pattern
        self.prefix = literal[: literal.rfind("/")] or "/"
        self.depth = None if "**" in self.pattern or "!" in self.pattern else self.pattern.count("/")
        self._regex = re.compile(_Translator(self.pattern).translate(), re.DOTALL)

    def matches(self, path: str) -> bool:
        """Whether a clean path matches as a whole."""
        return bool(self._regex.fullmatch(path))

    def captures(self, path: str) -> list[str] | None:
        """What the capture groups hold, or None where `path` does not match."""
        match = self._regex.fullmatch(path)
        return [group or "" for group in match.groups()] if match else None

    def expand(self, template: str, path: str) -> str:
        """`template` with `$1`, `${1}` … replaced by what the groups captured in `path`."""
        groups = self.captures(path) or []

        def group(match: re.Match[str]) -> str:
            number = int(match[1] or match[2])
            return path if number == 0 else groups[number - 1] if number <= len(groups) else ""

        return re.sub(r"\$(?:(\d+)|\{(\d+)\})", group, template)


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> Glob:
    """The compiled form of `pattern`.

    Raises:
        Refused: it is not well-formed.
    """
    return Glob(pattern)


class _Translator:
    """Recursive descent from glob to regular expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def translate(self) -> str:
        return self._sequence("")

    def _peek(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._text[place] if place < len(self._text) else ""

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise Refused("unexpected end of input")
        self._at += 1
        return self._text[self._at - 1]

    def _sequence(self, stops: str) -> str:
        pieces: list[str] = []
        while self._at < len(self._text) and self._peek() not in stops:
            pieces.append(self._one())
        return "".join(pieces)

    def _one(self) -> str:
        char = self._next()
        if char in "@?*+!" and self._peek() == "(":
            self._next()
            return self._group(char)
        if char == "*":
            if self._peek() != "*":
                return "[^/]*"
            while self._peek() == "*":
                self._next()
            return ".*"
        if char == "?":
            return "[^/]"
        if char == "[":
            return self._class()
        if char == "{":
            return self._braces()
        if char == "(":
            return self._group("@")
        if char == "\\":
            return re.escape(self._next())
        return re.escape(char)

    def _group(self, kind: str) -> str:
        options = [self._sequence("|)")]
        while self._next() == "|":
            options.append(self._sequence("|)"))
        body = "|".join(options)
        if kind == "!":
            return f"((?!(?:{body})(?:/|$))[^/]*)"
        return f"({body})" if kind == "@" else f"((?:{body}){_QUANTIFIER[kind]})"

    def _braces(self) -> str:
        options = [self._sequence(",}")]
        while self._next() == ",":
            options.append(self._sequence(",}"))
        return f"(?:{'|'.join(options)})"

    def _class(self) -> str:
        negated = self._peek() in ("!", "^")
        if negated:
            self._next()
        body = ""
        while (char := self._next()) != "]" or not body:
            if char == "[" and self._peek() == ":":
                end = self._text.find(":]", self._at)
                if end < 0:
                    raise Refused("unexpected end of input")
                body += _POSIX.get(self._text[self._at + 1 : end], "")
                self._at = end + 2
            elif char == "\\":
                body += re.escape(self._next())
            else:
                body += char if char == "-" else re.escape(char)
        return f"[^/{body}]" if negated else f"[{body}]"


_POSIX = {
    "alpha": "a-zA-Z",
    "alnum": "a-zA-Z0-9",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "space": r"\s",
    "punct": r"!-/:-@\[-`{-~",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}
