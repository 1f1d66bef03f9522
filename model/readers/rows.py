"""Plays, transcripts and prose: rows of text with headings, names and directions among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import regex

from model.readers.cues import Cues
from model.readers.headings import find_heading
from model.readers.parts import Cue, Direction, Heading, Part, Reading, Said, count_words
from model.readers.verse import Width

_FULL_HEADING = 45  # columns
FRONT = 1500  # words before the first heading that may be title, contents and names
_BRACKETED = regex.compile(r"\[([^\[\]]*)\]|(?:^|(?<=\n))[ ]*\(([^()]*)\)[ ]*(?:$|(?=\n))")
_EVERY_PARENTHESIS = regex.compile(r"\[([^\[\]]*)\]|\(([^()]*)\)")
_AT_THE_START = regex.compile(r"\(([^()]*)\)(?=\s)")
_BREAK = regex.compile(r"[*#~_=\-–— ]{3,}$|\* ?\* ?\*$")


class Rows:
    """The rows of a file, and what the whole of them says about each."""

    def __init__(self, text: str) -> None:
        self.rows = [row.rstrip() for row in text.split("\n")]
        self.cues = Cues(self.rows)
        square, round_ = text.count("["), text.count("(")
        # Where directions have brackets, a parenthesis is spoken; else it is a direction.
        self.parentheses = round_ > 4 * square and round_ > 0 and self.cues.share("inline:", "inline.", "alone") > 0.2

    def read(self, *shapes: str) -> Reading:
        """The parts, where rows of these shapes may name speakers."""
        left_out = Counter[str]()
        blocks = list(self._blocks(shapes))
        width = Width([block for block in blocks if isinstance(block, list)])
        parts: list[Part] = []
        begun = False  # a speech, so that a parenthesis at its start is a direction
        for block in blocks:
            if isinstance(block, list):
                parts += self._spoken(width.join(block), begun)
                begun = False
            else:
                parts.append(block)
                begun = isinstance(block, Cue)
        return Reading(drop_front(drop_contents(parts, left_out), left_out), left_out)

    def _blocks(self, shapes: tuple[str, ...]) -> Iterator[list[str] | Part]:
        """Headings, names, and between them the rows that belong together."""
        unnumbered = not self.cues.headed
        block: list[str] = []
        fresh, headed = True, False
        for number, row in enumerate(self.rows):
            line = row.strip()
            if not line:
                if block:
                    yield block
                    block = []
                fresh = True
                continue
            heading = find_heading(line, True) if unnumbered and fresh else self.cues.headed.get(number)
            candidate = None if heading else self.cues.found.get(number)
            if candidate and not (candidate.shape in shapes and self.cues.accepts(candidate)):
                candidate = None
            breaks = not line[0].isalnum() and _BREAK.match(line)
            if (heading or candidate or breaks) and block:
                yield block
                block = []
            if heading:
                goes_on = self._goes_on(number)
                yield heading._replace(text=f"{heading.text} {goes_on}") if goes_on else heading
                headed = bool(goes_on)
                fresh = True
                continue
            if headed:
                headed = False
                continue
            fresh = False
            if candidate:
                yield Cue(candidate.name)
                yield from map(Direction, candidate.how)
                # The name takes room, which tells full rows from lines of verse.
                line = candidate.rest and " " * (len(line) - len(candidate.rest)) + candidate.rest
            if line and not breaks:
                block.append(line)
        if block:
            yield block

    def _goes_on(self, number: int) -> str:
        """The second row of a heading that is longer than a row."""
        after = self.rows[number + 1].strip() if number + 1 < len(self.rows) else ""
        ends = number + 2 >= len(self.rows) or not self.rows[number + 2].strip()
        long = len(self.rows[number].strip()) >= _FULL_HEADING
        return after if after and ends and long and after[0] not in "[(" else ""

    def _spoken(self, text: str, begun: bool) -> Iterator[Part]:
        """What a block says, and the directions in it."""
        if "[" not in text and "(" not in text:
            yield Said(text)
            return
        pattern = _EVERY_PARENTHESIS if self.parentheses else _BRACKETED
        place = 0
        first = _AT_THE_START.match(text) if begun else None
        if first:
            yield from _direction(first[1])
            place = first.end()
        for found in pattern.finditer(text, place):
            yield from _said(text[place : found.start()])
            yield from _direction(found[1] if found[1] is not None else found[2])
            place = found.end()
        yield from _said(text[place:])


def _said(text: str) -> Iterator[Part]:
    text = text.strip()
    if text:
        yield Said(text)


def _direction(text: str) -> Iterator[Part]:
    text = " ".join(text.split())
    if text:
        yield Direction(text)


def drop_contents(parts: list[Part], left_out: Counter[str]) -> list[Part]:
    """Without headings of which nothing is said and that come again: a table of contents. Of an act's heading and its first
    scene's the latter stays."""
    last = {part: number for number, part in enumerate(parts) if isinstance(part, Heading)}
    kept: list[Part] = []
    for number, part in enumerate(parts):
        if isinstance(part, Heading):
            after = parts[number + 1] if number + 1 < len(parts) else None
            if isinstance(after, Heading) and not part.text and part.act:
                continue
            if (isinstance(after, Heading) or after is None) and part.text and last[part] > number:
                left_out["contents"] += count_words(part.text)
                continue
        kept.append(part)
    return kept


def drop_front(parts: list[Part], left_out: Counter[str]) -> list[Part]:
    """Without what stands before the first heading, if it is a page of titles and names: nobody speaks there who speaks
    later, and it is the lesser part of the file."""
    first = next((number for number, part in enumerate(parts) if isinstance(part, Heading)), 0)
    later = {part.name.casefold() for part in parts[first:] if isinstance(part, Cue)}
    spoken = (
        number for number, part in enumerate(parts[:first]) if isinstance(part, Cue) and part.name.casefold() in later
    )
    first = next(spoken, first)
    words = sum(count_words(part[0]) for part in parts[:first])
    if words > FRONT or 2 * words > sum(count_words(part[0]) for part in parts):
        return parts
    if words:
        left_out["front matter"] += words
    return parts[first:]
