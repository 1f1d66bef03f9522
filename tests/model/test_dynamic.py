"""Dynamic evaluation: against plain TensorFlow that differentiates by itself, and what must hold of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from model import dynamic
from model.cross_entropy import measure, measure_segment
from model.dynamic import FLOOR, PULL, RATE, RUNS, SAMPLE, SEGMENT
from model.network import Weights, initial_weights, write_out_softmax, zero_state
from tests.model.recipes import OWN, TINY

VOCABULARY = 23
Ids = NDArray[np.int32]
CONFIGS = (TINY, dataclasses.replace(OWN, init=0.5))


def words(length: int, seed: int) -> Ids:
    return np.random.default_rng(seed).integers(0, VOCABULARY, length).astype(np.int32)


def segments(text: Ids, first: int) -> Iterator[tuple[Ids, Ids]]:
    before = np.append(np.int32(first), text)
    for begin in range(0, len(text), SEGMENT):
        yield before[begin : begin + SEGMENT, None], text[begin : begin + SEGMENT, None]


def learning(weights: Weights) -> list[Any]:
    return [*weights.kernels, *weights.biases, *weights.mogrifiers, weights.softmax[-1]]


def differentiate(weights: Weights, parts: list[Any], state: Any, x: Ids, y: Ids) -> tuple[Any, Any, list[Any]]:
    """State, losses and gradients, where `parts` stand in for those of `weights` that learn."""
    layers = len(weights.kernels)
    with tf.GradientTape() as tape:
        tape.watch(parts)
        full = weights._replace(
            kernels=tuple(parts[:layers]),
            biases=tuple(parts[layers : 2 * layers]),
            mogrifiers=tuple(parts[2 * layers : -1]),
            softmax=tf.concat([weights.softmax[:-1], parts[-1][None]], 0),
        )
        state, _, losses = measure_segment(full, state, tf.constant(x), tf.constant(y))
        total = tf.reduce_sum(losses)
    return state, losses, tape.gradient(total, parts)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_it_is_the_plain_loop(config: Any) -> None:
    weights = initial_weights(config, VOCABULARY, seed=1)
    train, text = words(RUNS * SEGMENT + 1, 1), words(4 * SEGMENT, 2)
    full = write_out_softmax(weights)
    start = [tf.constant(part) for part in learning(full)]
    squares, count = [0.0] * len(start), 0
    length = SAMPLE // RUNS * SEGMENT
    for begin in np.linspace(0, len(train) - 1 - length, RUNS).astype(int):
        state = zero_state(config, 1)
        for x, y in segments(train[begin + 1 : begin + 1 + length], int(train[begin])):
            state, _, grads = differentiate(full, start, state, x, y)
            squares = [total + grad**2 for total, grad in zip(squares, grads, strict=True)]
            count += 1
    sizes = [np.sqrt(total / count) for total in squares]
    now, state, wanted = start, zero_state(config, 1), []
    for x, y in segments(text, 3):
        state, losses, grads = differentiate(full, now, state, x, y)
        wanted.extend(losses.numpy())
        now = [
            weight
            - RATE * grad / (size + FLOOR * size.mean())
            + np.minimum(1, PULL * size / size.mean()) * (first - weight)
            for weight, first, grad, size in zip(now, start, grads, sizes, strict=True)
        ]
    # Beside another text, which changes nothing.
    _, found = dynamic.losses(weights, train, [text[:7], text], 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_no_word_is_learned_from_before_it_is_measured() -> None:
    weights = initial_weights(CONFIGS[1], VOCABULARY, seed=1)
    train, text = words(500, 1), words(47, 2)
    (whole,) = dynamic.losses(weights, train, [text], 3)
    assert len(whole) == len(text)
    # Until the first step it is the trained network.
    np.testing.assert_allclose(whole[:SEGMENT], measure(weights, text[:SEGMENT], 3).losses, rtol=1e-5)
    for length in (SEGMENT + 1, 2 * SEGMENT, 33):
        other = np.append(text[:length], words(30, 4))
        (found,) = dynamic.losses(weights, train, [other], 3)
        np.testing.assert_array_equal(found[:length], whole[:length])


def test_what_a_text_says_again_is_learned() -> None:
    weights = initial_weights(CONFIGS[1], VOCABULARY, seed=1)
    train, text = words(500, 1), np.tile(words(7, 2), 60)
    still, (learned,) = measure(weights, text, 3).losses, dynamic.losses(weights, train, [text], 3)
    assert learned[-100:].mean() < still[-100:].mean() - 0.1
    assert learned[-100:].mean() < learned[100:200].mean()
