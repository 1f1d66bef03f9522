"""The cross-entropy of a text, token by token, and what a continuous cache gives to each token.

The cache (Grave, Joulin and Usunier 2017) remembers the network's last outputs, each with the word that came after it. A
word's chance is the share of it among what followed outputs like the present one:

    p(w | h) ∝ Σ exp(SHARPNESS · cos(h, h')) over the WINDOW outputs h' before that w came after

It is measured beside the network, and mixed with it afterwards (`model/ngram.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.network import State, Tensor, Weights, layers_of, run_layer, state_before, write_out_softmax
from model.tensorflow import tf

SEGMENT = 100  # tokens of a text that are evaluated at once
WINDOW = 500  # tokens that the cache remembers
SHARPNESS = 13.0  # as measured on valid: docs/model.md
NOTHING = -1  # in place of a word


class Measured(NamedTuple):
    """Of each token of a text, [N]: its cross-entropy under the network, and its chance in the cache."""

    losses: NDArray[np.float64]
    cached: NDArray[np.float64]


class Memory(NamedTuple):
    """What the cache holds, the latest last."""

    outputs: Tensor  # [WINDOW, H], each of length 1
    words: Tensor  # [WINDOW], what came after them


def measure(weights: Weights, ids: NDArray[np.int32], first: int) -> Measured:
    """Measures a text over the full vocabulary: its first token after the word `first`, the others after all that stands
    before them."""
    padded = np.zeros(-(-len(ids) // SEGMENT) * SEGMENT + 1, np.int32)
    padded[0], padded[1 : len(ids) + 1] = first, ids
    x, y = (tf.constant(part.reshape(-1, SEGMENT, 1)) for part in (padded[:-1], padded[1:]))
    found = _measure(write_out_softmax(weights), x, y)
    return Measured(*(np.asarray(part, np.float64).ravel()[: len(ids)] for part in found))


def measure_segments(weights: Weights, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of [segments, T, 1] targets, each [segments, T]: cross-entropy, and chance in the cache."""
    state, segments = state_before(weights.biases), tf.shape(x)[0]
    memory = Memory(tf.zeros([WINDOW, weights.embedding.shape[1]]), tf.fill([WINDOW], NOTHING))
    losses, cached = (tf.TensorArray(tf.float32, segments) for _ in range(2))
    for n in tf.range(segments):
        here, there = (tf.ensure_shape(part[n], (SEGMENT, 1)) for part in (x, y))
        state, outputs, measured = measure_segment(weights, state, here, there)
        memory, chances = recall(memory, outputs, there[:, 0])
        losses, cached = losses.write(n, measured), cached.write(n, chances)
    return losses.stack(), cached.stack()


_measure: Callable[[Weights, Tensor, Tensor], tuple[Tensor, Tensor]] = tf.function(measure_segments)


def measure_segment(weights: Weights, state: State, x: Tensor, y: Tensor) -> tuple[State, Tensor, Tensor]:
    """The state after [T, B] inputs; the last layer's outputs, [T·B, H]; and the cross-entropy of each target, [T·B]."""
    flow = tf.gather(weights.embedding, tf.reshape(x, [-1]))
    cells, outputs = [], []
    for n, layer in enumerate(layers_of(weights.kernels, weights.biases, weights.mogrifiers)):
        trace = run_layer(flow, layer, state.cells[n], state.outputs[n], x.shape[0])
        cells.append(trace.cells[-1])
        outputs.append(trace.outputs[-1])
        flow = tf.concat(trace.outputs[1:], 0)
    logits = flow @ weights.softmax[:-1] + weights.softmax[-1]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.reshape(y, [-1]), logits)
    return State(tuple(cells), tuple(outputs)), flow, losses


def recall(memory: Memory, outputs: Tensor, words: Tensor) -> tuple[Memory, Tensor]:
    """The memory after [T, H] outputs that [T] words come after, and the words' chances in it; 0 where it is empty."""
    outputs = tf.math.l2_normalize(outputs, 1)
    held = Memory(tf.concat([memory.outputs, outputs], 0), tf.concat([memory.words, words], 0))
    places, now = tf.range(held.words.shape[0])[None], tf.range(words.shape[0])[:, None]
    seen = (places >= now) & (places < now + WINDOW) & (held.words[None] != NOTHING)
    likeness = tf.matmul(outputs, held.outputs, transpose_b=True)
    # No cosine is above 1: nothing overflows.
    shares = tf.where(seen, tf.exp(SHARPNESS * (likeness - 1)), 0.0)
    hits = tf.where(held.words[None] == words[:, None], shares, 0.0)
    chances = tf.math.divide_no_nan(tf.reduce_sum(hits, 1), tf.reduce_sum(shares, 1))
    return Memory(held.outputs[-WINDOW:], held.words[-WINDOW:]), chances
