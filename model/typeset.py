"""Tokens as a script for readers: plain text, Fountain, or JSON.

What a model writes is only nearly well formed: a name may never close, a direction may stand in a direction. Such
tokens lose their marks, never their words. Plays are read in one case; `spelling` gives words their capitals back. The
classic example's tokens, which keep their case, are put together as they are.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from model.scripts import BONAME, CLOSE_EXP, ENDS, EONAME, EOS, OPEN_EXP

WIDTH = 72
LONGEST_NAME = 6  # words
LONGEST_ASIDE = 6  # words of a direction that stands inside a speech
LONGEST_DIRECTION = 200  # tokens, with what comes before it
_MARK = re.compile(r"(<[a-z-]+>)")
_BRACKETS = {"<open-brack>": OPEN_EXP, "<close-brack>": CLOSE_EXP}
_QUOTES = {"<boquote>": "“", "<eoquote>": "”"}
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


class Direction(NamedTuple):
    """What happens on the stage."""

    text: str


class Speech(NamedTuple):
    """What someone says, with short directions in it; the speaker is "" where none is named."""

    speaker: str
    parts: list[str | Direction]
    continued: bool  # goes on after a direction


class Scene(NamedTuple):
    """A scene, and where it plays, if that is said."""

    heading: str
    elements: list[Direction | Speech]


class _Block(NamedTuple):
    kind: str  # BONAME, OPEN_EXP, or "" for what is spoken
    words: list[str]


def read_scenes(tokens: Iterable[str], spelling: Mapping[str, str] | None = None) -> list[Scene]:
    """The scenes that some tokens make."""
    scenes = [Scene("", [])]
    before: _Block | None = None
    speaker, silent = "", True  # whose turn it is, and whether they have yet to say something
    for block in _blocks(tokens):
        elements = scenes[-1].elements
        text = join_words(block.words, spelling or {})
        if block.kind == BONAME:
            speaker, silent = text.upper().replace("_", " "), True
        elif block.kind == OPEN_EXP and _begins_scene(block, before):
            scenes.append(Scene(text.lstrip("- "), []))
            speaker, silent = "", True
        elif block.kind == OPEN_EXP and not (speaker and _is_aside(block)):
            elements.append(Direction(text))
        elif text:
            said = Direction(text.rstrip(".")) if block.kind == OPEN_EXP else text
            last = elements[-1] if elements else None
            if isinstance(last, Speech) and last.speaker == speaker and not silent:
                last.parts.append(said)
            else:
                elements.append(Speech(speaker, [said], continued=not silent and speaker != ""))
            silent = False
        before = block
    return [scene for scene in scenes if scene.heading or scene.elements]


def ends_with_a_new_scene(tokens: Sequence[str]) -> bool:
    """Whether the last of these tokens, a direction, say where a scene plays that comes after another one."""
    *_, before, last = [None, None, *_blocks(tokens[-LONGEST_DIRECTION:])]
    return before is not None and last is not None and last.kind == OPEN_EXP and _begins_scene(last, before)


def _blocks(tokens: Iterable[str]) -> Iterator[_Block]:
    """Names, directions, and the words between them."""
    kind, words = "", list[str]()
    for token in _pieces(tokens):
        if token in (BONAME, EONAME, OPEN_EXP, CLOSE_EXP):
            named = kind == BONAME and token == EONAME and len(words) <= LONGEST_NAME and not ENDS.keys() & set(words)
            yield from _block(kind if kind != BONAME or named else "", words)
            kind, words = (token if token in (BONAME, OPEN_EXP) else ""), []
        else:
            words.append(token)
    yield from _block(kind if kind != BONAME else "", words)


def _block(kind: str, words: list[str]) -> Iterator[_Block]:
    while words and words[0] == EOS:  # the classic tokens end a line, too, with <eos>
        words = words[1:]
    if words:
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


def _is_aside(block: _Block) -> bool:
    words = [word.lower() for word in block.words if word != EOS]
    return len(words) <= LONGEST_ASIDE and words[0] not in _ARTICLES and not (_COMES | _LEAVES) & set(words)


_CLOSING = frozenset(",.;:!?)]}'”") | {"...", "--"}
_OPENING = frozenset("([{“") | {"--"}
_CLITICS = frozenset(("'s", "'ll", "'re", "'ve", "'d", "'m", "'t"))


def join_words(tokens: Sequence[str], spelling: Mapping[str, str]) -> str:
    """Words put together: marks where they belong, a capital where a sentence begins."""
    text = ""
    begin = glue = True
    quoted = False
    for word in _marks(tokens):
        shown = spelling.get(word, word)
        if re.fullmatch("i('[a-z]+)?", word):
            shown = f"I{word[1:]}"
        closing = word in _CLOSING or word in _CLITICS or (word == '"' and quoted)
        thousands = text.endswith(",") and text[-2:-1].isdigit() and len(word) == 3 and word.isdigit()
        if not (glue or closing or thousands):
            text += " "
        if begin:
            shown = re.sub(r"^(\W*)(\w)", lambda first: first[1] + first[2].upper(), shown)
        text += shown
        quoted ^= word.count('"') % 2 == 1
        begin = word in (".", "?", "!") or (begin and not any(map(str.isalnum, word)))
        glue = word in _OPENING or (word == '"' and quoted)
    return text


def _marks(tokens: Sequence[str]) -> Iterator[str]:
    """Words and marks; in the classic tokens two `<eos>` end sentence and line, and three or more are an ellipsis."""
    run = 0
    before = ""
    for token in (*tokens, ""):
        if token == EOS:
            run += 1
            continue
        if run > 2 or (run and not before.endswith(("?", "!", "...", "--", "."))):
            before = "..." if run > 2 else "."
            yield before
        run = 0
        if token:
            before = ENDS.get(token) or _QUOTES.get(token, token)
            yield before


def format_text(scenes: Sequence[Scene]) -> str:
    """A typed script: scenes numbered, names on lines of their own, directions in brackets, lines of 72 characters."""
    blocks = []
    for number, scene in enumerate(scenes, 1):
        if scene.heading:
            camera = scene.heading.lower().split(".")[0] in _CAMERA
            blocks.append(_wrap(scene.heading.upper() if camera else f"SCENE {number}. {scene.heading}"))
        elif number > 1:
            blocks.append("* * *")
        for element in scene.elements:
            if isinstance(element, Direction):
                blocks.append(_wrap(f"[{element.text}]"))
            else:
                said = _wrap(
                    " ".join(f"[{part.text}]" if isinstance(part, Direction) else part for part in element.parts)
                )
                blocks.append(said if element.continued or not element.speaker else f"{element.speaker}\n{said}")
    return "\n\n".join(blocks) + "\n"


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


# What a line of action must not look like: https://fountain.io/syntax
_NOT_ACTION = re.compile(r"(int|ext|est|i/e)[. /]|[.@!>~#=]", re.IGNORECASE)


def format_fountain(scenes: Sequence[Scene], title: str) -> str:
    """A screenplay in Fountain 1.1, in which every element is read as what it is; forced where it has to be."""
    blocks = [f"Title: {title}"]
    for scene in scenes:
        if scene.heading:
            heading = _escaped(scene.heading).upper()
            blocks.append(heading if re.match(r"(INT|EXT|INT/EXT)[. ]", heading) else f".{heading}")
        for element in scene.elements:
            if isinstance(element, Direction):
                blocks.append(_action(element.text))
            elif not element.speaker:
                blocks.extend(_action(part if isinstance(part, str) else part.text) for part in element.parts)
            else:
                name = _escaped(element.speaker)
                cue = name if name[0].isalnum() and any(map(str.isalpha, name)) else f"@{name}"
                lines = [
                    f"({_escaped(part.text)})" if isinstance(part, Direction) else _escaped(part)
                    for part in element.parts
                ]
                blocks.append("\n".join([cue + " (CONT'D)" * element.continued, *lines]))
    return "\n\n".join(blocks) + "\n"


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
        parts = [{"direction": p.text} if isinstance(p, Direction) else {"text": p} for p in element.parts]
        return {"speaker": element.speaker, "continued": element.continued, "parts": parts}

    found = [{"heading": scene.heading, "elements": [shown(element) for element in scene.elements]} for scene in scenes]
    return json.dumps({"scenes": found}, indent=2, ensure_ascii=False) + "\n"
