"""Dropout: what it drops, that the rest is scaled up for it, and that training has it and nothing else does."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from model.configs import Config
from model.network import clipped_step, dropout_masks, gradients, initial_weights, zero_state
from model.sampled_softmax import sampled_step, word_masks, zero_moments
from tests.model.recipes import OWN, TINY

VOCABULARY = 11
HALF = dataclasses.replace(TINY, keep=0.5, max_norm=1e9)


def masks(config: Config, seed: int = 1, step: int = 0) -> NDArray[np.float32]:
    """[layers + 1, T, B, H]."""
    found = np.asarray(dropout_masks(config, (seed, tf.constant(step))))
    return found.reshape(config.layers + 1, config.steps, config.batch, config.hidden)


@pytest.mark.parametrize("keep", [0.35, 0.5, 0.8])
@pytest.mark.parametrize("recipe", [TINY, OWN], ids=lambda recipe: recipe.name)
def test_what_is_kept_is_scaled_so_that_the_expectation_stays(recipe: Config, keep: float) -> None:
    config = dataclasses.replace(recipe, keep=keep, hidden=100, batch=40)
    found = masks(config)
    assert set(np.unique(found)) == {np.float32(0), np.float32(1) / np.float32(keep)}
    # Five standard deviations of the mean of so many independent draws.
    draws = found[:, 0].size if config.variational_dropout else found.size
    assert abs(found.mean() - 1) < 5 * np.sqrt((1 - keep) / keep / draws)


def test_every_mask_is_another() -> None:
    drawn = [masks(HALF), masks(HALF, seed=2), masks(HALF, step=1)]
    parts = [mask.tobytes() for each in drawn for layer in each for mask in layer]
    assert len(set(parts)) == len(parts) == 3 * (HALF.layers + 1) * HALF.steps
    assert (masks(HALF) == drawn[0]).all()


def test_variational_dropout_drops_the_same_units_at_all_steps() -> None:
    found = masks(dataclasses.replace(OWN, keep=0.5))
    assert (found == found[:, :1]).all()
    assert len({layer[0].tobytes() for layer in found}) == OWN.layers + 1
    streams = found[0, 0]
    assert len({stream.tobytes() for stream in streams}) == OWN.batch


def test_a_dropped_word_is_dropped_wherever_it_stands() -> None:
    config, words = dataclasses.replace(OWN, words_kept=0.9), tf.range(1000)
    x = tf.reshape(tf.tile(words, [3]), [60, 50])

    def drawn(seed: int, step: int) -> NDArray[np.float32]:
        found = np.asarray(word_masks(config, (seed, tf.constant(step)), words, x)).reshape(3, 1000)
        assert (found == found[0]).all()
        one: NDArray[np.float32] = found[0]
        return one

    first = drawn(1, 0)
    assert set(first) == {np.float32(0), np.float32(1) / np.float32(0.9)}
    # Five standard deviations.
    assert abs((first == 0).mean() - 0.1) < 5 * np.sqrt(0.1 * 0.9 / 1000)
    assert (drawn(1, 0) == first).all()
    for other in (drawn(1, 1), drawn(2, 0)):
        # As many are dropped in both as chance has it.
        assert abs(((first == 0) & (other == 0)).mean() - 0.01) < 5 * np.sqrt(0.01 * 0.99 / 1000)


def batch() -> tuple[Any, Any]:
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (TINY.steps + 1, TINY.batch)).astype(np.int32)
    return tf.constant(ids[:-1]), tf.constant(ids[1:])


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_a_step_of_gradient_descent_has_dropout_where_less_than_all_is_kept(keep: float) -> None:
    config = dataclasses.replace(HALF, keep=keep)
    weights, state, (x, y) = initial_weights(config, VOCABULARY, 3), zero_state(config, config.batch), batch()
    seed = (7, tf.constant(2))
    fresh, after, loss = clipped_step(config, weights, state, x, y, tf.constant(0.25), seed)
    mask = dropout_masks(config, seed) if keep < 1 else None
    wanted_loss, wanted_after, grads = gradients(weights, state, x, y, mask)
    assert float(loss) == float(wanted_loss)
    rows = tf.math.unsorted_segment_sum(grads.embedding, tf.reshape(x, [-1]), VOCABULARY)
    wanted = tf.nest.map_structure(lambda old, grad: old - 0.25 * grad, weights, grads._replace(embedding=rows))
    pairs = [(fresh, wanted), (after, wanted_after)]
    for found, expected in (
        (a, b) for one, two in pairs for a, b in zip(*map(tf.nest.flatten, (one, two)), strict=True)
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("keep", "words_kept"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.6), (0.5, 0.6)])
def test_a_sampled_step_has_dropout_where_less_than_all_is_kept(keep: float, words_kept: float) -> None:
    words = tf.range(VOCABULARY), tf.zeros(VOCABULARY)
    config = dataclasses.replace(OWN, steps=TINY.steps, batch=TINY.batch, keep=keep, words_kept=words_kept)
    weights, state, (x, y) = initial_weights(config, VOCABULARY, 3), zero_state(config, config.batch), batch()
    seed = (7, tf.constant(2))
    *_, loss = sampled_step(config, weights, zero_moments(weights), state, words, x, y, tf.constant(0.1), seed)
    full = weights._replace(softmax=tf.concat([tf.transpose(weights.embedding), weights.softmax], 0))
    mask = np.asarray(dropout_masks(config, seed)).copy()
    # Of the words alone that come in: the first of the masks.
    mask[0] *= np.asarray(word_masks(config, seed, words[0], x))
    assert (mask == 1).all() == (keep == words_kept == 1)
    wanted, _, _ = gradients(full, state, x, y, tf.constant(mask))
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
