"""Words drawn from the model one after the other, in NumPy.

A step on one word is a few products of a vector with a matrix. Starting a TensorFlow operation takes longer than
doing most of them, so the weights are taken out and the cell is written here once more; a test holds it to be the
network's. What makes a step cheap: one tanh for all four gates, and sums of blocks of words, so that only one block is
looked through for the word that is drawn.

H hidden units, V words.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.formats import format_text
from model.network import Weights
from model.style import Style
from model.tokens import BONAME, EOS, UNKNOWN
from model.typeset import read_scenes

Array = NDArray[np.float32]
_BLOCK = 128
_NUCLEUS = 1024  # as many words hold most nuclei; adding up all takes longer than sorting them


class Network:
    """The network with the state of one text."""

    def __init__(self, weights: Weights) -> None:
        arrays = [np.asarray(weights.embedding, np.float32), np.asarray(weights.softmax, np.float32)]
        self._embedding, self._softmax = arrays
        width = self._embedding.shape[1]
        # sigmoid(x) = (1 + tanh(x / 2)) / 2: with the gates' columns halved, one tanh serves gates and candidate.
        self._half = np.concatenate([np.full(3 * width, 0.5, np.float32), np.ones(width, np.float32)])
        self._layers = [
            (np.asarray(kernel, np.float32) * self._half, np.asarray(bias, np.float32) * self._half)
            for kernel, bias in zip(weights.kernels, weights.biases, strict=True)
        ]
        # Likewise: 2·sigmoid(x) = 1 + tanh(x / 2).
        self._mogrifiers = [np.asarray(mogrifier, np.float32) / 2 for mogrifier in weights.mogrifiers]
        self._inputs = [np.zeros(2 * width, np.float32) for _ in self._layers]  # below's output, own output before
        self._cells = [np.zeros(width, np.float32) for _ in self._layers]
        self._top = np.ones(width + 1, np.float32)  # the last output, and 1 for the bias
        self._logits = np.empty(self._softmax.shape[1], np.float32)

    def step(self, word: int) -> Array:
        """Reads a word; gives the [V] logits of the next one, which hold until the next step."""
        flow = self._embedding[word]
        width = len(flow)
        for n, (kernel, bias) in enumerate(self._layers):
            inputs, cell = self._inputs[n], self._cells[n]
            inputs[:width] = flow
            if self._mogrifiers:
                inputs[width:] *= 1 + np.tanh(flow @ self._mogrifiers[n][:-1] + self._mogrifiers[n][-1])
            z = np.tanh(inputs @ kernel + bias)
            gates = 0.5 * z[: 3 * width] + 0.5
            cell[:] = gates[width : 2 * width] * cell + gates[:width] * z[3 * width :]
            flow = inputs[width:]
            flow[:] = gates[2 * width :] * np.tanh(cell)
        self._top[:width] = flow
        return np.dot(self._top, self._softmax, out=self._logits)


class Sampler(NamedTuple):
    """How the next word is drawn: temperature first, then top-k, then top-p, each among what the one before left."""

    temperature: float = 1.0  # logits are divided by it; 0 takes the most likely word
    top_k: int = 0  # only the k most likely words, and those that tie with the last; 0: all
    top_p: float = 1.0  # only the fewest, most likely words that hold this share (Holtzman et al. 2020)

    def draw(self, logits: Array, random: np.random.Generator) -> int:
        """A word's id; words whose logit is -inf are never drawn."""
        if self.temperature == 0:
            return int(logits.argmax())
        masses = np.exp((logits - logits.max()) / np.float32(self.temperature))
        if 0 < self.top_k < len(masses):
            masses[masses < np.partition(masses, -self.top_k)[-self.top_k]] = 0
        if self.top_p < 1:
            masses[masses < _find_least_of_nucleus(masses, self.top_p)] = 0
        return _find_place(masses, random.random())


def _find_least_of_nucleus(masses: Array, share: float) -> np.float32:
    """The least of the fewest masses that hold `share` of the sum."""
    total = masses.sum(dtype=np.float64)
    enough = share * total
    # All masses below this hold less than the rest together, so that none of them is needed.
    falling = np.sort(masses[masses >= (1 - share) * total / len(masses)])[::-1]
    for size in (_NUCLEUS, len(masses)):
        sums = np.cumsum(falling[:size], dtype=np.float64)
        if sums[-1] >= enough:
            break
    return np.float32(falling[min(int(np.searchsorted(sums, enough)), len(sums) - 1)])


def _find_place(masses: Array, u: float) -> int:
    """The place that `u`, uniform in [0, 1), falls on when the masses are laid side by side."""
    whole = len(masses) // _BLOCK * _BLOCK
    sums = masses[:whole].reshape(-1, _BLOCK).sum(1, dtype=np.float64)
    edges = np.cumsum(np.append(sums, masses[whole:].sum(dtype=np.float64)))
    target = u * edges[-1]
    block = min(int(np.searchsorted(edges, target, side="right")), len(edges) - 1)
    inside = masses[block * _BLOCK : (block + 1) * _BLOCK]
    rest = target - (edges[block - 1] if block else 0.0)
    place = int(np.searchsorted(np.cumsum(inside, dtype=np.float64), rest, side="right"))
    # Sums in another order differ in the last bits: what falls beyond the block's end falls on its last mass.
    return block * _BLOCK + (place if place < len(inside) else int(np.flatnonzero(inside)[-1]))


def draw_words(
    weights: Weights, words: Sequence[str], prompt: Sequence[int], seed: int, sampler: Sampler, unknown: bool = False
) -> Iterator[str]:
    """Words without end, drawn after a prompt of one id at least; `<unk>` is among them only if `unknown` is set."""
    random = np.random.default_rng(seed)
    network = Network(weights)
    barred = None if unknown or UNKNOWN not in words else words.index(UNKNOWN)
    for number in prompt:
        logits = network.step(number)
    while True:
        if barred is not None:
            logits[barred] = -np.inf
        number = sampler.draw(logits, random)
        yield words[number]
        logits = network.step(number)


def sample_text(
    weights: Weights, words: Sequence[str], tokens: int = 60, seed: int = 1, style: Style | None = None
) -> str:
    """A few lines written with these weights, to be looked at while they are trained."""
    first = next(word for word in (BONAME, EOS, words[0]) if word in words)
    drawn = draw_words(weights, words, [words.index(first)], seed, Sampler())
    return format_text(read_scenes([first, *itertools.islice(drawn, tokens)], style), style)
