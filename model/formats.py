"""Scenes as text, Fountain or JSON, all with the same scenes."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Sequence

from model.readers.headings import find_slug
from model.style import Style, capitals
from model.tokens import is_blankless
from model.typeset import FILMS, Direction, Scene, Speech

WIDTH = 72
_SPEECH, _ASIDE, _NAME = 10, 15, 20  # columns of a typed screenplay


def format_text(scenes: Sequence[Scene], style: Style | None = None) -> str:
    """A typed script, in the form of those that were read: a play with names on lines of their own and directions in
    brackets, a transcript with names before a colon, or a screenplay with names far in."""
    form = style.form if style else "play"
    blocks = []
    for number, scene in enumerate(scenes, 1):
        if scene.heading is not None:
            blocks.append(_wrap(_heading(scene.heading, number, style)))
        for element in scene.elements:
            if form in FILMS:
                blocks += _typed(element)
            elif isinstance(element, Direction):
                blocks.append(_wrap(f"[{element.text}]"))
            else:
                blocks.append(_spoken(element, form == "transcript"))
    return "\n\n".join(blocks) + "\n"


def _heading(heading: str, number: int, style: Style | None) -> str:
    if not style and not heading:
        return "* * *"
    if not style and heading.lower().split(".")[0] in ("int", "ext", "int/ext"):
        return heading.upper()
    if find_slug(heading):
        return heading
    return f"{style.scene if style else 'SCENE'} {number}. {heading}".rstrip()


def _spoken(speech: Speech, inline: bool) -> str:
    said = _join(speech.parts, " ")
    if "\n" in said and max(map(len, said.split("\n"))) > WIDTH:
        said = _join(speech.parts, "\n")  # a line of verse is not wrapped because something happens in it
    if speech.continued or not speech.speaker:
        return _wrap(said)
    if inline:
        return _wrap(f"{speech.speaker}{_colon(speech.speaker)}{said}")
    loud = is_loud(speech.speaker)
    return f"{speech.speaker}{'' if loud else _colon(speech.speaker).strip()}\n{_wrap(said)}"


def is_loud(name: str) -> bool:
    """Whether a name is written in capitals."""
    return name == capitals(name) != name.lower()


def _colon(name: str) -> str:
    return "：" if is_blankless(name[-1]) else ": "


def _join(parts: Sequence[str | Direction], between: str) -> str:
    shown = (f"[{part.text}]" if isinstance(part, Direction) else part for part in parts)
    return re.sub(r"\s*\n\s*", "\n", between.join(shown)).strip("\n")


def _typed(element: Direction | Speech) -> list[str]:
    """An element in a screenplay's columns."""
    if isinstance(element, Direction):
        return [_wrap(element.text, 60)]
    if not element.speaker:
        return [_wrap(part if isinstance(part, str) else part.text, 60) for part in element.parts]
    lines = [" " * _NAME + capitals(element.speaker) + " (CONT'D)" * element.continued]
    for part in element.parts:
        if isinstance(part, Direction):
            lines.append(textwrap.indent(_wrap(f"({part.text})", 30), " " * _ASIDE))
        else:
            lines.append(textwrap.indent(_wrap(part.strip("\n"), 36), " " * _SPEECH))
    return ["\n".join(lines)]


def _wrap(text: str, width: int = WIDTH) -> str:
    """Rows of a width; lines of verse stay lines."""
    return "\n".join(_fill(row, width) for row in text.split("\n"))


def _fill(text: str, width: int) -> str:
    if not any(unicodedata.east_asian_width(char) in "WF" for char in text):
        return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    # Scripts without blanks: a row ends where it is full, but before no mark that closes.
    rows, row, filled = [], "", 0
    for char in text:
        wide = 1 + (unicodedata.east_asian_width(char) in "WF")
        if filled + wide > width and unicodedata.category(char) not in ("Po", "Pe", "Pf", "Mn", "Mc"):
            rows.append(row)
            row, filled = "", 0
        row, filled = row + char, filled + wide
    return "\n".join([*rows, row])


# What a line of action must not look like: https://fountain.io/syntax
_NOT_ACTION = re.compile(r"(int|ext|est|i/e)[. /]|[.@!>~#=]", re.IGNORECASE)


def format_fountain(scenes: Sequence[Scene], title: str, style: Style | None = None) -> str:
    """A screenplay in Fountain 1.1, in which every element is read as what it is; forced where it has to be."""
    blocks = [f"Title: {title}"]
    for number, scene in enumerate(scenes, 1):
        if scene.heading:
            heading = capitals(_escaped(scene.heading))
            blocks.append(heading if re.match(r"(INT|EXT|INT\.?/EXT)[. ]", heading) else f".{heading}")
        elif scene.heading is not None:
            blocks.append(f".{style.scene if style else 'SCENE'} {number}")
        for element in scene.elements:
            if isinstance(element, Direction):
                blocks.append(_action(element.text))
            elif not element.speaker:
                blocks.extend(_action(part if isinstance(part, str) else part.text) for part in element.parts)
            else:
                lines = [
                    f"({_escaped(part.text)})" if isinstance(part, Direction) else _escaped(part.strip("\n"))
                    for part in element.parts
                ]
                blocks.append("\n".join([_cue(element), *lines]))
    return "\n\n".join(blocks) + "\n"


def _cue(speech: Speech) -> str:
    name = _escaped(speech.speaker)
    return f"{name if name[0].isalnum() and is_loud(name) else f'@{name}'}{' (CONT' + chr(39) + 'D)' if speech.continued else ''}"


def _action(text: str) -> str:
    text = _escaped(text)
    return f"!{text}" if _NOT_ACTION.match(text) or text == text.upper() else text


def _escaped(text: str) -> str:
    """Without what Fountain reads as emphasis, notes or comments."""
    return re.sub(r"([*_])", r"\\\1", text).replace("[[", "[ [").replace("/*", "/ *")


def format_json(scenes: Sequence[Scene]) -> str:
    """`{"scenes": [{"heading", "elements": [{"direction"} | {"speaker", "continued", "parts": [{"text"} | {"direction"}]}]}]}`."""

    def shown(element: Direction | Speech) -> dict[str, object]:
        if isinstance(element, Direction):
            return {"direction": element.text}
        parts = [{"direction": p.text} if isinstance(p, Direction) else {"text": p.strip("\n")} for p in element.parts]
        return {"speaker": element.speaker, "continued": element.continued, "parts": parts}

    found = [
        {"heading": scene.heading or "", "elements": [shown(element) for element in scene.elements]} for scene in scenes
    ]
    return json.dumps({"scenes": found}, indent=2, ensure_ascii=False) + "\n"
