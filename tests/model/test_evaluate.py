"""The comparison of two models: which text, and that the perplexities are over the same words."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.checkpoints import Trained, save
from model.configs import CONFIGS
from model.evaluate import compare, main, perplexity, select_held_out
from model.network import initial_weights
from model.scripts import Line
from model.tokens import EOS, UNKNOWN
from tests import corpora


def model(words: list[str], seed: int = 1) -> Trained:
    """A model that has not been trained, with big weights, so that its words are not alike."""
    weights = initial_weights(CONFIGS["test"], len(words), seed)
    return Trained(type(weights)(*(_bigger(part) for part in weights)), words)


def _bigger(part: Any) -> Any:
    return tuple(np.asarray(each) * 20 for each in part) if isinstance(part, tuple) else np.asarray(part) * 20


def chances(trained: Trained, context: list[str], words: set[str]) -> dict[str, float]:
    """The chance of each word after a context, from the ratio of two perplexities."""
    before = len(context) * math.log(perplexity(trained, context, words)) if context else 0.0
    found = {}
    for word in words:
        text = [*context, word]
        found[word] = math.exp(before - len(text) * math.log(perplexity(trained, text, words)))
    return found


@pytest.mark.parametrize("unknown", [[UNKNOWN], []])
def test_the_chances_of_all_words_add_up_to_one(unknown: list[str]) -> None:
    """Also where a model knows only some of the words, with or without `<unk>`."""
    words = {EOS, "the", "cold", "river", "bread", "snow", *unknown}
    trained = model([EOS, "the", "cold", *unknown])
    for context in ([], ["the"], ["the", "snow"]):
        assert sum(chances(trained, context, words).values()) == pytest.approx(1, rel=1e-5)


def test_strangers_share_what_the_model_gives_to_the_unknown() -> None:
    words = {EOS, "the", "bread", "snow", "river", UNKNOWN}
    found = chances(model([EOS, "the", UNKNOWN]), ["the"], words)
    assert found["bread"] == pytest.approx(found["snow"], rel=1e-6) == pytest.approx(found[UNKNOWN], rel=1e-6)


def test_a_model_that_knows_a_word_is_not_better_off_for_not_knowing_it() -> None:
    """Two uniform models: the one with `<unk>` in place of half the words has the same perplexity over all of them."""
    words = {f"w{number}" for number in range(8)} | {UNKNOWN}
    knowing, ignorant = sorted(words), [*sorted(words)[:4], UNKNOWN]
    text = [f"w{number}" for number in range(8)] * 5

    def uniform(vocabulary: list[str]) -> Trained:
        weights = initial_weights(CONFIGS["test"], len(vocabulary), 1)
        return Trained(weights._replace(softmax=np.zeros_like(weights.softmax)), vocabulary)

    assert perplexity(uniform(knowing), text, words) == pytest.approx(9, rel=1e-5)
    assert perplexity(uniform(ignorant), text, words) > 9


def test_the_text_is_held_out_from_both() -> None:
    def lines(*texts: str) -> list[Line]:
        return [Line((), tuple(text.split())) for text in texts]

    new = [lines("a", "b"), lines("c", "d"), lines("e")]
    old = [lines("c", "x"), lines("a"), lines("b")]
    assert select_held_out(new, old) == ["d", "e"]


def folders(path: Path, plays: range, words: list[str]) -> tuple[Path, Path]:
    """A model's folder and its scripts' folder."""
    data, trained = path / "data", path / "model"
    for folder in (data, trained):
        folder.mkdir(parents=True)
    for number in plays:
        (data / f"play_{number}.txt").write_text(corpora.play(number))
    save(trained, initial_weights(CONFIGS["test"], len(words), 1), words)
    (trained / "metrics.json").write_text(json.dumps({"seed": 1}))
    return trained, data


def test_the_command_compares_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [EOS, UNKNOWN, "the", "cold", "river"]
    candidate = folders(tmp_path / "new", range(8), words)
    released = folders(tmp_path / "old", range(4), words)
    out = tmp_path / "evaluation.json"
    command = ["evaluate", "--out", str(out)]
    for name, (trained, data) in (("candidate", candidate), ("released", released)):
        command += [f"--{name}", str(trained), f"--{name}-data", str(data)]
    monkeypatch.setattr(sys, "argv", command)
    main()
    found = json.loads(out.read_text())
    assert found["tokens"] > 100
    assert found["candidate"] == pytest.approx(found["released"])
    assert "held-out tokens" in capsys.readouterr().out


def test_nothing_held_out_from_both_gives_no_perplexity(tmp_path: Path) -> None:
    for name in ("new", "old"):
        _, data = folders(tmp_path / name, range(0), [EOS, UNKNOWN])
        for split in ("train", "valid", "test"):
            (data / f"ptb.{split}.txt").write_text("the same line\n")
    found = compare(*((tmp_path / name / "model", tmp_path / name / "data") for name in ("new", "old")))
    assert (found["tokens"], found["candidate"]) == (0, None)
