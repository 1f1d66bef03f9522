"""The reports' first page: each run that is kept in a folder, the newest first, and how their perplexities went."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.files import write_whole

TEMPLATE = "index_page.html.jinja"
PAGE = "index.html"
# What is known of a run beside its metrics.
FACTS = "run.json"
# What an axis of perplexities has marks at, as powers of ten times one of these.
MARKS = (1, 2, 5)


@dataclass(frozen=True)
class Run:
    """A run as a line of the page: when its results were fetched, and perplexity on test and valid. `released` is what the
    gate has decided; None where it was not asked."""

    name: str
    made: datetime
    model: str
    corpus: str
    test: float
    valid: float | None
    released: bool | None


@dataclass(frozen=True)
class Chart:
    """The runs of one corpus, the oldest first, in the coordinates of an SVG, whose heights are logarithms of perplexities."""

    width = 720
    height = 260
    left = 60
    right = 90
    top = 16
    bottom = 44
    runs: Sequence[Run]

    @property
    def marks(self) -> list[int]:
        """Round perplexities that enclose all."""
        found = [run.test for run in self.runs]
        powers = range(int(math.log10(max(1.0, min(found)))), int(math.log10(max(found))) + 2)
        all_marks = [mark * 10**power for power in powers for mark in MARKS]
        low = max((mark for mark in all_marks if mark <= min(found)), default=1)
        high = min(mark for mark in all_marks if mark > max(found))
        return [mark for mark in all_marks if low <= mark <= high]

    @property
    def released(self) -> list[Run]:
        """Those that the gate let through."""
        return [run for run in self.runs if run.released]

    def x(self, run: Run) -> float:
        """Where a run stands among the others."""
        share = self.runs.index(run) / max(1, len(self.runs) - 1)
        return round(self.left + share * (self.width - self.left - self.right), 1)

    def y(self, perplexity: float) -> float:
        """Where a perplexity is."""
        low, high = math.log(self.marks[0]), math.log(self.marks[-1])
        share = (high - math.log(perplexity)) / (high - low)
        return round(self.top + share * (self.height - self.top - self.bottom), 1)


def note(directory: Path, **facts: object) -> None:
    """Keeps facts with a run's results, such as the `corpus` that it was trained on, or whether its model was `released`."""
    write_whole(directory / FACTS, json.dumps({**_facts(directory), **facts}))


def write_index(folder: Path) -> Path:
    """Writes the page of all runs in a folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    runs = sorted(_runs(folder), key=lambda run: run.made, reverse=True)
    write_whole(folder / PAGE, environment.get_template(TEMPLATE).render(runs=runs, charts=_charts(runs)))
    return folder / PAGE


def _charts(runs: Sequence[Run]) -> list[Chart]:
    """One for each corpus that has more than one run: perplexities on other texts don't compare."""
    corpora = dict.fromkeys(run.corpus for run in runs)
    charts = [Chart([run for run in reversed(runs) if run.corpus == corpus]) for corpus in corpora]
    return [chart for chart in charts if len(chart.runs) > 1]


def _runs(folder: Path) -> Iterator[Run]:
    for report in folder.glob("*/report.html"):
        directory = report.parent
        try:
            metrics = json.loads((directory / "metrics.json").read_text())
            perplexity = metrics["perplexity"]
            valid = perplexity.get("valid")
            facts = _facts(directory)
            test = float(perplexity["test"])
            if not 1 <= test < math.inf:
                continue
            yield Run(
                name=directory.name,
                made=datetime.fromtimestamp((directory / "metrics.json").stat().st_mtime, UTC),
                model=str(metrics["model"]),
                corpus=str(facts.get("corpus", "")),
                test=test,
                valid=None if valid is None else float(valid),
                released=facts.get("released"),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # A run that was broken off, or of another version.


def _facts(directory: Path) -> dict[str, Any]:
    file = directory / FACTS
    return dict(json.loads(file.read_text())) if file.exists() else {}
