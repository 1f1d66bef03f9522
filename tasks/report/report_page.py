"""The report page of a run: one HTML file that needs nothing else and runs nothing.

What it shows of corpus and script is text from outside, so the template escapes everything, and the page's own
Content-Security-Policy allows no script and no request.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.files import write_whole
from tasks.report.learning_curve import TRAIN_COLOUR, VALID_COLOUR, Curve
from tasks.report.lineage import Lineage, page_of

TEMPLATE = "report_page.html.jinja"
PAGE = "report.html"
MAX_EARLIER = 8
LABEL_ROOM = 24.0
VERSE = 60  # columns; what ends a row before, with room for the next word, is a line
# Penn Treebank, word level: name, parameters in millions, perplexity on valid and test.
# The LSTMs: Zaremba, Sutskever and Vinyals 2014 as TensorFlow's tutorial reports them; the others from their papers.
PUBLISHED = (
    ("small LSTM (2 × 200)", 4.65, 121.39, 115.91),
    ("medium LSTM (2 × 650)", 19.8, 86.16, 82.07),
    ("large LSTM (2 × 1500)", 66.0, 82.62, 78.29),
    ("AWD-LSTM, Merity et al. 2018", 24.0, 60.0, 57.3),
    ("Mogrifier LSTM, Melis et al. 2020", 24.0, 51.4, 50.1),
)


# `SCENE 3.` in whichever language, a film's place, or a break.
HEADING = re.compile(r"\w+ \d+\.(?: |$)|\* \* \*$|\d* ?[A-ZÀ-Þ]{2,10}[./][^\n]*$")
NAMED = re.compile(r"([^:：\n]{1,60})(?:: ?|：)(?:\n|(?=\S))")


@dataclass(frozen=True)
class Passage:
    """A scene's heading, a stage direction, or what somebody says; `cue` is who, empty where they go on."""

    kind: str
    cue: str
    text: str


@dataclass(frozen=True)
class Figure:
    """Perplexities to compare: of this run, of an earlier one, or published."""

    name: str
    kind: str
    note: str
    valid: float | None
    test: float


