"""The network against independent mathematics, and training as a whole."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from model.configs import CONFIGS
from model.network import (
    State,
    Weights,
    clipped_step,
    global_norm,
    gradients,
    initial_weights,
    write_out_softmax,
    zero_state,
)
from tests.model.recipes import OWN, TINY
from tests.model.textbook import textbook_losses

VOCABULARY = 11
Array = NDArray[Any]


def text(seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCABULARY, (TINY.steps + 1, TINY.batch)).astype(np.int32)
    return ids[:-1], ids[1:]


def test_the_loss_is_the_one_of_the_paper() -> None:
    weights = initial_weights(TINY, VOCABULARY, seed=3)
    x, y = text()
    loss, _, _ = gradients(weights, zero_state(TINY, TINY.batch), tf.constant(x), tf.constant(y), None)
    assert float(loss) == pytest.approx(textbook_losses(weights, x, y).sum(), rel=1e-5)


def test_a_segment_goes_on_with_the_state_before_it() -> None:
    weights = initial_weights(TINY, VOCABULARY, seed=3)
    x, y = text()
    state, losses = zero_state(TINY, TINY.batch), []
    assert not any(np.asarray(part).any() for part in tf.nest.flatten(state))
    for part in (slice(0, 1), slice(1, None)):
        loss, state, _ = gradients(weights, state, tf.constant(x[part]), tf.constant(y[part]), None)
        losses.append(float(loss))
    assert sum(losses) == pytest.approx(textbook_losses(weights, x, y).sum(), rel=1e-5)


def autodiff_loss(weights: Weights, state: State, x: Array, y: Array, masks: tf.Tensor | None) -> tf.Tensor:
    """The loss as one would write it down: a cell a step, a softmax over everything."""
    cells, outputs = list(state.cells), list(state.outputs)
    steps, batch = x.shape
    loss = tf.zeros([], weights.embedding.dtype)
    for t in range(steps):
        part = slice(t * batch, (t + 1) * batch)
        flow = tf.gather(weights.embedding, x[t])
        for n, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases, strict=True)):
            flow = flow if masks is None else flow * masks[n, part]
            if weights.mogrifiers:
                scale = flow @ weights.mogrifiers[n][:-1] + weights.mogrifiers[n][-1]
                outputs[n] = 2 * tf.sigmoid(scale) * outputs[n]
            i, f, o, j = tf.split(tf.concat([flow, outputs[n]], 1) @ kernel + bias, 4, 1)
            cells[n] = tf.sigmoid(f) * cells[n] + tf.sigmoid(i) * tf.tanh(j)
            flow = outputs[n] = tf.sigmoid(o) * tf.tanh(cells[n])
        flow = flow if masks is None else flow * masks[-1, part]
        logits = flow @ weights.softmax[:-1] + weights.softmax[-1]
        loss += tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y[t], logits)) / batch
    return loss


@pytest.mark.parametrize(("dtype", "bound"), [(tf.float64, 1e-12), (tf.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("dropout", [False, True], ids=["whole", "dropout"])
@pytest.mark.parametrize("mogrified", [False, True], ids=["plain", "mogrified"])
def test_the_gradient_is_that_of_automatic_differentiation(
    dtype: tf.DType, bound: float, dropout: bool, mogrified: bool
) -> None:
    random = np.random.default_rng(5)
    shapes = initial_weights(TINY, VOCABULARY, seed=3)
    if mogrified:
        shapes = shapes._replace(mogrifiers=(tf.zeros([TINY.hidden + 1, TINY.hidden]),) * TINY.layers)
    weights, state = (
        tf.nest.map_structure(lambda part: tf.constant(random.normal(0, 0.4, part.shape), dtype), nested)
        for nested in (shapes, zero_state(TINY, TINY.batch))
    )
    x, y = text()
    kept = random.integers(0, 2, (TINY.layers + 1, TINY.steps * TINY.batch, TINY.hidden))
    masks = tf.constant(kept * 2, dtype) if dropout else None
    flat = tf.nest.flatten(weights)
    with tf.GradientTape() as tape:
        tape.watch(flat)
        expected_loss = autodiff_loss(weights, state, x, y, masks)
    expected = Weights(*tf.nest.pack_sequence_as(weights, tape.gradient(expected_loss, flat)))
    loss, _, grads = gradients(weights, state, tf.constant(x), tf.constant(y), masks)
    assert float(loss) / TINY.batch == pytest.approx(float(expected_loss), rel=bound)
    rows = tf.math.unsorted_segment_sum(grads.embedding, x.reshape(-1), VOCABULARY)
    looked_up = grads._replace(embedding=rows)
    for found, wanted in zip(tf.nest.flatten(looked_up), tf.nest.flatten(expected), strict=True):
        wanted = np.asarray(tf.convert_to_tensor(wanted))  # noqa: PLW2901
        assert np.linalg.norm(np.asarray(found) - wanted) <= bound * np.linalg.norm(wanted)
    if mogrified:
        return
    norm = np.sqrt(sum(np.square(np.asarray(tf.convert_to_tensor(part))).sum() for part in tf.nest.flatten(expected)))
    assert float(global_norm(grads, tf.constant(x))) == pytest.approx(norm, rel=bound)


def test_weights_start_uniform_in_the_range() -> None:
    for config in CONFIGS.values():
        narrow = dataclasses.replace(config, hidden=64)
        weights = initial_weights(narrow, 500, seed=1)
        assert weights.softmax.shape == ((1 if config.tied else 65), 500)
        parts = [np.asarray(part).ravel() for part in tf.nest.flatten(weights)]
        assert (
            len({part[:9].tobytes() for part in parts})
            == len(parts)
            == 2 + (3 if config.mogrified else 2) * config.layers
        )
        for part in parts:
            assert 0.98 * config.init < np.abs(part).max() <= config.init
            error = 5 * config.init / np.sqrt(part.size)
            assert part.mean() == pytest.approx(0, abs=error)
            assert np.abs(part).mean() == pytest.approx(config.init / 2, abs=error)


def test_weights_are_a_function_of_the_seed() -> None:
    one, same, other = (tf.nest.flatten(initial_weights(TINY, VOCABULARY, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_tied_weights_are_the_embedding_s() -> None:
    weights = initial_weights(OWN, VOCABULARY, seed=1)
    full = write_out_softmax(weights).softmax
    np.testing.assert_array_equal(full[:-1], np.asarray(weights.embedding).T)
    np.testing.assert_array_equal(full[-1:], weights.softmax)
    untied = initial_weights(TINY, VOCABULARY, seed=1)
    assert write_out_softmax(untied) is untied


@pytest.mark.parametrize("share", [0.3, 0.99, 1.01, 1000])
def test_clipping_only_shrinks(share: float) -> None:
    """A gradient longer than `max_norm` gets that length, a shorter one stays as it is; its direction does in any case."""
    weights, state = initial_weights(TINY, VOCABULARY, seed=3), zero_state(TINY, TINY.batch)
    x, y = (tf.constant(part) for part in text())
    _, _, grads = gradients(weights, state, x, y, None)
    norm = float(global_norm(grads, x))
    config = dataclasses.replace(TINY, max_norm=share * norm)
    fresh, _, _ = clipped_step(config, weights, state, x, y, tf.constant(0.5), (1, tf.constant(0)))
    moved = [np.asarray(a) - np.asarray(b) for a, b in zip(*map(tf.nest.flatten, (weights, fresh)), strict=True)]
    assert math.sqrt(sum((part**2).sum() for part in moved)) == pytest.approx(0.5 * min(share, 1) * norm, rel=1e-4)
    np.testing.assert_allclose(moved[-1], 0.5 * min(share, 1) * np.asarray(grads.softmax), atol=1e-6)
