"""What network and continuous cache give to the tokens of a text, against plain numpy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from model import cross_entropy
from model.configs import CONFIGS, Config
from model.cross_entropy import SHARPNESS, measure, measure_segments
from model.network import initial_weights, write_out_softmax
from tests.model.recipes import OWN, TINY
from tests.model.textbook import textbook_cache, textbook_losses, textbook_outputs

VOCABULARY = 11
WINDOW = 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments and a memory that a short text goes beyond, neither a multiple of the other; so blunt that a memory which is
    empty would count if it were not left out."""
    monkeypatch.setattr(cross_entropy, "SEGMENT", 7)
    monkeypatch.setattr(cross_entropy, "WINDOW", WINDOW)
    monkeypatch.setattr(cross_entropy, "SHARPNESS", 2.0)
    monkeypatch.setattr(cross_entropy, "_measure", tf.function(measure_segments))


@pytest.mark.parametrize("length", [1, 6, 7, 8, 20])
@pytest.mark.parametrize("config", [TINY, OWN], ids=lambda config: config.name)
def test_every_token_is_measured_once_after_all_before_it(config: Config, length: int) -> None:
    weights = write_out_softmax(initial_weights(config, VOCABULARY, seed=3))
    ids = np.random.default_rng(length).integers(0, VOCABULARY, length).astype(np.int32)
    before = np.concatenate([[5], ids[:-1]])[:, None]
    found = measure(weights, ids, first=5)
    np.testing.assert_allclose(found.losses, textbook_losses(weights, before, ids[:, None])[:, 0], rtol=1e-5)
    outputs = textbook_outputs(weights, before)[:, 0]
    np.testing.assert_allclose(
        found.cached, textbook_cache(outputs, ids, WINDOW, cross_entropy.SHARPNESS), rtol=1e-4, atol=1e-6
    )


def test_the_cache_knows_what_came_after_the_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a text that says the same again, as soon as what has been said is remembered."""
    monkeypatch.setattr(cross_entropy, "SHARPNESS", SHARPNESS)
    ids = np.tile(np.arange(5, dtype=np.int32), 8)
    weights = initial_weights(dataclasses.replace(OWN, init=2.0), VOCABULARY, seed=1)
    cached = measure(weights, ids, first=4).cached
    assert (cached[10:] > 0.9).all()
    assert (cached[:5] == 0).all()


def test_an_untrained_model_guesses_evenly() -> None:
    weights = initial_weights(CONFIGS["test"], 500, seed=1)
    ids = np.random.default_rng(0).integers(0, 500, 40).astype(np.int32)
    assert math.exp(measure(weights, ids, first=0).losses.mean()) == pytest.approx(500, rel=0.02)
