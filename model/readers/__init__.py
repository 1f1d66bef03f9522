"""Scripts in the formats that people have: a reader each, and which of them a file wants.

All readers but those of fixed formats look at the whole file, and score what they would find in it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from model.readers import classic, film, final_draft, subtitles, tables
from model.readers.final_draft import UnreadableError
from model.readers.pages import normalise, strip_licence, strip_markup
from model.readers.parts import Cue, Direction, Heading, Reading, Said, count_words
from model.readers.rows import Rows

MUCH = 0.05  # share of a file's words that may be left out without a warning
_INLINE = ("inline:", "inline.")
_ALONE = ("alone", "alone.", "alone:")
_SURE = 0.8


class Found(NamedTuple):
    """What was found in a file."""

    form: str
    given: bool  # the format was said, not detected
    scores: dict[str, float]
    scenes: int
    cues: int
    speakers: int
    directions: int
    words: int
    spoken: float  # share of the words that someone, who is named, says
    left_out: dict[str, int]  # words, by what they are

    @property
    def missing(self) -> float:
        """The share of the file's words that was left out, but for what is always there and never a script."""
        dropped = sum(self.left_out.values()) - self.left_out.get("times and numbers", 0)
        dropped -= self.left_out.get("other columns", 0) + self.left_out.get("licence", 0)
        return dropped / max(1, self.words + dropped)

    def as_json(self) -> dict[str, Any]:
        """For `metrics.json`."""
        scores = {name: score for name, score in self.scores.items() if score}
        return {**self._asdict(), "scores": scores, "spoken": round(self.spoken, 4)}


def read_parts(text: str, form: str | None = None) -> tuple[Reading, Found]:
    """The parts of a text, read in the format that it seems to have, or in a given one."""
    left_out = Counter[str]()
    text = normalise(text)
    if form in (None, "final-draft", "subtitles", "table", "tokens"):
        fixed = {
            "final-draft": final_draft.score(text),
            "subtitles": subtitles.score(text),
            "tokens": classic.score(text),
        }
        if max(fixed.values()) < _SURE:
            fixed["table"] = tables.score(text)
    else:
        fixed = {}
    best = form or max(fixed, key=lambda name: fixed[name])
    if (form is None and fixed[best] < _SURE) or form not in (None, *fixed):
        text = strip_markup(strip_licence(text, left_out))
        rows = Rows(text)
        scores = {**fixed, **_score_rows(rows, text)}
        best = form or max(scores, key=lambda name: scores[name])
        reading = _read_rows(rows, text, best) if best in scores and best not in fixed else _read_fixed(text, best)
    else:
        scores = fixed
        reading = _read_fixed(text, best)
    left_out.update(reading.left_out)
    return reading, _describe(reading, best, form is not None, scores, +left_out)


def _score_rows(rows: Rows, text: str) -> dict[str, float]:
    """How much of the text each reader of rows would understand."""
    cues = rows.cues
    inline, rest = cues.share("inline:"), cues.share("inline.", *_ALONE)
    headed = len(cues.headed) >= 2
    fountain, screenplay = film.score(text, titled=not cues.headed)
    return {
        "fountain": fountain,
        "screenplay": screenplay,
        "play": min(1.0, rest + (0.3 + inline if headed else 0.2 * inline)),
        "transcript": inline * (0.5 if headed else 1.0),
        "prose": 0.05,
    }


def _read_rows(rows: Rows, text: str, form: str) -> Reading:
    if form == "fountain":
        return film.read_fountain(text)
    if form == "screenplay":
        return film.read_screenplay(text)
    return rows.read(*{"play": (*_INLINE, *_ALONE), "transcript": ("inline:", "alone:")}.get(form, ()))


def _read_fixed(text: str, form: str) -> Reading:
    readers = {
        "final-draft": final_draft.read,
        "subtitles": subtitles.read,
        "table": tables.read,
        "tokens": classic.read,
    }
    return readers[form](text)


def _describe(reading: Reading, form: str, given: bool, scores: dict[str, float], left_out: Counter[str]) -> Found:
    names = Counter[str]()
    kinds = Counter[type]()
    words = spoken = 0
    speaker = ""
    for part in reading.parts:
        kinds[type(part)] += 1
        words += (size := count_words(part[0]))
        if isinstance(part, Cue):
            speaker = part.name.casefold()
            names[speaker] += 1
        elif isinstance(part, Heading):
            speaker = ""
        elif isinstance(part, Said) and speaker:
            spoken += size
    headless = bool(reading.parts) and not isinstance(reading.parts[0], Heading)
    return Found(
        form,
        given,
        {name: round(score, 3) for name, score in sorted(scores.items(), key=lambda item: -item[1])},
        kinds[Heading] + headless,
        kinds[Cue],
        len(names),
        kinds[Direction],
        words,
        spoken / max(1, words),
        dict(left_out),
    )


__all__ = ["MUCH", "Found", "UnreadableError", "read_parts"]
