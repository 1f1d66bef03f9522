"""Play scripts as token sequences and back.

Tokens are those of the classic Game of Thrones example: `<boname> NAME <eoname>` around a speaker, `<open-exp> …
<close-exp>` around a stage direction, `<eos>`, `<question>`, `<exclamation>` and `<ellipsis>` for the marks that end
sentences; other marks and words, in lower case, stand for themselves.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

BONAME, EONAME = "<boname>", "<eoname>"
OPEN_EXP, CLOSE_EXP = "<open-exp>", "<close-exp>"
EOS, QUESTION, EXCLAMATION, ELLIPSIS, UNKNOWN = "<eos>", "<question>", "<exclamation>", "<ellipsis>", "<unk>"
ENDS = {EOS: ".", QUESTION: "?", EXCLAMATION: "!", ELLIPSIS: "..."}
_MARKS = {mark: token for token, mark in ENDS.items()}

_TOKEN = re.compile(r"\.{2,}|--+|<[a-z-]+>|'?[^\W_]+(?:['’-][^\W_]+)*'?|[^\s\w]")
_ACT = re.compile(r"\s*(?:ACT\s+(?:[IVX]+|\d+|[A-Z]+)|PROLOGUE|INDUCTION|EPILOGUE)\b[.:]?\s*$", re.IGNORECASE)
_SCENE = re.compile(r"\s*(?:ACT\s+\w+[.,]?\s+)?SCENE\s+(?:[IVXL]+|\d+|[A-Z]+)\b[.:,]?\s*(.*)$", re.IGNORECASE)
_SLUG = re.compile(r"\s*(?:INT|EXT|CUT TO|FADE)\b[./:]?\s*(.*)$")
_ALONE = re.compile(r" {0,4}([A-Z][\w .,'’&()-]{0,38}?)[.:]?\s*$")
_INLINE_UPPER = re.compile(r" {0,4}([A-Z][A-Z0-9 '’&-]{1,30})[.:]\s+(?=\S)")
_INLINE = re.compile(r" {0,4}([A-Z][\w '’&-]{0,30}):\s+(?=\S)")
_DIRECTION = re.compile(r"\[([^\[\]]*)\]|^\s*\(([^()]*)\)\s*$", re.MULTILINE)
_SMALL = re.compile(r"\b[a-z][^\W_]*(?:['-][^\W_]+)*'?")
_GREAT = re.compile(r"(?<=[a-z,;] )[A-Z][^\W_]*(?:['-][^\W_]+)*'?")
_LICENCE = re.compile(r"\*\*\* ?(START|END) OF (?:THE|THIS) PROJECT GUTENBERG.*", re.IGNORECASE)


class Line(NamedTuple):
    """One line of a script: what is spoken or a stage direction, and who begins to speak with it."""

    speaker: tuple[str, ...]
    tokens: tuple[str, ...]


Scene = list[Line]


def read_script(text: str) -> list[Scene]:
    """The scenes of a script, without what stands before its first heading; a text without headings is one scene."""
    lines = _strip_editorial(text).splitlines()
    heads = [number for number, line in enumerate(lines) if _heading(line) is not None]
    bounds = [*heads, len(lines)] if heads else [0, len(lines)]
    scenes = []
    for start, end in itertools.pairwise(bounds):
        scene = list(_read_scene(lines[start:end], bool(heads)))
        if scene:
            scenes.append(scene)
    return scenes


def _strip_editorial(text: str) -> str:
    """What stands between the marks of a publisher's licence, if it has them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    for mark in _LICENCE.finditer(text):
        if mark[1].upper() == "START":
            text = text[mark.end() :]
            break
    end = next((mark for mark in _LICENCE.finditer(text) if mark[1].upper() == "END"), None)
    return text[: end.start()] if end else text


def _heading(line: str) -> str | None:
    """What a heading says beside its number; None for other lines."""
    for pattern in (_SCENE, _SLUG):
        match = pattern.match(line)
        if match:
            return match[1]
    return "" if _ACT.match(line) else None


def _read_scene(lines: list[str], headed: bool) -> Iterator[Line]:
    if headed:
        place = _heading(lines[0])
        if place:
            yield Line((), (OPEN_EXP, *_words(place), CLOSE_EXP))
        lines = lines[1:]
    body = _DIRECTION.sub(lambda match: f"\n\x00{' '.join((match[1] or match[2] or '').split())}\n", "\n".join(lines))
    speaker: tuple[str, ...] = ()
    fresh = True
    rows = body.split("\n")
    for number, row in enumerate(rows):
        if row.startswith("\x00"):
            if row[1:]:
                yield Line((), (OPEN_EXP, *_words(row[1:]), CLOSE_EXP))
            fresh = True
        elif not row.strip():
            fresh = True
        else:
            name, rest = _speaker(row, fresh, number + 1 < len(rows) and bool(rows[number + 1].strip()))
            if name:
                speaker = tuple(_words(name))
            words = tuple(_words(rest))
            if words:
                yield Line(speaker, words)
                speaker = ()
            fresh = False


def _speaker(row: str, fresh: bool, goes_on: bool) -> tuple[str, str]:
    """The name that a row begins with, and the rest of the row."""
    inline = _INLINE_UPPER.match(row) or (_INLINE.match(row) if fresh else None)
    if inline:
        return inline[1], row[inline.end() :]
    alone = _ALONE.match(row)
    if alone and fresh and goes_on and (row.strip()[-1] in ".:" or row.upper() == row) and len(alone[1].split()) <= 5:
        return alone[1], ""
    return "", row


def _words(text: str) -> Iterator[str]:
    return tokenise(text.replace("_", " ").lower())


def tokenise(text: str) -> Iterator[str]:
    """The words and marks of a text as tokens, each in the case that it has."""
    for match in _TOKEN.finditer(text.replace("…", "...")):
        word = match[0].replace("’", "'")
        yield ELLIPSIS if word.startswith("..") else "--" if word.startswith("--") else _MARKS.get(word, word)


def flatten(lines: list[Line]) -> Iterator[str]:
    """The token sequence of some lines."""
    for line in lines:
        if line.speaker:
            yield from (BONAME, *line.speaker, EONAME)
        yield from line.tokens


def find_capitals(texts: Iterable[str]) -> dict[str, str]:
    """How words are written that stand with a capital inside of sentences more often than they stand without one."""
    small, great = Counter[str](), Counter[str]()
    for text in texts:
        plain = _strip_editorial(text).replace("’", "'")
        small.update(_SMALL.findall(plain))
        great.update(word.capitalize() if word.isupper() else word for word in _GREAT.findall(plain))
    found: dict[str, str] = {}
    for word, count in great.most_common():
        if count > small[word.lower()]:
            found.setdefault(word.lower(), word)
    return dict(sorted(found.items()))
