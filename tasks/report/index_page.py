"""The reports' first page: each run that is kept in a folder, the newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.files import write_whole

TEMPLATE = "index_page.html.jinja"
PAGE = "index.html"
# What is known of a run beside its metrics.
FACTS = "run.json"


@dataclass(frozen=True)
class Run:
    """A run as a line of the page: when its results were fetched, and perplexity on test and valid."""

    name: str
    made: datetime
    model: str
    corpus: str
    test: float
    valid: float | None


def note_corpus(directory: Path, corpus: str) -> None:
    """Keeps with a run's results what it was trained on."""
    write_whole(directory / FACTS, json.dumps({"corpus": corpus}))


def write_index(folder: Path) -> Path:
    """Writes the page of all runs in a folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    runs = sorted(_runs(folder), key=lambda run: run.made, reverse=True)
    write_whole(folder / PAGE, environment.get_template(TEMPLATE).render(runs=runs))
    return folder / PAGE


def _runs(folder: Path) -> Iterator[Run]:
    for report in folder.glob("*/report.html"):
        directory = report.parent
        try:
            metrics = json.loads((directory / "metrics.json").read_text())
            perplexity = metrics["perplexity"]
            valid = perplexity.get("valid")
            yield Run(
                name=directory.name,
                made=datetime.fromtimestamp((directory / "metrics.json").stat().st_mtime, UTC),
                model=str(metrics["model"]),
                corpus=_corpus(directory),
                test=float(perplexity["test"]),
                valid=None if valid is None else float(valid),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # A run that was broken off, or of another version.


def _corpus(directory: Path) -> str:
    file = directory / FACTS
    return str(json.loads(file.read_text())["corpus"]) if file.exists() else ""
