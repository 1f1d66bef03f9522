"""Headings of acts, scenes and places."""

from __future__ import annotations

import regex

from model.languages import ACTS, ALONE, CHAPTERS, NUMERALS, SCENES, SLUGS
from model.readers.parts import Heading


def _any(words: list[str]) -> str:
    return "|".join(map(regex.escape, words))


_NUMERAL = rf"(?:(?i:{_any(NUMERALS)})|[IVXLCivxlc]+|\d+|[A-Z])"
_KIND = rf"(?P<kind>(?i:{_any([*SCENES, *ACTS, *CHAPTERS])}))"
_SCENE_WORDS = frozenset(SCENES)
HEADING_WORDS = frozenset([*SCENES, *ACTS, *CHAPTERS])
# A word for scene, act or chapter with a numeral, then nothing, or a mark and where it plays.
_NUMBERED = regex.compile(
    rf"(?:(?:(?i:{_any(ACTS)})\s+{_NUMERAL}[.,:;–—-]*\s+)?{_KIND}\s+{_NUMERAL}|(?:(?i:{_any(NUMERALS)})|\d+\.|[IVXLC]+\.?)\s+{_KIND})"
    rf"(?P<place>[.,:;\])–—-]+.*|\s*|\s+[\[(].*|(?<=^\p{{Lu}}[\p{{Lu}}\p{{M}}]+\s+[IVXLC\d]+)\s+\S.*)$"
)
_NAMED = regex.compile(rf"(?P<kind>(?i:{_any([*ALONE, *SCENES])}))(?P<place>[.:]?)$")
# Where there are no numbered scenes.
_UNNUMBERED = regex.compile(rf"(?P<kind>{_any([word.upper() for word in SCENES])})(?P<place>[.:–—-]+\s*\S.*)$")
_SLUG = regex.compile(rf"(?:\d+[A-Z]?\.?\s+)?(?P<slug>(?:{_any([word.upper() for word in SLUGS])})(?:[./ ]\s*\S.*))$")
# Few rows begin with such a word, and looking is cheap.
_FIRST = frozenset(word.split()[0] for word in [*ACTS, *SCENES, *CHAPTERS, *ALONE, *NUMERALS])
_KINDS = frozenset([*ACTS, *SCENES, *CHAPTERS, *ALONE])
_ROMAN = frozenset("ivxlc")
_FIRST_OF_SLUGS = frozenset(word[:2].upper() for word in SLUGS)
_LONGEST = 200


def find_heading(row: str, unnumbered: bool = False) -> Heading | None:
    """The heading that a row is; `unnumbered` takes `SCENE: a room`, which in other plays is said of the whole play."""
    row = row.strip(" *=#_")
    if not row or row[0].islower() or len(row) > _LONGEST or not _may_begin_heading(row):
        return None
    found = _NUMBERED.match(row) or _NAMED.match(row) or (_UNNUMBERED.match(row) if unnumbered else None)
    if not found:
        return None
    kind = found["kind"]
    place = found["place"].lstrip(" .,:;–—-").rstrip(" –—-")
    if place[:1] in "[(":
        place = place[1:-1]
    if place[:1].islower() and not kind.isupper():
        return None
    label = kind if kind.lower() in HEADING_WORDS else ""
    return Heading(place, label, act=kind.lower() not in _SCENE_WORDS)


def _may_begin_heading(row: str) -> bool:
    first = row.split(None, 1)[0].lower().rstrip(".,:;-–—")
    if not (first in _FIRST or first[:1].isdigit() or (first and _ROMAN.issuperset(first))):
        return False
    return any(word.strip(".,:;-–—") in _KINDS for word in row.lower().split(None, 4)[:4])


def find_slug(row: str) -> str | None:
    """The heading of a film's scene, `INT. KITCHEN - DAY`, without the number that it may have on both sides."""
    row = row.lstrip()
    if row[:2] not in _FIRST_OF_SLUGS and not row[:1].isdigit():
        return None
    row = row.rstrip()
    found = _SLUG.match(row)
    if not found:
        return None
    number = regex.match(r"(\d+[A-Z]?)\.?\s+", row)
    slug: str = found["slug"]
    return regex.sub(rf"\s+{number[1]}\.?$", "", slug) if number else slug
