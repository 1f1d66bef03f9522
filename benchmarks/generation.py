"""How fast words are drawn from `small`, beside two ways to do it with Keras: `python benchmarks/generation.py`.

All three read the same weights and draw one word after the other from the softmax over the vocabulary. The peers are
what is written first: Keras layers that keep their state, called on one word at a time, as they are and in a
tf.function. Rounds take turns; the median counts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `python -m model.generate` runs; read when NumPy is imported

import numpy as np
import tensorflow as tf

from model.configs import CONFIGS
from model.network import Weights, initial_weights
from model.sampling import Sampler, draw_words


def ours(weights: Weights, sampler: Sampler) -> Iterator[object]:
    """Words from `model.sampling`."""
    words = [str(number) for number in range(weights.embedding.shape[0])]
    return draw_words(weights, words, [0], 1, sampler)


def keras(weights: Weights, compiled: bool) -> Iterator[object]:
    """Words from Keras layers with these weights (their gates are in the order i, f, j, o)."""
    vocabulary, width = weights.embedding.shape
    layers = [tf.keras.layers.Embedding(vocabulary, width)]
    layers += [tf.keras.layers.LSTM(width, return_sequences=True, stateful=True) for _ in weights.kernels]
    layers += [tf.keras.layers.Dense(vocabulary)]
    network = tf.keras.Sequential([tf.keras.Input((1,), batch_size=1, dtype="int32"), *layers])
    order = np.concatenate([np.arange(2 * width), np.arange(3 * width, 4 * width), np.arange(2 * width, 3 * width)])
    layers[0].set_weights([weights.embedding])
    for layer, kernel, bias in zip(layers[1:-1], weights.kernels, weights.biases, strict=True):
        layer.set_weights([kernel[:width, order], kernel[width:, order], bias[order]])
    layers[-1].set_weights([weights.softmax[:-1], weights.softmax[-1]])

    def step(word: tf.Tensor) -> tf.Tensor:
        return tf.random.categorical(network(word)[:, -1], 1, dtype=tf.int32)

    step = tf.function(step) if compiled else step
    word = tf.zeros([1, 1], tf.int32)
    while True:
        word = step(word)
        yield int(word[0, 0])


def main() -> None:
    """Prints words a second of each, and how many times as fast ours is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=10_000, help="words (default 10000, as PTB has)")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    weights = initial_weights(CONFIGS["small"], options.vocabulary, seed=1)
    weights = Weights(*(tf.nest.map_structure(np.asarray, part) for part in weights))
    drawn: dict[str, tuple[Iterator[object], int]] = {
        "ours": (ours(weights, Sampler()), 2000),
        "ours, top_p 0.9": (ours(weights, Sampler(top_p=0.9)), 2000),
        "ours, top_k 40": (ours(weights, Sampler(top_k=40)), 2000),
        "Keras in a tf.function": (keras(weights, compiled=True), 500),
        "Keras": (keras(weights, compiled=False), 50),
    }
    speeds: dict[str, list[float]] = {name: [] for name in drawn}
    for words, _ in drawn.values():
        next(words)
    for _ in range(options.rounds):
        for name, (words, count) in drawn.items():
            start = time.perf_counter()
            list(itertools.islice(words, count))
            speeds[name].append(count / (time.perf_counter() - start))
    best = statistics.median(speeds["ours"])
    for name, found in speeds.items():
        middle = statistics.median(found)
        print(f"{name:24} {middle:7.0f} words/s   {best / middle:6.1f} ×   ({min(found):.0f} to {max(found):.0f})")


if __name__ == "__main__":
    main()
