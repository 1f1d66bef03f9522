"""Word vectors of the training text, for an embedding to begin with: words that stand among the same words are near each other.

A matrix has a row for each word, and a column for each word before it and each after it. In it stands by how much more often
the two are near each other than they would be by chance, the logarithm of that, where it is positive (Church and Hanks 1990);
of two words further apart a smaller part is counted. The vectors are the best approximation of the matrix in so many
dimensions (Levy and Goldberg 2014), found by multiplying random vectors with it (Halko, Martinsson and Tropp 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.tensorflow import tf

WINDOW = 4  # tokens before and after a word
SMOOTHING = 0.75  # neighbours are as frequent as their frequency to this power: rare ones say less (Levy et al. 2015)
POWER = 0.5  # of the singular values that is in the vectors
SPARE = 16  # dimensions more than are asked for, which make those more exact
ROUNDS = 3


def word_vectors(text: NDArray[np.int32], words: int, dimensions: int, seed: int) -> NDArray[np.float32]:
    """[words, dimensions] of root mean square 1; of a small vocabulary the last dimensions are 0."""
    matrix = _associate(text.astype(np.int64), words)
    multiply = tf.sparse.sparse_dense_matmul
    count = min(dimensions + SPARE, words)
    basis = np.random.default_rng(seed).standard_normal((words, count)).astype(np.float32)
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(multiply(matrix, multiply(matrix, basis, adjoint_a=True)))
    image = np.asarray(multiply(matrix, basis, adjoint_a=True))
    squares, directions = np.linalg.eigh(image.T @ image)
    largest = np.argsort(squares)[::-1][:dimensions]
    found = basis @ directions[:, largest] * np.maximum(squares[largest], 0) ** (POWER / 2)
    found /= np.sqrt(np.mean(found**2) or 1)
    return np.pad(found, ((0, 0), (0, dimensions - len(largest)))).astype(np.float32)


def _associate(text: NDArray[np.int64], words: int) -> Any:
    """The sparse matrix, [words, 2 * words]: neighbours before a word come first, then those after it."""
    columns = 2 * words
    keys, shares = [], []
    for distance in range(1, WINDOW + 1):
        before, after = text[:-distance], text[distance:]
        keys += [after * columns + before, before * columns + words + after]
        shares += [np.full(len(before), 1 / distance)] * 2
    pairs, pair = np.unique(np.concatenate(keys), return_inverse=True)
    together = np.bincount(pair, np.concatenate(shares))
    row, column = np.divmod(pairs, columns)
    each = np.bincount(row, together, minlength=words)
    chance = np.bincount(column, together, minlength=columns) ** SMOOTHING
    association = np.log(together / (each[row] * (chance / chance.sum())[column]))
    kept = association > 0
    places = np.stack([row[kept], column[kept]], 1)
    return tf.sparse.SparseTensor(places, association[kept].astype(np.float32), [words, columns])
