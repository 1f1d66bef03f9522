"""Word vectors: the best approximation of what stands by what, from counts made otherwise."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model import trainer
from model import word_vectors as module
from model.checkpoints import Trained
from model.network import initial_weights
from model.trainer import Trainer, extend_weights, first_weights
from model.word_vectors import POWER, SMOOTHING, WINDOW, word_vectors
from tests.model.recipes import OWN
from tests.model.test_trainer import corpus

WORDS = 30


def text(length: int = 400) -> NDArray[np.int32]:
    return np.random.default_rng(length).zipf(1.4, length).astype(np.int32) % (WORDS - 1)


def associations(ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """The positive pointwise mutual information of words and what is before and after them, one pair after the other."""
    pairs: Counter[tuple[int, str, int]] = Counter()
    for here, word in enumerate(ids):
        for distance in range(1, WINDOW + 1):
            if here >= distance:
                pairs[word, "before", ids[here - distance]] += 1 / distance  # type: ignore[assignment]
            if here + distance < len(ids):
                pairs[word, "after", ids[here + distance]] += 1 / distance  # type: ignore[assignment]
    each, neighbours = Counter[int](), Counter[tuple[str, int]]()
    for (word, side, other), count in pairs.items():
        each[word] += count
        neighbours[side, other] += count
    total = sum(count**SMOOTHING for count in neighbours.values())
    matrix = np.zeros((WORDS, 2 * WORDS))
    for (word, side, other), count in pairs.items():
        chance = each[word] * neighbours[side, other] ** SMOOTHING / total
        matrix[word, other + WORDS * (side == "after")] = max(0.0, np.log(count / chance))
    return matrix


@pytest.mark.parametrize("dimensions", [3, 12])
def test_vectors_are_the_best_of_so_many_dimensions(dimensions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their products with each other are those of the largest singular values of the matrix."""
    monkeypatch.setattr(module, "ROUNDS", 50)
    vectors = word_vectors(text(), WORDS, dimensions, seed=1).astype(np.float64)
    left, values, _ = np.linalg.svd(associations(text()))
    wanted = left[:, :dimensions] * values[:dimensions] ** POWER
    wanted /= np.sqrt(np.mean(wanted**2))
    np.testing.assert_allclose(vectors @ vectors.T, wanted @ wanted.T, atol=1e-3)


def test_they_are_a_function_of_text_and_seed_as_large_as_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE", 0)
    one, same, other = (word_vectors(text(), WORDS, 5, seed) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()
    assert np.mean(one**2) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("ids", [text(2), np.zeros(50, np.int32)], ids=["pair", "repeated"])
def test_a_text_that_says_nothing_has_vectors_too(ids: NDArray[np.int32]) -> None:
    with np.errstate(all="raise", under="ignore"):
        vectors = word_vectors(ids, WORDS, 40, seed=1)
    assert vectors.shape == (WORDS, 40)
    assert np.isfinite(vectors).all()


def test_a_training_begins_from_them() -> None:
    config, data = dataclasses.replace(OWN, vectors_start=True), corpus(400)
    embedding = np.asarray(first_weights(config, data, 1).embedding)
    vectors = word_vectors(data.train, len(data.words), config.hidden, 1)
    np.testing.assert_allclose(embedding, vectors * config.init / np.sqrt(3), rtol=1e-6)
    assert not np.allclose(embedding, np.asarray(first_weights(OWN, data, 1).embedding))


def test_a_training_that_goes_on_has_no_need_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = dataclasses.replace(OWN, vectors_start=True), corpus(400)
    begun = Trainer(config, data, 1, print)
    begun.save(tmp_path)
    monkeypatch.delattr(trainer, "word_vectors")
    gone_on = Trainer(config, data, 1, print)
    assert gone_on.resume(tmp_path)
    assert np.array_equal(gone_on.weights.embedding, begun.weights.embedding)


def test_new_words_of_a_warm_start_are_random_among_trained_vectors() -> None:
    config, data = dataclasses.replace(OWN, vectors_start=True), corpus(400)
    old = initial_weights(config, 10, 2)
    extended = np.asarray(extend_weights(config, Trained(old, data.words[:10]), data, 1).embedding)
    random = np.asarray(initial_weights(config, len(data.words), 1).embedding)
    assert (extended == np.concatenate([old.embedding, random[10:]])).all()
