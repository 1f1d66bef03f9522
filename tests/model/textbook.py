"""The network as the paper writes it down, in plain NumPy: slow, and easy to check by eye."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.network import Weights

Array = NDArray[Any]


def textbook_losses(weights: Weights, x: Array, y: Array) -> Array:
    """Cross-entropies in plain numpy, one token after the other (Zaremba 2014, equations 3 to 6; Melis et al.
    2020, equation 2)."""
    w = Weights(*(tf.nest.map_structure(lambda t: np.asarray(t, np.float64), part) for part in weights))
    width = w.embedding.shape[1]
    losses = np.zeros(x.shape)
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
            logits = flow @ w.softmax[:-1] + w.softmax[-1]
            losses[t, b] = math.log(np.exp(logits).sum()) - logits[y[t, b]]
    return losses