@dataclass(frozen=True)
class Plot:
    """A curve in the coordinates of an SVG."""

    width = 720
    height = 378
    left = 52
    right = 144
    top = 14
    bottom = 72
    curve: Curve

    @property
    def unit(self) -> str:
        """What the horizontal axis counts: minutes, where they are known."""
        return "minutes of training" if self.curve.minutes else self.curve.unit

    @property
    def places(self) -> tuple[float, ...]:
        """The points' places on the horizontal axis."""
        return self.curve.minutes or self.curve.x

    @property
    def lines(self) -> list[tuple[str, str, list[tuple[float, float]]]]:
        """Name, colour and points of each line."""
        named = (("train", TRAIN_COLOUR, self.curve.train), ("valid", VALID_COLOUR, self.curve.valid))
        return [
            (name, colour, [(self.x(x), self.y(value)) for x, value in zip(self.places, values, strict=True)])
            for name, colour, values in named
            if values
        ]

    @property
    def label_heights(self) -> list[float]:
        """Where each line's label stands beside its end, so that none covers another."""
        ends = [points[-1][1] for _, _, points in self.lines]
        if len(ends) == 2 and abs(ends[0] - ends[1]) < LABEL_ROOM:
            middle, above = sum(ends) / 2, LABEL_ROOM / (2 if ends[0] > ends[1] else -2)
            ends = [middle + above, middle - above]
        return ends

    @property
    def x_ticks(self) -> list[float]:
        """About a dozen of the curve's own places."""
        every = -(-len(self.places) // 13)
        return list(self.places[::every])

    def x(self, value: float) -> float:
        """Where a place on the horizontal axis is."""
        first, last = self.places[0], self.places[-1]
        return round(self.left + (value - first) / (last - first) * (self.width - self.left - self.right), 1)

    def y(self, value: float) -> float:
        """Where a perplexity is."""
        low, high = self.curve.ticks[0], self.curve.ticks[-1]
        return round(self.top + (high - value) / (high - low) * (self.height - self.top - self.bottom), 1)


def write_report(
    directory: Path,
    metrics: Mapping[str, Any],
    script: str,
    facts: Mapping[str, Any],
    curve: Curve | None,
    lineage: Lineage,
) -> Path:
    """Writes `report.html` into the run's directory; the runs beside it are those it is compared with."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["bytes"] = byte_count
    environment.filters["count"] = count
    environment.filters["page_of"] = page_of
    figures = list(_figures(directory, metrics))
    page = environment.get_template(TEMPLATE).render(
        metrics=metrics,
        passages=list(screenplay(script)),
        copied=facts.get("longest_copied_run"),
        judged=facts.get("judge"),
        plot=Plot(curve) if curve else None,
        lineage=lineage,
        figures=figures,
        worst=max((figure.test for figure in figures), default=1.0),
        name=directory.name,
        words=len(script.split()),
    )
    write_whole(directory / PAGE, page)
    return directory / PAGE


def screenplay(script: str) -> Iterator[Passage]:
    """The passages of a script as `model.generate` types it: blocks with an empty line between them."""
    blocks = re.split(r"\n[ \t]*\n", script.strip("\n"))
    film = any(block.startswith(" " * 12) for block in blocks)  # in columns: what stands at the left happens
    for block in blocks:
        first, _, rest = block.partition("\n")
        named = NAMED.match(block)
        if HEADING.match(block):
            yield Passage("scene", "", " ".join(block.split()))
        elif block.startswith("[") and block.endswith("]") and block.count("[") == 1:
            yield Passage("direction", "", " ".join(block[1:-1].split()))
        elif film and not block.startswith(" "):
            yield Passage("direction", "", " ".join(block.split()))
        elif rest and (film or first.isupper()):
            yield Passage("speech", first.strip(), _lines(rest))
        elif named and len(named[1].split()) <= 6:
            yield Passage("speech", named[1], _lines(block[named.end() :]))
        elif block:
            yield Passage("speech", "", _lines(block))


def _lines(text: str) -> str:
    """Rows as one text; lines of verse, which are short, stay lines."""
    rows = [row.strip() for row in text.split("\n")]
    wrapped = all(len(row) + 1 + len(after.split(" ")[0]) > VERSE for row, after in itertools.pairwise(rows))
    return (" " if wrapped else "\n").join(rows)


def _figures(directory: Path, metrics: Mapping[str, Any]) -> Iterator[Figure]:
    if "test" in metrics.get("perplexity", {}):
        yield _figure("this run", "this", metrics, "")
    plain = metrics.get("ngram", {})
    cached = plain.get("cache", {})
    for found, note in (
        (plain, "Kneser-Ney smoothing"),
        (cached, f"and a cache of the last {cached.get('words')} words"),
    ):
        if "test" in found:
            name = f"n-gram model of order {plain.get('order')}"
            yield Figure(name, "baseline", note, found.get("valid"), float(found["test"]))
    if "mixture" in metrics:
        mixture = metrics["mixture"]
        name = "this run with n-gram and cache"
        yield Figure(name, "baseline", "mixed, weights fitted on valid", mixture["valid"], mixture["test"])
    if dynamic := metrics.get("dynamic"):
        name = "this run, learning from the text as it goes"
        yield Figure(name, "baseline", "dynamic evaluation", None, dynamic["test"])
        yield Figure(f"{name}, with n-gram and cache", "baseline", "mixed", None, dynamic["mixture"]["test"])
    for file in _earlier(directory):
        try:
            earlier = json.loads(file.read_text())
            when = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            same = all(earlier[key] == metrics[key] for key in ("vocabulary", "tokens"))
            note = f"{file.parent.name[:12]}, {when:%d %b %Y}" + ("" if same else ", on other scripts")
            yield _figure("earlier run", "earlier", earlier, note)
        except (ValueError, KeyError, TypeError):
            continue  # A run that was broken off, or of another version, is no figure to compare with.
    for name, millions, valid, test in PUBLISHED:
        yield Figure(name, "published", f"{millions:g} million parameters", valid, test)


def _earlier(directory: Path) -> list[Path]:
    """Metrics of the runs beside this one, the newest first."""
    found = [file for file in directory.parent.glob("*/metrics.json") if file.parent != directory]
    return sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)[:MAX_EARLIER]


def _figure(name: str, kind: str, metrics: Mapping[str, Any], note: str) -> Figure:
    perplexity = metrics["perplexity"]
    return Figure(f"{name}, {metrics['model']}", kind, note, perplexity.get("valid"), float(perplexity["test"]))


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{1000 * seconds:.0f} ms"


def count(number: float) -> str:
    """A number as a person says it: 812, 77 thousand, 4.6 million."""
    for unit, size in (("million", 1e6), ("thousand", 1e3)):
        if number >= size:
            return f"{number / size:.{1 if number < 10 * size else 0}f} {unit}"
    return f"{number:.0f}"


def byte_count(count: int) -> str:
    """Bytes as a person says them."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
