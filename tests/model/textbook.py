"""The network as the paper writes it down, in plain NumPy: slow, and easy to check by eye."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.network import Weights

Array = NDArray[Any]


def textbook_outputs(weights: Weights, x: Array) -> Array:
    """The last layer's outputs [T, B, H] in plain numpy, one token after the other (Zaremba 2014, equations 3 to 6; Melis et
    al. 2020, equation 2)."""
    w = _in_float64(weights)
    width = w.embedding.shape[1]
    outputs = np.zeros((*x.shape, width))
    for b in range(x.shape[1]):
        h = [np.zeros(width) for _ in w.kernels]
        c = [np.zeros(width) for _ in w.kernels]
        for t in range(x.shape[0]):
            flow = w.embedding[x[t, b]]
            for n, (kernel, bias) in enumerate(zip(w.kernels, w.biases, strict=True)):
                if w.mogrifiers:
                    h[n] = 2 / (1 + np.exp(-(np.append(flow, 1) @ w.mogrifiers[n]))) * h[n]
                i, f, o, j = np.split(np.concatenate([flow, h[n]]) @ kernel + bias, 4)
                c[n] = c[n] / (1 + np.exp(-f)) + np.tanh(j) / (1 + np.exp(-i))
                flow = h[n] = np.tanh(c[n]) / (1 + np.exp(-o))
            outputs[t, b] = flow
    return outputs


def textbook_losses(weights: Weights, x: Array, y: Array) -> Array:
    """The cross-entropies of [T, B] targets."""
    softmax = _in_float64(weights).softmax
    losses = np.zeros(x.shape)
    for (t, b), h in zip(np.ndindex(x.shape), textbook_outputs(weights, x).reshape(x.size, -1), strict=True):
        logits = h @ softmax[:-1] + softmax[-1]
        losses[t, b] = math.log(np.exp(logits).sum()) - logits[y[t, b]]
    return losses


def textbook_cache(outputs: Array, words: Array, window: int, sharpness: float) -> list[float]:
    """The chance of each word among those that came after outputs like the one before it (Grave et al. 2017, equation 3, of
    cosines)."""
    units = [output / np.linalg.norm(output) for output in outputs]
    chances = []
    for now, word in enumerate(words):
        shares = {n: math.exp(sharpness * (units[n] @ units[now])) for n in range(max(0, now - window), now)}
        hits = sum(share for n, share in shares.items() if words[n] == word)
        chances.append(hits / sum(shares.values()) if shares else 0.0)
    return chances


def _in_float64(weights: Weights) -> Weights:
    return Weights(*(tf.nest.map_structure(lambda t: np.asarray(t, np.float64), part) for part in weights))
