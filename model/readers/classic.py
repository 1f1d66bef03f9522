"""The classic example's tokens, which a file may be written in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import regex

from model.readers.parts import Cue, Direction, Heading, Part, Reading, Said

_TOKEN = regex.compile(
    r"<(?:boname|eoname|eos|eol|open-exp|close-exp|open-scene|close-scene|question|exclamation|ellipsis)>"
)
_PIECE = regex.compile(
    r"<(boname)>(.*?)<eoname>|<(open-exp)>(.*?)<close-exp>|<(open-scene)>(.*?)<close-scene>", regex.S
)
_SHOWN = {"<eos>": ".", "<question>": "?", "<exclamation>": "!", "<ellipsis>": "...", "<eol>": "\n"}


def score(text: str) -> float:
    """1 where every twentieth word or more is a token with a name of its own."""
    marks = len(_TOKEN.findall(text))
    return min(1.0, 20 * marks / max(1, len(text.split())))


def read(text: str) -> Reading:
    """Names, directions and headings by their tokens."""
    return Reading(list(_read(text)), Counter())


def _read(text: str) -> Iterator[Part]:
    place = 0
    for piece in _PIECE.finditer(text):
        yield from _said(text[place : piece.start()])
        inside = " ".join(_show(piece[2] or piece[4] or piece[6] or "").split())
        if piece[1]:
            yield Cue(inside)
        elif piece[3]:
            yield Direction(inside)
        else:
            yield Heading(inside)
        place = piece.end()
    yield from _said(text[place:])


def _said(text: str) -> Iterator[Part]:
    shown = "\n".join(" ".join(row.split()) for row in _show(text.replace("\n", " ")).split("\n"))
    if shown.strip():
        yield Said(shown.strip())


def _show(text: str) -> str:
    return _TOKEN.sub(lambda mark: _SHOWN.get(mark[0], ""), text)
