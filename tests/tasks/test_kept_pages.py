"""Both pages of made-up runs, compared with what they were: a change of a coordinate or a word is looked at by a person.

What is meant is kept by `python -m tests.tasks.test_kept_pages`. Styles are left out.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import pytest

from tasks.report.index_page import note, write_index
from tasks.report.learning_curve import read_curve, xychart
from tasks.report.report_page import write_report
from tests.tasks.test_report_page import FACTS, METRICS, lineage

KEPT = Path(__file__).parent / "pages"
SCRIPT = """SCENE 1. The kitchen.

ANNA
Come in.

[Enter Boris.]

ANNA: No.

* * *
"""
EPOCHS = [
    {"epoch": n, "train": 300.0 / n, "valid": 60 + 240.0 / n, "minutes": 1.5 * n + n // 9, "words_per_second": 4000}
    for n in range(1, 28)
]
WHOLE = {
    "epochs": EPOCHS,
    "parameters": 4_650_000,
    "corpus": {
        "unknown": {"test": 0.0625},
        "formats": [
            {"format": "stage play", "files": 1037, "scenes": 3, "cues": 40, "speakers": 5, "directions": 6}
            | {"words": 70_000, "spoken": 0.815}
        ],
    },
}


def _run(folder: Path, name: str, made: float, metrics: dict[str, object]) -> Path:
    """A run's results, fetched at this time."""
    run = folder / name
    run.mkdir(parents=True)
    (run / "report.html").touch()
    (run / "metrics.json").write_text(json.dumps({**METRICS, **metrics}))
    os.utime(run / "metrics.json", (made, made))
    return run


def _pages(folder: Path) -> dict[str, str]:
    """The pages by name."""
    for number in range(10):
        perplexity = {"valid": 95.5 + number, "test": 90.25 + 7 * (number % 4)}
        _run(
            folder,
            f"run{number}",
            86400.0 * (1 + 7 * number % 10),
            {"perplexity": perplexity, "vocabulary": 50 + number // 8},
        )
        note(folder / f"run{number}", corpus="films" if number % 3 else "plays")
        if number % 2:
            note(folder / f"run{number}", released=number % 4 == 1)
    metrics = {**METRICS, **WHOLE}
    curve = read_curve(metrics)
    assert curve is not None
    page = write_report(_run(folder, "this", 0.0, WHOLE), metrics, SCRIPT, FACTS, curve, lineage())
    pages = {"report.html": page.read_text(), "index.html": write_index(folder).read_text()}
    return {name: re.sub("<style>.*?</style>", "", text, flags=re.DOTALL) for name, text in pages.items()} | {
        "curve.mmd": xychart(curve) + "\n"
    }


def test_the_pages_are_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", "grpc://127.0.0.1:1")  # which has no page of its own
    for name, page in _pages(tmp_path).items():
        assert page.splitlines() == (KEPT / name).read_text().splitlines(), "see the module's docstring"


if __name__ == "__main__":
    os.environ["PACHD_ADDRESS"] = "grpc://127.0.0.1:1"
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        for made_name, made_page in _pages(Path(made)).items():
            (KEPT / made_name).write_text(made_page)
