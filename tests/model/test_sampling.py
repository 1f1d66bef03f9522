"""What is drawn is what the model says: frequencies against probabilities, and one network in two places."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.configs import Config
from model.cross_entropy import measure
from model.network import initial_weights, write_out_softmax
from model.sampling import Network, Sampler, draw_words, sample_text
from tests.model.recipes import OWN, TINY

Array = NDArray[Any]
DRAWS = 10_000


def logits(words: int) -> Array:
    return np.random.default_rng(1).normal(0, 1.5, words).astype(np.float32)


def softmax(values: Array) -> Array:
    e = np.exp(values.astype(np.float64) - values.max())
    chances: Array = e / e.sum()
    return chances


def frequencies(sampler: Sampler, values: Array) -> Array:
    random = np.random.default_rng(2)
    return np.bincount([sampler.draw(values, random) for _ in range(DRAWS)], minlength=len(values))


def assert_drawn_from(counts: Array, chances: Array) -> None:
    """Pearson's chi-square; seldom words count together, as the test asks for expectations of 5 and more."""
    assert not counts[chances == 0].any()
    common = chances * DRAWS >= 5
    expected = np.append(chances[common], chances[~common].sum()) * DRAWS
    found = np.append(counts[common], counts[~common].sum())
    expected, found = expected[expected > 0], found[expected > 0]
    freedom = len(expected) - 1
    square = ((found - expected) ** 2 / expected).sum()
    assert square <= freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations: one seed in ten thousand


# 300 words make two blocks and a rest, 128 exactly one.
@pytest.mark.parametrize("words", [2, 11, 128, 300])
@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_words_are_drawn_as_often_as_the_softmax_says(words: int, temperature: float) -> None:
    values = logits(words)
    assert_drawn_from(frequencies(Sampler(temperature), values), softmax(values / temperature))


def test_top_k_keeps_the_likeliest_k() -> None:
    values = logits(300)
    chances = softmax(values)
    chances[np.argsort(-chances)[7:]] = 0
    assert_drawn_from(frequencies(Sampler(top_k=7), values), chances / chances.sum())
    assert_drawn_from(frequencies(Sampler(top_k=1000), values), softmax(values))


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9, 0.9999])
def test_top_p_keeps_the_fewest_words_that_hold_the_share(share: float) -> None:
    values = logits(300)
    chances = softmax(values)
    order = np.argsort(-chances)
    kept = next(n for n in range(1, 301) if chances[order[:n]].sum() >= share)
    chances[order[kept:]] = 0
    assert_drawn_from(frequencies(Sampler(top_p=share), values), chances / chances.sum())


def test_a_nucleus_may_be_nearly_the_whole_vocabulary() -> None:
    values = np.zeros(5000, np.float32)
    values[7] = 1
    random = np.random.default_rng(1)
    drawn = {Sampler(top_p=0.999).draw(values, random) for _ in range(100)}
    assert len(drawn) > 90


def test_temperature_comes_first_then_top_k_then_top_p() -> None:
    values = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    # At temperature 0.5 the chances are 16 : 9 : 4 : 1; of the first three, 16 and 9 hold 0.86.
    counts = frequencies(Sampler(0.5, top_k=3, top_p=0.8), values)
    assert_drawn_from(counts, np.array([16, 9, 0, 0]) / 25)


def test_temperature_zero_takes_the_likeliest() -> None:
    values = logits(300)
    assert Sampler(0).draw(values, np.random.default_rng(1)) == values.argmax()


def test_what_is_barred_is_never_drawn() -> None:
    class Edge:
        """The smallest and the largest number that a generator gives."""

        def __init__(self, u: float) -> None:
            self.u = u

        def random(self) -> float:
            return self.u

    for words, u in itertools.product((3, 128, 129, 400), (0.0, 1 - 2**-53)):
        values = np.full(words, -np.inf, np.float32)
        values[words // 2] = 0
        assert Sampler().draw(values, Edge(u)) == words // 2  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", [TINY, OWN, dataclasses.replace(OWN, layers=2)], ids=["plain", "own", "two layers"])
def test_it_is_the_network_that_was_trained(recipe: Config) -> None:
    weights = write_out_softmax(initial_weights(recipe, 11, seed=3))
    text = np.random.default_rng(0).integers(0, 11, 31).astype(np.int32)
    losses = measure(weights, text[1:], text[0]).losses
    network = Network(weights)
    found = [-np.log(softmax(network.step(word))[target]) for word, target in itertools.pairwise(text)]
    np.testing.assert_allclose(found, losses, rtol=1e-5)


def test_a_text_is_a_function_of_weights_and_seed() -> None:
    weights = initial_weights(TINY, 5, seed=3)
    words = ["<boname>", "<eoname>", "anna", "<unk>", "bread"]

    def text(seed: int, unknown: bool = False) -> list[str]:
        return list(itertools.islice(draw_words(weights, words, [0], seed, Sampler(), unknown), 200))

    assert text(1) == text(1)
    assert text(1) != text(2)
    assert set(text(1)) == {"<boname>", "<eoname>", "anna", "bread"}
    assert "<unk>" in text(1, unknown=True)
    assert sample_text(weights, words) == sample_text(weights, words)
    assert "anna" in sample_text(weights, words).lower()
