"""Scripts as scenes of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from model.readers import Found, read_parts
from model.readers.parts import Cue, Direction, Heading, Part, Said
from model.tokens import BONAME, CLOSE_EXP, CLOSE_SCENE, EOL, EONAME, OPEN_EXP, OPEN_SCENE, lower_tokens


class Line(NamedTuple):
    """One line of a script: what is spoken, a direction or a heading, and who begins to speak with it."""

    speaker: tuple[str, ...]
    tokens: tuple[str, ...]
    verse: bool = False  # a line of verse that another follows


Scene = list[Line]


class Script(NamedTuple):
    """A file's scenes, the parts that they are made of, and what was found."""

    scenes: list[Scene]
    parts: list[Part]
    found: Found


def read_script(text: str, form: str | None = None) -> Script:
    """Reads a script in the format that it seems to have, or in a given one."""
    reading, found = read_parts(text, form)
    return Script(list(list_scenes(reading.parts)), reading.parts, found)


def list_scenes(parts: Iterable[Part]) -> Iterator[Scene]:
    """The scenes that parts make; what comes before the first heading is one."""
    scene: Scene = []
    speaker: tuple[str, ...] = ()
    for part in parts:
        if isinstance(part, Heading):
            if scene:
                yield scene
            scene, speaker = [Line((), (OPEN_SCENE, *lower_tokens(part.text), CLOSE_SCENE))], ()
        elif isinstance(part, Cue):
            speaker = lower_tokens(part.name)
        elif isinstance(part, Direction):
            scene.append(Line(speaker, (OPEN_EXP, *lower_tokens(part.text), CLOSE_EXP)))
            speaker = ()
        else:
            rows = [tokens for row in part.text.split("\n") if (tokens := lower_tokens(row))]
            for place, tokens in enumerate(rows, 1):
                scene.append(Line(speaker, tokens, place < len(rows)))
                speaker = ()
    if scene:
        yield scene


def flatten(lines: Iterable[Line]) -> Iterator[str]:
    """The token sequence of some lines."""
    for line in lines:
        if line.speaker:
            yield from (BONAME, *line.speaker, EONAME)
        yield from line.tokens
        if line.verse:
            yield EOL


__all__ = ["Line", "Said", "Scene", "Script", "flatten", "list_scenes", "read_script"]
