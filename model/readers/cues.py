"""Who speaks: rows that may name a speaker, and which of those do, as the whole file has it.

A row alone does not tell. "Well." begins a speech in one play and is one in the next; "Note: …" is a speaker's name in no
transcript but that of a Mr Note. So each row that may name someone is a candidate of a shape, and a shape is believed
where enough of the file has it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import NamedTuple

import regex

from model.readers.headings import HEADING_WORDS, find_heading, find_slug
from model.readers.parts import Heading

LONGEST_NAME = 6  # words
_NAME = r"(?P<name>(?:(?i:mr|mrs|ms|dr|st|prof|capt|lt|col|gen|sgt|rev|mme|mlle|sr|sra)\.\s+)?+[\p{L}\p{N}\"“][\p{L}\p{M}\p{N} ,'&/#\"“”_-]{0,40}?)"
_QUALIFIER = r"(?P<how>(?:,?\s*(?:\([^()]*\)|\[[^\[\]]*\]|_[^_]+_))*)"
_INLINE = regex.compile(rf"{_NAME}{_QUALIFIER}\s*(?P<mark>[:：]|\.\s?[-–—]+|\.(?=\s))\s*(?P<rest>[^\s/].*|/(?!/).*)$")
_ALONE = regex.compile(rf"{_NAME}{_QUALIFIER}\s*(?P<mark>[.:：]?)$")
_HOW = regex.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]|_([^_]+)_")
_LETTER = regex.compile(r"\p{L}")
_OFTEN = 0.1  # share of the rows or of the paragraphs that a shape begins, where it is believed
_VERY_OFTEN = 0.25
_SELDOM = 0.03  # capitals before a colon are hardly anything else
_WEAK = frozenset([("inline.", "title"), ("alone", "title"), ("inline:", "lower"), ("alone:", "lower")])


class Candidate(NamedTuple):
    """A row that may name a speaker."""

    shape: str  # "inline:", "inline.", "alone", "alone." or "alone:"
    case: str  # "upper", "title", "lower", or "none" in scripts that have no cases
    name: str
    how: tuple[str, ...]  # directions that stand behind the name
    rest: str
    fresh: bool  # stands at the beginning of a paragraph
    followed: bool  # the next row is not empty


def find_candidate(row: str, fresh: bool, followed: bool) -> Candidate | None:
    """The candidate that a row, without its indentation, is."""
    first = row[0]
    if not first.isalnum() and first not in '"“':
        return None
    found = _INLINE.match(row) if _may_be_named(row) else None
    if found and (case := _case(found["name"])):
        mark = ":" if found["mark"] in ":：" else "."
        return Candidate(
            f"inline{mark}", case, found["name"].strip(' ,"“”'), _how(found["how"]), found["rest"], fresh, followed
        )
    found = _ALONE.match(row) if len(row) <= 80 and _may_be_alone(row, fresh) else None
    if not found or not (case := _case(found["name"])):
        return None
    mark = ":" if found["mark"] == "：" else found["mark"]
    return Candidate(f"alone{mark}", case, found["name"].strip(' ,"“”'), _how(found["how"]), "", fresh, followed)


_MARK = re.compile(r"\.(?=[ –—-])|[:：(\[!?;,]")


def _may_be_named(row: str) -> bool:
    """Whether what stands before the first mark may be a name; most rows are done with here."""
    mark = _MARK.search(row, 0, 60)
    if not mark or mark[0] in "!?;" or row.count(" ", 0, mark.start()) >= LONGEST_NAME:
        return False
    if mark[0] == ",":
        return row[: mark.start()].isupper()
    return bool(_case(row[: mark.start()]))


def _may_be_alone(row: str, fresh: bool) -> bool:
    if row[-1] in ")]":
        return True
    if row[-1] not in ".:：" and not fresh:
        return False
    return row.count(" ") < LONGEST_NAME and ("," not in row or row.isupper()) and bool(_case(row.rstrip(".:： ")))


def _how(text: str) -> tuple[str, ...]:
    return tuple(" ".join("".join(found).split()) for found in _HOW.findall(text)) if text else ()


def _case(name: str) -> str:
    """How a name is written; "" where it is none."""
    words = name.replace("_", " ").split()
    if not words or len(words) > LONGEST_NAME or not _LETTER.search(name) or name.casefold() in HEADING_WORDS:
        return ""
    if name == name.upper():
        return "none" if name == name.lower() else "upper"
    if (words[0][0].isupper() or words[0][0].isdigit()) and all(not w[0].islower() or len(w) <= 3 for w in words[1:]):
        return "title"
    return "lower" if len(words) == 1 and name == name.lower() else ""


class Cues:
    """The candidates of a file by row, and which shapes and names are believed."""

    def __init__(self, rows: list[str]) -> None:
        self.rows = len(rows)
        self.filled = self.paragraphs = 0
        self.found: dict[int, Candidate] = {}
        self.headed: dict[int, Heading] = {}
        fresh = True
        for number, whole in enumerate(rows):
            if not whole or whole.isspace():
                fresh = True
                continue
            row = whole.lstrip()
            self.filled += 1
            self.paragraphs += fresh
            if find_slug(row):
                fresh = True
                continue
            if (heading := find_heading(row)) and (fresh or row[:4].isupper()):
                self.headed[number] = heading
                fresh = True
                continue
            followed = number + 1 < len(rows) and bool(rows[number + 1].strip())
            candidate = find_candidate(row, fresh, followed)
            if candidate:
                self.found[number] = candidate
            fresh = False
        self._names: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._fresh = Counter[tuple[str, str]]()
        for candidate in self.found.values():
            key = _key(candidate)
            self._names[key][candidate.name.casefold()] += 1
            self._fresh[key] += candidate.fresh
        self._words: Counter[str] | None = None
        self._text = rows
        self.believed = {key for key in self._names if key not in _WEAK and self._is_believed(key)}
        # What is as likely the beginning of a speech names speakers only where nothing else does so more often.
        plain = sum(self._names[key].total() for key in self.believed)
        weak = {key for key in self._names if key in _WEAK and self._is_believed(key)}
        self.believed |= {key for key in weak if self._names[key].total() > plain}
        self.names = {name for key in self.believed for name in self._names[key]}

    def share(self, *shapes: str) -> float:
        """The share of rows or of paragraphs, whichever is more, that begin with believed candidates of some shapes."""
        keys = [key for key in self.believed if key[0].rstrip("+") in shapes]
        count = sum(self._names[key].total() for key in keys)
        fresh = sum(self._fresh[key] for key in keys)
        return max(count / max(1, self.filled), fresh / max(1, self.paragraphs))

    def accepts(self, candidate: Candidate) -> bool:
        """Whether a row names a speaker."""
        key = _key(candidate)
        if key not in self.believed:
            known = candidate.name.casefold() in self.names
            return known and (key[0] == "inline:" or (candidate.fresh and candidate.followed and key[0] != "alone"))
        if key == ("inline.", "title"):
            return self._is_someone(candidate.name)
        if candidate.shape.startswith("alone") and not candidate.fresh:
            return (
                candidate.followed
                and candidate.shape != "alone"
                and candidate.case in ("upper", "none")
                and len(candidate.name) > 1
            )
        return True

    def _is_believed(self, key: tuple[str, str]) -> bool:
        shape, case = key
        names = self._names[key]
        count = names.total()
        share = max(count / max(1, self.filled), self._fresh[key] / max(1, self.paragraphs))
        again = sum(n for n in names.values() if n > 1) / count
        if case == "lower":
            return shape in ("inline:", "alone:") and share > 0.4 and count / len(names) >= 3
        if shape.endswith("+"):  # a name with an empty row behind it
            return case in ("upper", "none") and share >= _VERY_OFTEN
        if shape.startswith("alone"):
            if case == "upper":
                return True
            if shape == "alone":
                return case == "title" and share > 0.4 and again > 0.5
            return share >= _OFTEN
        if shape == "inline.":
            if case == "title":
                return share >= _OFTEN and again > 0.5 and count >= 4
            return case == "upper" and (share >= 0.05 or (again > 0.5 and count >= 4))
        return share >= (_SELDOM if case == "upper" else _OFTEN) or (again > 0.5 and count >= 4 and share >= 0.02)

    def _is_someone(self, name: str) -> bool:
        """Whether a word with a capital is a name: it comes again, and is not a word that the text has in lower case."""
        folded = name.casefold()
        if self._names["inline.", "title"][folded] < 2 and folded not in self.names - set(
            self._names["inline.", "title"]
        ):
            return False
        if self._words is None:
            self._words = Counter(
                word.strip(".,;:!?") for row in self._text for word in row.split() if word[0].islower()
            )
        return all(self._words[word] <= self._names["inline.", "title"][folded] for word in name.lower().split())


def _key(candidate: Candidate) -> tuple[str, str]:
    gap = candidate.shape.startswith("alone") and candidate.fresh and not candidate.followed
    return candidate.shape + "+" * gap, candidate.case
