"""What is measured of a script, beside perplexity: each measure against what was done to a script by rule."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.judge import MEASURES, Judge, judge
from model.training_text import TrainingText
from tests.corpora import WORDS

CASTS = (("anna", "boris"), ("clara", "dora"), ("emil", "frida"))
PLACES = ("kitchen", "harbour", "forest")
STRANGERS = ["stranger", "elsewhere", "brand", "new"]
LENGTH = 240


def scene(play: int, random: Random) -> list[str]:
    """A scene of a play; all enter who speak, and chance decides what they say."""
    tokens = ["<open-scene>", "a", PLACES[play], "<close-scene>", "<open-exp>", "enter", *CASTS[play], "<close-exp>"]
    for turn in range(8):
        tokens += [
            "<boname>",
            CASTS[play][turn % 2],
            "<eoname>",
            *random.choices(WORDS, k=random.randint(6, 9)),
            "<eos>",
        ]
    return tokens


def scenes(play: int, count: int, seed: int) -> list[str]:
    random = Random(seed)
    return [token for _ in range(count) for token in scene(play, random)]


PLAYS = [scenes(play, 30, play) for play in range(3)]
HELD_OUT = [token for play in range(3) for token in scenes(play, 8, 10 + play)]
VOCABULARY = sorted({*itertools.chain(*PLAYS), *HELD_OUT, *STRANGERS, "<unk>"})


def number(tokens: Sequence[str]) -> np.ndarray:
    return np.array([VOCABULARY.index(token) for token in tokens], np.int32)


ORIGINAL = TrainingText(
    number([token for play in PLAYS for token in play]),
    [(f"{place}.txt", len(play)) for place, play in zip(PLACES, PLAYS, strict=True)],
    None,
    number(HELD_OUT),
)
MODEL = Judge(ORIGINAL, VOCABULARY, LENGTH)


def of(tokens: Sequence[str], measure: str) -> float:
    found = MODEL.measure(tokens)[measure]
    assert found is not None
    return found


def test_scripts_of_scenes_of_the_same_kind_score_as_the_corpus() -> None:
    fresh = [token for play in range(3) for token in scenes(play, 8, 20 + play)]
    found = [MODEL.measure(fresh[start:][:LENGTH]) for start in range(0, len(fresh) - LENGTH + 1, LENGTH)]
    for name in MEASURES:
        mean = np.mean([share for each in found if (share := each[name]) is not None])
        assert mean == pytest.approx(MODEL.corpus[name], abs=1 if name == "longest_copy" else 0.1), name


def test_a_script_is_told_beside_the_corpus() -> None:
    script = scenes(1, 3, seed=99)[:LENGTH]
    rows = judge(script, ORIGINAL, VOCABULARY)
    assert {row["measure"]: row["script"] for row in rows} == MODEL.measure(script)
    assert {row["measure"]: row["corpus"] for row in rows} == MODEL.corpus
    assert {row["measure"]: row["meaning"] for row in rows} == MEASURES


@settings(max_examples=15)
@given(start=st.integers(0, 500), length=st.integers(0, 40))
def test_a_copied_passage_is_found_at_its_full_length(start: int, length: int) -> None:
    original = [VOCABULARY[id] for id in ORIGINAL.ids]
    script = [*STRANGERS, *original[start : start + length], *STRANGERS]
    text = f" {' '.join(original)} "
    places = itertools.combinations(range(len(script) + 1), 2)
    runs = [stop - begin for begin, stop in places if f" {' '.join(script[begin:stop])} " in text]
    assert of(script, "longest_copy") == max(runs, default=0) == length


def test_lines_said_again_are_degenerate() -> None:
    fresh = scenes(0, 3, seed=7)
    line = ["<boname>", "anna", "<eoname>", *WORDS[:8], "<eos>"]
    usual = of(fresh, "degenerate_lines")
    assert usual < 0.2
    again = 1 - (1 - usual) * 24 / 34  # nine of ten more lines have been said before
    assert of([*fresh, *line * 10], "degenerate_lines") == pytest.approx(again, abs=2 / 34)


def test_one_word_without_end_is_degenerate() -> None:
    stuck = ["<boname>", "anna", "<eoname>", *["bread"] * 40, "<eos>"]
    assert of(stuck, "degenerate_lines") == 1
    assert of(stuck, "distinct_2") < 0.2


@pytest.mark.parametrize(
    ("measure", "old", "new"),
    [
        ("known_speakers", CASTS[2], ("stranger", "stranger")),
        ("same_cast", CASTS[2], ("stranger", CASTS[2][1])),
        ("entered", ("enter",), ("<close-exp>",)),
        ("known_places", (PLACES[2],), ("elsewhere",)),
    ],
)
def test_each_measure_falls_where_its_subject_is_spoilt(
    measure: str, old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    script = scenes(2, 3, seed=5)
    spoilt = [dict(zip(old, new, strict=True)).get(token, token) for token in script]
    assert of(script, measure) == 1
    assert of(spoilt, measure) == (0.5 if measure == "same_cast" else 0)


def test_speakers_of_several_plays_are_no_cast() -> None:
    turns = [name for name, _ in itertools.product((*CASTS[0], "anna", "clara"), range(5))]
    script = [token for name in turns for token in ("<boname>", name, "<eoname>", "snow", "falls", "<eos>")]
    assert of(script, "same_cast") == 0.75
    assert of(script, "known_speakers") == 1


def test_who_entered_in_one_scene_has_not_entered_in_the_next() -> None:
    first, second = (scene(0, Random(seed)) for seed in (1, 2))
    assert of([*first, *second], "entered") == 1
    assert of([*first, *second[:4], *second[9:]], "entered") == 0.5


def test_a_place_is_known_in_its_own_play_alone() -> None:
    script = [PLACES[0] if token == PLACES[1] else token for token in scenes(1, 3, seed=5)]
    assert of(script, "known_places") == 0


def test_other_lengths_are_far_from_the_corpus() -> None:
    turns = ["<boname>", "anna", "<eoname>", "no", "<eos>"] * 60
    assert of(turns, "speech_lengths") == 1
    assert of(turns, "scene_lengths") == 1


@settings(max_examples=40)
@given(tokens=st.lists(st.sampled_from(["a", "b", "c", "<unk>"]), max_size=30))
def test_distinct_runs_are_counted_without_unknown_words(tokens: list[str]) -> None:
    for n in (1, 2, 3):
        runs = [" ".join(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
        runs = [run for run in runs if "<unk>" not in run]
        found = MODEL.measure(tokens)[f"distinct_{n}"]
        assert found == (pytest.approx(len(set(runs)) / len(runs), abs=1e-4) if runs else None)


@settings(max_examples=40)
@given(tokens=st.lists(st.sampled_from(VOCABULARY), max_size=40))
def test_noise_is_measured_as_everything_else(tokens: list[str]) -> None:
    shares = MODEL.measure(tokens)
    assert shares.keys() == MEASURES.keys()
    assert all(share is None or 0 <= share <= 1 for name, share in shares.items() if name != "longest_copy")
    assert shares == MODEL.measure(tokens)


def test_a_text_without_speakers_has_sentences_and_no_cast() -> None:
    plain = [token for token in scenes(0, 2, seed=1) if not token.startswith("<") or token == "<eos>"]
    found = MODEL.measure(plain)
    assert found["known_speakers"] is found["same_cast"] is found["entered"] is None
    assert found["speech_lengths"] is not None


def test_a_model_that_kept_no_held_out_text_judges_by_itself() -> None:
    rows = judge(scenes(1, 3, seed=99), ORIGINAL._replace(held_out=ORIGINAL.ids[:0]), VOCABULARY)
    assert {row["corpus"] for row in rows} <= {None, 0.0}
    assert next(row["script"] for row in rows if row["measure"] == "known_speakers") == 1
