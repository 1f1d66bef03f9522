"""Tokens as scenes: what is said by whom, and what happens.

What a model writes is only nearly well formed: a name may never close, a direction may stand in a direction. Such
tokens lose their marks, never their words. The classic example's tokens keep their case and do not say where scenes
begin; `read_scenes` without a style reads those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from model.style import Style, join_words, list_marks
from model.tokens import BONAME, CLOSE_EXP, CLOSE_SCENE, ENDS, EOL, EONAME, EOS, OPEN_EXP, OPEN_SCENE

LONGEST_NAME = 12  # tokens
LONGEST_ASIDE = 6  # words of a direction that stands inside a speech
LONGEST_DIRECTION = 200  # tokens, with what comes before it
_MARK = re.compile(r"(<[a-z-]+>)")
_BRACKETS = {"<open-brack>": OPEN_EXP, "<close-brack>": CLOSE_EXP}
_COMES = frozenset(("enter", "enters", "re-enter"))
_LEAVES = frozenset(("exit", "exits", "exeunt", "exuent"))
# A direction that begins with one of these says what happens; others, where a scene ends, say where the next one plays.
_HAPPENS = (
    _COMES
    | _LEAVES
    | frozenset(
        [
            "aside",
            "to",
            "they",
            "he",
            "she",
            "alarum",
            "alarums",
            "excursions",
            "flourish",
            "sennet",
            "trumpet",
            "trumpets",
            "drum",
            "drums",
            "march",
            "music",
            "thunder",
            "knocking",
            "noise",
            "cornets",
            "horns",
            "here",
            "dies",
            "reads",
            "reading",
            "sings",
            "singing",
            "within",
            "kneels",
            "kneeling",
            "rises",
            "draws",
            "gives",
            "giving",
            "takes",
            "going",
            "coming",
            "sound",
        ]
    )
)
_ARTICLES = frozenset(("a", "an", "the", "another"))
_CAMERA = frozenset(("int", "ext", "int.", "ext.", "int/ext"))
FILMS = frozenset(("screenplay", "fountain", "final-draft"))


class Direction(NamedTuple):
    """What happens on the stage."""

    text: str


class Speech(NamedTuple):
    """What someone says, with short directions in it and line breaks where it is verse; the speaker is "" where none is
    named."""

    speaker: str
    parts: list[str | Direction]
    continued: bool  # goes on after a direction


class Scene(NamedTuple):
    """A scene, and where it plays, if that is said; None: it has no heading at all."""

    heading: str | None
    elements: list[Direction | Speech]


class _Block(NamedTuple):
    kind: str  # BONAME, OPEN_EXP, OPEN_SCENE, or "" for what is spoken
    words: list[str]


def read_scenes(tokens: Iterable[str], style: Style | None = None) -> list[Scene]:
    """The scenes that some tokens make, written in a style; without one the tokens are the classic example's."""
    scenes = [Scene(None, [])]
    before: _Block | None = None
    speaker, silent = "", True  # whose turn it is, and whether they have yet to say something
    for block in _blocks(tokens):
        elements = scenes[-1].elements
        if block.kind == BONAME:
            speaker, silent = _name(block.words, style), True
        elif block.kind == OPEN_SCENE or (not style and block.kind == OPEN_EXP and _begins_scene(block, before)):
            scenes.append(Scene(style.heading(block.words) if style else _prose(block.words, None).lstrip("- "), []))
            speaker, silent = "", True
        elif block.kind == OPEN_EXP and not (speaker and _is_aside(block, style)):
            elements.append(Direction(_prose(block.words, style)))
        elif block.words:
            said = _said(block, style)
            last = elements[-1] if elements else None
            if isinstance(last, Speech) and last.speaker == speaker and not silent:
                last.parts.append(said)
            else:
                elements.append(Speech(speaker, [said], continued=not silent and speaker != ""))
            silent = False
        before = block
    return scenes if scenes[0].elements else scenes[1:]


def _name(words: Sequence[str], style: Style | None) -> str:
    return style.name(words) if style else join_words(list(list_marks(words))).upper().replace("_", " ")


def _prose(words: Sequence[str], style: Style | None, capital: bool = True) -> str:
    return style.prose(words, capital) if style else join_words(list(list_marks(words)), {"i": "I"})


def _said(block: _Block, style: Style | None) -> str | Direction:
    if block.kind != OPEN_EXP:
        return _prose(block.words, style)
    return Direction(
        _prose(block.words, style, style.aside_capitals) if style else _prose(block.words, None).rstrip(".")
    )


def ends_with_a_new_scene(tokens: Sequence[str]) -> bool:
    """Whether the last of these classic tokens, a direction, say where a scene plays that comes after another one."""
    *_, before, last = [None, None, *_blocks(tokens[-LONGEST_DIRECTION:])]
    return before is not None and last is not None and last.kind == OPEN_EXP and _begins_scene(last, before)


def _blocks(tokens: Iterable[str]) -> Iterator[_Block]:
    """Names, headings, directions, and the words between them."""
    kind, words = "", list[str]()
    for token in _pieces(tokens):
        if token in (BONAME, EONAME, OPEN_EXP, CLOSE_EXP, OPEN_SCENE, CLOSE_SCENE):
            named = kind == BONAME and token == EONAME and len(words) <= LONGEST_NAME and not ENDS.keys() & set(words)
            headed = kind == OPEN_SCENE and token == CLOSE_SCENE
            yield from _block(kind if kind not in (BONAME, OPEN_SCENE) or named or headed else "", words)
            kind, words = (token if token in (BONAME, OPEN_EXP, OPEN_SCENE) else ""), []
        else:
            words.append(token)
    yield from _block(kind if kind not in (BONAME, OPEN_SCENE) else "", words)


def _block(kind: str, words: list[str]) -> Iterator[_Block]:
    while words and words[0] in (EOS, EOL):  # the classic tokens end a line, too, with <eos>
        words = words[1:]
    while words and words[-1] == EOL and kind:
        words = words[:-1]
    if words or kind == OPEN_SCENE:
        yield _Block(kind, words)


def _pieces(tokens: Iterable[str]) -> Iterator[str]:
    """The tokens, with marks that cling to a word as tokens of their own."""
    for token in tokens:
        for piece in _MARK.split(token):
            if piece:
                yield _BRACKETS.get(piece, piece)


def _begins_scene(block: _Block, before: _Block | None) -> bool:
    """Whether a direction says where a scene plays: in a film's manner, or first of all, or after all have left."""
    words = [word.lower() for word in block.words]
    if words[0] in _CAMERA or set(words) == {"-"}:
        return True
    left = before is None or (before.kind == OPEN_EXP and any(word.lower() in _LEAVES for word in before.words))
    return left and words[0] not in _HAPPENS and not _COMES & set(words)


def _is_aside(block: _Block, style: Style | None) -> bool:
    words = [word.lower() for word in block.words if word != EOS]
    if not words or (style and style.form in FILMS and block.words[-1] in ENDS):
        return False
    return len(words) <= LONGEST_ASIDE and words[0] not in _ARTICLES and not (_COMES | _LEAVES) & set(words)
