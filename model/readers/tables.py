"""Tables of dialogue: a column says who speaks, another what; others may tell where."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence

from model.readers.parts import Cue, Heading, Part, Reading, Said, count_words

DELIMITERS = ",\t;|"
_LOOK_AT = 200  # rows
_SEPARATOR = re.compile(r"\A\ufeff?\"?sep=.\"?\n")  # which Excel has before the first row
_EVEN = 0.9  # share of the rows that have as many columns as most
_NAME_TITLES = frozenset(
    [
        "character",
        "speaker",
        "name",
        "person",
        "role",
        "who",
        "actor",
        "personnage",
        "figur",
        "sprecher",
        "rolle",
        "personaje",
        "nombre",
        "personaggio",
        "персонаж",
    ]
)
_TEXT_TITLES = frozenset(
    [
        "line",
        "lines",
        "text",
        "dialogue",
        "dialog",
        "utterance",
        "speech",
        "sentence",
        "quote",
        "content",
        "message",
        "réplique",
        "texte",
        "text",
        "replik",
        "texto",
        "testo",
        "реплика",
    ]
)
_SCENE_TITLES = frozenset(
    ["season", "episode", "act", "scene", "title", "acte", "scène", "akt", "szene", "acto", "escena", "atto", "scena"]
)


class _Columns:
    """Which columns of a table say who speaks, what, and in which scene; `header`: the first row says their titles."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        titles = [cell.strip().lower() for cell in rows[0]]
        body = rows[1:]
        width = len(titles)
        cells = [[row[column].strip() for row in body if len(row) > column] for column in range(width)]
        words = [sum(map(count_words, column)) / max(1, len(column)) for column in cells]
        self.text = _find(titles, _TEXT_TITLES - {"name"})
        self.name = _find(titles, _NAME_TITLES)
        self.header = self.text is not None or self.name is not None
        if self.text is None or words[self.text] < 1:
            self.text = max(range(width), key=lambda column: words[column], default=0)
        if self.name is None or self.name == self.text:
            self.name = _find_names(cells, words, self.text)
        self.scenes = [column for column, title in enumerate(titles) if title in _SCENE_TITLES and self.header]

    @property
    def known(self) -> bool:
        """Whether there is a column of names and one of text."""
        return self.name is not None and self.text is not None and self.name != self.text


def _find(titles: list[str], wanted: frozenset[str]) -> int | None:
    exact = next((column for column, title in enumerate(titles) if title in wanted), None)
    if exact is not None:
        return exact
    return next((column for column, title in enumerate(titles) if wanted & set(title.replace("_", " ").split())), None)


def _find_names(cells: list[list[str]], words: list[float], text: int) -> int | None:
    """The column of short entries that come again and are no numbers."""
    for column, entries in enumerate(cells):
        named = [entry for entry in entries if entry and not entry.replace(".", "").replace(":", "").isdigit()]
        again = len(named) >= 4 * len(set(named)) or len(set(named)) < len(named)
        if column != text and len(named) > len(entries) / 2 and words[column] < 4 and again:
            return column
    return None


def _parse(text: str) -> tuple[list[list[str]], int]:
    """The rows by the delimiter that makes the most even table, and how many columns most have."""
    csv.field_size_limit(1 << 24)
    text = _SEPARATOR.sub("", text)
    best = (0.0, "", 0)
    head = text[:50_000]
    for delimiter in DELIMITERS:
        if delimiter in head:
            rows = [row for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter) if row][:_LOOK_AT]
            width, count = Counter(map(len, rows)).most_common(1)[0]
            if width > 1 and (evenness := count / len(rows) + width / 1000) > best[0]:
                best = evenness, delimiter, width
    if best[0] < _EVEN:
        return [], 0
    table = csv.reader(io.StringIO(text, newline=""), delimiter=best[1])
    return [row for row in table if any(cell.strip() for cell in row)], best[2]


def score(text: str) -> float:
    """How even a table the text makes, if it has a column of names and one of text."""
    try:
        rows, width = _parse(text)
    except csv.Error:
        return 0.0
    if len(rows) < 2:
        return 0.0
    even = sum(len(row) == width for row in rows) / len(rows)
    columns = _Columns(rows)
    if not columns.known or even < _EVEN:
        return 0.0
    return even if columns.header else 0.8 * even if "\t" in text or width > 2 else 0.0


def read(text: str) -> Reading:
    """A speech a row; a scene begins where season, episode, act or scene changes."""
    rows, _ = _parse(text)
    columns = _Columns(rows)
    parts: list[Part] = []
    speaker = place = None
    left_out = Counter[str]()
    for row in rows[columns.header :]:
        if columns.text is None or len(row) <= columns.text:
            left_out["rows without text"] += 1
            continue
        here = tuple(row[column].strip() for column in columns.scenes)
        if here != place and columns.scenes:
            parts.append(Heading(""))
            place, speaker = here, None
        name = row[columns.name].strip() if columns.name is not None else ""
        said = " ".join(row[columns.text].split())
        if said:
            if name and name != speaker:
                parts.append(Cue(name))
            speaker = name
            parts.append(Said(said))
    left_out["other columns"] = max(0, count_words(text) - sum(count_words(part[0]) for part in parts))
    return Reading(parts, left_out)
