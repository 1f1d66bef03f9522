"""Films: Fountain, and typed screenplays, which say by indentation what a row is."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import regex

from model.readers.headings import find_heading, find_slug
from model.readers.parts import Cue, Direction, Heading, Part, Reading, Said, count_words
from model.readers.verse import Width

_NARROW = 24  # columns; a typed speech has about 35
DEEP = 8  # columns by which a typed name stands further in than what is told
_TITLE_KEY = regex.compile(
    r"(?:Title|Credit|Authors?|Source|Draft date|Date|Contact|Copyright|Notes|Revision)\s*:", regex.I
)
_COMMENT = regex.compile(r"/\*.*?\*/|\[\[.*?\]\]", regex.S)
_CUE = regex.compile(r"(?P<name>[\p{L}\p{N}\"“][^a-zß-öø-ÿ()]{0,45}?)(?P<how>(?:\s*\([^()]*\))*)\s*\^?$")
_EXTENSION = regex.compile(
    r"(?:V\.? ?O\.?|O\.? ?S\.?|O\.? ?C\.?|OFF|CONT['’. INUED]*D?\.?|MORE|VOICE ?OVER|PRE-?LAP|FILTERED|SUBTITLED?)(?: ?[/,] ?\w.*)?",
    regex.I,
)
_TRANSITION = regex.compile(r"(?:[\p{Lu} ]+ TO:|FADE (?:IN|OUT|TO \w+)[.:]?|DISSOLVE[\p{Lu} ]*[.:]?|THE END\.?)$")
_FURNITURE = regex.compile(r"\(?CONTINUED:?\)?(?: *\(\d+\))?:?$|\(MORE\)$|\d+\.?$")
_EMPHASIS = regex.compile(r"(?<!\\)[*_]+")


def score(text: str, titled: bool) -> tuple[float, float]:
    """How much a text looks like Fountain, which a title page may tell, and like a typed screenplay."""
    rows = [row for row in text.split("\n") if row.strip()]
    if not rows:
        return 0.0, 0.0
    slugs = sum(find_slug(row) is not None for row in rows)
    named = list(_list_indented_names(text.split("\n")))
    base = _find_base(rows)
    deep = sum(indent >= base + DEEP for indent, _ in named)
    film = min(1.0, 0.6 + 10 * slugs / len(rows)) if slugs >= 2 or 10 * slugs >= len(rows) / 2 else 0.0
    if titled and _TITLE_KEY.match(rows[0]):
        film = 1.0
    typed = deep and deep >= len(named) / 2 and 5 * deep >= len(rows) / 10
    stepped = sum(indent > below for indent, below in named) >= len(named) / 2
    if typed and stepped and (slugs or any(_indent(row) <= base for row in rows)):
        # Plays are typed like that, too, but have no headings of a film's scenes.
        return film / 2, max(film, min(1.0, (0.9 if slugs >= 2 else 0.7) + deep / len(rows)))
    return film, 0.0


def _list_indented_names(rows: list[str]) -> Iterator[tuple[int, int]]:
    """The indentation of each row that looks like a name, and of the row below."""
    for before, row, after in zip(["", *rows], rows, rows[1:], strict=False):
        if not row or not after or (before and not before.isspace()):
            continue
        line = row.strip()
        if (
            line
            and after.strip()
            and len(line) <= 45
            and line == line.upper()
            and _is_cue(line)
            and not find_slug(line)
        ):
            yield _indent(row), _indent(after)


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())


def _find_base(rows: list[str]) -> int:
    """The least indentation that a twentieth of the rows have."""
    counts = Counter(map(_indent, rows))
    return min((indent for indent, count in counts.items() if 20 * count >= len(rows)), default=0)


def _is_cue(line: str) -> bool:
    match = _CUE.match(line)
    return (
        match is not None
        and any(map(str.isalpha, match["name"]))
        and match["name"] == match["name"].upper()
        and not _TRANSITION.match(line)
        and line[-1] not in "!?:"
    )


def make_cue(line: str, left_out: Counter[str]) -> Iterator[Part]:
    """A name and the directions behind it; that the voice is off or goes on is no direction."""
    match = _CUE.match(line)
    yield Cue((match["name"] if match else line).strip(' "“”'))
    for how in regex.findall(r"\(([^()]*)\)", match["how"] if match else ""):
        if _EXTENSION.fullmatch(how.strip()):
            left_out["voice-over and continued"] += 1
        elif how.strip():
            yield Direction(how.strip())


def read_fountain(text: str) -> Reading:
    """Fountain 1.1, and films typed without indentation."""
    left_out = Counter[str]()
    kept = _COMMENT.sub("", text)
    left_out["notes"] += max(0, count_words(text) - count_words(kept))
    head, _, body = kept.lstrip("\n").partition("\n\n")
    if _TITLE_KEY.match(head):
        left_out["title page"] += count_words(head)
        kept = body
    blocks = [block.split("\n") for block in regex.split(r"\n(?: ?\n)+", kept.strip("\n")) if block.strip()]
    width = Width([run for rows in blocks for run in _runs([row.strip() for row in rows[1:]])])
    parts = [part for rows in blocks for part in _fountain_block([row.strip() for row in rows], width, left_out)]
    return Reading([_unescape(part) for part in parts], left_out)


def _fountain_block(rows: list[str], width: Width, left_out: Counter[str]) -> Iterator[Part]:
    first = rows[0]
    slug = find_slug(first)
    forced = first[1:] if regex.match(r"\.[^.\s]", first) else ""
    if slug or forced:
        yield find_heading(forced) or Heading(regex.sub(r"\s*#[^#]*#$", "", slug or forced))
        if len(rows) > 1:
            yield from _fountain_block(rows[1:], width, left_out)
    elif first.startswith(("#", "= ", "===")) or _FURNITURE.match(first):
        left_out["sections and page marks"] += count_words(first)
        if len(rows) > 1:
            yield from _fountain_block(rows[1:], width, left_out)
    elif len(rows) > 1 and (first.startswith("@") or _is_cue(first)):
        yield from make_cue(first.removeprefix("@"), left_out)
        yield from _spoken(rows[1:], width)
    elif first.startswith(">"):
        yield Direction(" ".join(rows).strip("> <"))
    elif first.startswith("~"):
        yield Said("\n".join(row.removeprefix("~").strip() for row in rows))
    else:
        yield Direction(" ".join(rows).removeprefix("!"))


def _runs(rows: list[str]) -> Iterator[list[str]]:
    """The rows of a speech between those in parentheses, whose length says nothing of the page."""
    for aside, run in groupby(rows, lambda row: row.startswith("(") or row.endswith(")")):
        if not aside:
            yield list(run)


def _spoken(rows: list[str], width: Width) -> Iterator[Part]:
    """A speech: rows in parentheses, which may take more than one, are directions."""
    block: list[str] = []
    aside: list[str] = []
    for row in rows:
        if aside or (row.startswith("(") and ")" not in row[:-1]):
            if block:
                yield Said(width.join(block))
                block = []
            aside.append(row)
            if row.endswith(")"):
                yield Direction(" ".join(aside).strip("()"))
                aside = []
        elif row:
            block.append(row.removeprefix("~"))
    block = block or aside
    if block:
        yield Said(width.join(block))


def _unescape(part: Part) -> Part:
    if isinstance(part, Said):
        return Said(regex.sub(r"\\([*_])", r"\1", _EMPHASIS.sub("", part.text)))
    if isinstance(part, Direction):
        return Direction(regex.sub(r"\\([*_])", r"\1", _EMPHASIS.sub("", part.text)))
    return part


def read_screenplay(text: str) -> Reading:
    """A typed screenplay: names stand furthest in, speeches less, what is told least."""
    left_out = Counter[str]()
    rows = text.split("\n")
    base = _find_base([row for row in rows if row.strip()])
    named = [pair for pair in _list_indented_names(rows) if pair[0] >= base + DEEP]
    name_column = statistics.median([indent for indent, _ in named]) if named else base + 20
    said_column = statistics.median([below for _, below in named]) if named else base + 10
    names_from, speech_from = (2 * name_column + said_column) / 3, (said_column + base) / 2
    blocks = list(_typed_blocks(rows, names_from, speech_from))
    width = Width([run for kind, block in blocks if kind == "speech" for run in _runs(block)], narrow=_NARROW)
    parts: list[Part] = []
    for kind, block in blocks:
        if kind == "name":
            parts += make_cue(block[0], left_out)
        elif kind == "speech":
            parts += _spoken(block, width)
        elif _FURNITURE.match(block[0]):
            left_out["sections and page marks"] += count_words(" ".join(block))
        elif slug := find_slug(block[0]):
            parts.append(Heading(" ".join([slug, *block[1:]])))
        elif heading := find_heading(" ".join(block)):
            parts.append(heading)
        else:
            parts.append(Direction(" ".join(block)))
    return Reading(parts, left_out)


def _typed_blocks(rows: list[str], names_from: float, speech_from: float) -> Iterator[tuple[str, list[str]]]:
    """Rows that belong together, and what they are: "name", "speech" or "told"."""
    kind, block = "", list[str]()
    speaking = False
    for row in rows:
        line, indent = row.strip(), _indent(row)
        if not line:
            new = ""
        elif indent >= names_from and _is_cue(line):
            new, speaking = "name", True
        elif speaking and indent >= speech_from:
            new = "speech"
        else:
            new, speaking = "told", False
        if block and (new != kind or new == "name" or find_slug(line)):
            yield kind, block
            block = []
        kind = new
        if new:
            block.append(line)
    if block:
        yield kind, block
