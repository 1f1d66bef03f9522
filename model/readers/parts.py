"""What a script is made of, whichever format it comes in."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Heading(NamedTuple):
    """A scene begins: where it plays, what the script calls it, if it says so ("SCENE", "Auftritt"), and whether that is
    an act or a chapter."""

    text: str
    label: str = ""
    act: bool = False


class Cue(NamedTuple):
    """Someone begins to speak."""

    name: str


class Said(NamedTuple):
    """What is spoken or told: a paragraph, or verse with a line break where a line ends."""

    text: str


class Direction(NamedTuple):
    """What happens."""

    text: str


Part = Heading | Cue | Said | Direction


class Reading(NamedTuple):
    """A script in parts, and how many words of the file are none of it, by what they are."""

    parts: list[Part]
    left_out: Counter[str]


def count_words(text: str) -> int:
    """Words as blanks set them apart."""
    return len(text.split())
