"""Dynamic evaluation (Krause, Kahembwe, Murray and Renals 2018): a network that learns from a text while it is measured on it.

Each segment is measured first and learned from afterwards, so no word is known before it is predicted. A step is plain
gradient descent, divided by how large each weight's gradient usually is on the training text, and every weight is drawn
back to what training made of it, the more, the larger its gradients are:

    θ ← θ - RATE · g / (r + FLOOR · mean r) + PULL · r / mean r · (trained θ - θ),   r² = the mean of g² in training

The layers and the softmax's bias learn. The rows of the words do not: most have hardly any gradient in training, so that a
step of any use to the others throws them far off (docs/model.md). Their products are what is dear, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.network import (
    Layer,
    State,
    Tensor,
    Weights,
    differentiate_layer,
    layers_of,
    parts_of,
    run_layer,
    state_before,
    write_out_softmax,
)
from model.tensorflow import tf

SEGMENT = 10  # tokens between two steps
RATE, PULL, FLOOR = 1.5e-3, 3e-3, 0.1
SAMPLE = 600  # segments of the training text that gradients are measured on, in RUNS runs
RUNS = 60
FITTED = 10_000  # tokens of valid that a mixture's weights are fitted on
COST = 5.2  # times the time of an evaluation in which nothing is learned, at 320 units


class Learning(NamedTuple):
    """What learns: a network's layers, and its softmax's bias; or their gradients."""

    kernels: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    mogrifiers: tuple[Tensor, ...]
    bias: Tensor  # [V]


def losses(
    weights: Weights, train: NDArray[np.int32], texts: Sequence[NDArray[np.int32]], first: int
) -> list[NDArray[np.float64]]:
    """The cross-entropy of each token of some texts, of each one's first token after the word `first`; what is left of a segment
    counts, too. The texts are followed side by side, each from the trained weights on: one alone hardly occupies a core."""
    full = write_out_softmax(weights)
    fixed = (full.embedding, full.softmax[:-1], tf.transpose(full.softmax[:-1]))
    kernels, biases, mogrifiers = (
        tuple(map(tf.constant, part)) for part in (full.kernels, full.biases, full.mogrifiers)
    )
    trained = Learning(kernels, biases, mogrifiers, full.softmax[-1])
    sizes = _usual_sizes(fixed, trained, train)

    def follow(text: NDArray[np.int32]) -> NDArray[np.float64]:
        padded = np.concatenate([[first], text, np.zeros(-len(text) % SEGMENT)]).astype(np.int32)
        x, y = (tf.constant(part.reshape(-1, SEGMENT)) for part in (padded[:-1], padded[1:]))
        return np.asarray(_follow(fixed, trained, sizes, x, y), np.float64).ravel()[: len(text)]

    with ThreadPoolExecutor() as pool:
        return list(pool.map(follow, texts))


def _usual_sizes(fixed: tuple[Tensor, ...], trained: Learning, train: NDArray[np.int32]) -> Learning:
    """The root of the mean square of each gradient on segments from all over the training text."""
    length = min(SAMPLE // RUNS * SEGMENT, (len(train) - 1) // SEGMENT * SEGMENT)
    begins = np.linspace(0, len(train) - 1 - length, RUNS).astype(int)
    x, y = (
        tf.constant(np.stack([train[b + shift : b + shift + length] for b in begins]).reshape(RUNS, -1, SEGMENT))
        for shift in (0, 1)
    )
    return _measure(fixed, trained, x, y)


def measure_gradients(fixed: tuple[Tensor, ...], trained: Learning, x: Tensor, y: Tensor) -> Learning:
    """The root of the mean square of each gradient on [runs, segments, SEGMENT] tokens."""
    sums = tf.nest.map_structure(tf.zeros_like, trained)
    for run in tf.range(tf.shape(x)[0]):
        state = state_before(trained.biases)
        for n in tf.range(tf.shape(x)[1]):
            _, state, grads = _differentiate(fixed, trained, state, x[run, n], y[run, n])
            sums = tf.nest.map_structure(lambda total, grad: total + grad * grad, sums, grads)
    count = tf.cast(tf.size(x) // SEGMENT, tf.float32)
    sizes: Learning = tf.nest.map_structure(lambda total: tf.sqrt(total / count), sums)
    return sizes


def follow_text(fixed: tuple[Tensor, ...], trained: Learning, sizes: Learning, x: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each token of [segments, SEGMENT]."""
    now, state, found = trained, state_before(trained.biases), tf.TensorArray(tf.float32, tf.shape(x)[0])
    steps = tf.nest.map_structure(lambda size: RATE / (size + FLOOR * tf.reduce_mean(size)), sizes)
    pulls = tf.nest.map_structure(lambda size: tf.minimum(1.0, PULL * size / tf.reduce_mean(size)), sizes)
    for n in tf.range(tf.shape(x)[0]):
        measured, state, grads = _differentiate(fixed, now, state, x[n], y[n])
        found = found.write(n, measured)
        now = tf.nest.map_structure(
            lambda weight, start, grad, step, pull: weight - step * grad + pull * (start - weight),
            now,
            trained,
            grads,
            steps,
            pulls,
        )
    return found.stack()


_measure: Callable[..., Learning] = tf.function(measure_gradients)
_follow: Callable[..., Tensor] = tf.function(follow_text, reduce_retracing=True)


def _differentiate(
    fixed: tuple[Tensor, ...], now: Learning, state: State, x: Tensor, y: Tensor
) -> tuple[Tensor, State, Learning]:
    """The cross-entropy of each of a segment's targets, the state after it, and the gradients of their sum."""
    embedding, projection, backward = fixed
    x, y = tf.ensure_shape(x, [SEGMENT]), tf.ensure_shape(y, [SEGMENT])
    inputs, traces = [tf.gather(embedding, x)], []
    layers = layers_of(now.kernels, now.biases, now.mogrifiers)
    for n, layer in enumerate(layers):
        traces.append(run_layer(inputs[n], layer, state.cells[n], state.outputs[n], SEGMENT))
        inputs.append(tf.concat(traces[n].outputs[1:], 0))
    logits = inputs[-1] @ projection + now.bias
    measured = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    places = tf.stack([tf.range(SEGMENT), y], 1)
    d_logits = tf.tensor_scatter_nd_sub(tf.nn.softmax(logits), places, tf.ones([SEGMENT]))
    d_flow = d_logits @ backward
    grads: list[Layer] = []
    for n in reversed(range(len(traces))):
        d_flow, grad = differentiate_layer(traces[n], inputs[n], layers[n], d_flow)
        grads.insert(0, grad)
    after = State(tuple(t.cells[-1] for t in traces), tuple(t.outputs[-1] for t in traces))
    return measured, after, Learning(*parts_of(grads), tf.reduce_sum(d_logits, 0))
