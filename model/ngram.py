"""What a network is compared with: a model that only counts words.

Interpolated modified Kneser-Ney (Chen and Goodman 1998), the strongest of the models that only count, over the same
closed vocabulary as the network's. For a context c, which without its first word is c',

    p(w | c) = (a(cw) - D(a(cw))) / Σ a(c·) + γ(c) p(w | c')

where a(cw) says how often cw occurs for the longest n-grams, and after how many different words it occurs for the
shorter ones; D discounts a count of 1, 2, and 3 or more; γ(c) is what the discounts leave; below the single words lies
the uniform distribution. All n-grams of one length are one sorted array, in which an n-gram is known by its place: its
key is the place of its first n-1 words among those of that length, times V, plus its last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.corpus import Corpus, Ids

Floats = NDArray[np.float64]
ORDER = 5
CACHE = 500  # words; what a text has said lately it says again
MIXED = ("ngram", "network", "cache")
FALLBACK = (0.5, 1.0, 1.5)  # discounts of a text too small to tell them


class _Level(NamedTuple):
    """All n-grams of one length."""

    keys: NDArray[np.int64]  # sorted
    share: Floats  # of each n-gram: its discounted share of its context
    gamma: Floats  # of each context: what the discounts leave, 1 where nothing is known to follow


class KneserNey:
    """The model of a text with word ids below `vocabulary`."""

    def __init__(self, text: Ids, vocabulary: int, order: int = ORDER) -> None:
        self._vocabulary = vocabulary
        self._levels: list[_Level] = []
        keys, places, counts = np.unique(text.astype(np.int64), return_inverse=True, return_counts=True)
        contexts = 1
        for n in range(2, min(order, len(text)) + 1):
            longer, first, longer_places, longer_counts = np.unique(
                places[:-1] * vocabulary + text[n - 1 :], return_index=True, return_inverse=True, return_counts=True
            )
            # An (n+1)-gram whose first occurrence is number f ends where the n-gram number f + 1 ends.
            different = np.bincount(places[first + 1], minlength=len(keys))
            self._levels.append(self._level(keys, different, contexts))
            contexts, keys, places, counts = len(keys), longer, longer_places, longer_counts
        self._levels.append(self._level(keys, counts, contexts))

    def _level(self, keys: NDArray[np.int64], counts: NDArray[np.int64], contexts: int) -> _Level:
        context = keys // self._vocabulary
        discounts = np.array([0.0, *_discounts(counts)])
        taken = discounts[np.minimum(counts, 3)]
        total = np.bincount(context, counts, contexts)
        divisor = np.maximum(total, 1)
        gamma = np.where(total > 0, np.bincount(context, taken, contexts) / divisor, 1.0)
        return _Level(keys, (counts - taken) / divisor[context], gamma)

    def probabilities(self, text: Ids) -> Floats:
        """Of each word of a text, given up to order - 1 words before it."""
        chances = np.full(len(text), 1 / self._vocabulary)
        contexts = np.zeros(len(text), np.int64)  # the place of the words before each word, or -1
        for level in self._levels:
            keys = contexts * self._vocabulary + text
            places = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
            seen = (contexts >= 0) & (level.keys[places] == keys)
            lower = np.where(contexts >= 0, level.gamma[contexts], 1.0) * chances
            chances = np.where(seen, level.share[places], 0.0) + lower
            contexts = np.append(-1, np.where(seen, places, -1)[:-1])
        return chances


def _discounts(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """Of counts 1, 2, and 3 or more, from how many n-grams have counts 1 to 4 (Chen and Goodman, equation 26)."""
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < d < k for k, d in enumerate(found, 1)) else FALLBACK


def compare(
    corpus: Corpus, network: Mapping[str, Floats], dynamic: Mapping[str, Floats] = MappingProxyType({})
) -> dict[str, Any]:
    """What counting makes of valid and test: the model of train alone, with a cache of words, and mixed with the network.

    `network` holds, [2, N], what the network and its continuous cache give to each token of the two splits; `dynamic`
    what the network gives where it learns from them, to the first tokens of valid and to all of test. All weights are
    fitted on valid.
    """
    size = len(corpus.words)
    model = KneserNey(corpus.train, size)
    texts = {"valid": corpus.valid, "test": corpus.test}
    counted = {
        name: np.stack([model.probabilities(ids), cache_probabilities(ids, size)]) for name, ids in texts.items()
    }
    parts = {name: np.stack([counted[name][0], *network[name]]) for name in texts}
    cached, mixed = mixture_weights(counted["valid"]), mixture_weights(parts["valid"])
    return {
        "ngram": {
            "order": ORDER,
            **{name: perplexity(part[0]) for name, part in counted.items()},
            "cache": {
                "words": CACHE,
                "weight": float(cached[1]),
                **{name: perplexity(cached @ part) for name, part in counted.items()},
            },
        },
        "mixture": {
            "weights": dict(zip(MIXED, mixed.tolist(), strict=True)),
            **{name: perplexity(mixed @ part) for name, part in parts.items()},
        },
        "dynamic": _mix_dynamic(parts, dynamic) if dynamic else None,
    }


def _mix_dynamic(parts: dict[str, Floats], dynamic: Mapping[str, Floats]) -> dict[str, Any]:
    """What all others and the network that learns from a text make of test; the weights are fitted on as much of valid as
    it has seen."""
    more = {name: np.stack([*parts[name][:, : len(found)], found]) for name, found in dynamic.items()}
    weights = mixture_weights(more["valid"])
    return {
        "test": perplexity(dynamic["test"]),
        "mixture": {
            "weights": dict(zip((*MIXED, "dynamic"), weights.tolist(), strict=True)),
            "test": perplexity(weights @ more["test"]),
        },
    }


def log_lines(comparison: dict[str, Any]) -> list[str]:
    """The comparison as lines of the training log."""
    plain, mixture = comparison["ngram"], comparison["mixture"]
    valid_and_test = [f"valid {of['valid']:.3f} test {of['test']:.3f}" for of in (plain, plain["cache"], mixture)]
    lines = [
        f"N-gram (Kneser-Ney, order {ORDER}): {valid_and_test[0]}; with a cache of {CACHE} words: {valid_and_test[1]}",
        f"Network, n-gram and cache mixed: {valid_and_test[2]}",
    ]
    if dynamic := comparison["dynamic"]:
        lines.append(
            f"Dynamic evaluation: test {dynamic['test']:.3f}; all mixed: test {dynamic['mixture']['test']:.3f}"
        )
    return lines


def perplexity(chances: Floats) -> float:
    """exp of the mean of -log p."""
    return float(np.exp(-np.log(chances).mean()))


def cache_probabilities(text: Ids, vocabulary: int, window: int = CACHE) -> Floats:
    """Of each word of a text: its share of the `window` words before it (Kuhn and De Mori 1990)."""
    order = np.argsort(text, kind="stable")
    sorted_keys = text[order].astype(np.int64) * len(text) + order  # rising: by word, then by place
    places = np.arange(len(text))
    begin = np.maximum(places - window, 0)
    start = np.searchsorted(sorted_keys, text.astype(np.int64) * len(text) + begin)
    here = np.empty(len(text), np.int64)
    here[order] = places
    return np.where(places > 0, (here - start) / np.maximum(np.minimum(places, window), 1), 1 / vocabulary)


def mixture_weights(chances: Floats, rounds: int = 100) -> Floats:
    """The weights under which a mixture makes a text most likely, by expectation maximisation."""
    weights = np.full(len(chances), 1 / len(chances))
    for _ in range(rounds):
        shares = weights[:, None] * chances
        weights = (shares / shares.sum(0)).mean(1)
    return weights
