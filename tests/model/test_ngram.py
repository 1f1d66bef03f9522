"""The n-gram model against the textbook, word by word."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from model.corpus import Corpus
from model.ngram import FALLBACK, KneserNey, cache_probabilities, compare, log_lines, mixture_weights, perplexity

VOCABULARY = 30


def markov_text(length: int, seed: int) -> tuple[NDArray[np.int32], float]:
    """Words of a random Markov chain of order two, and the perplexity that no model can go below."""
    random = np.random.default_rng(seed)
    chain = np.random.default_rng(9).dirichlet(np.full(VOCABULARY, 0.1), (VOCABULARY, VOCABULARY))
    text, surprise = [0, 1], 0.0
    for _ in range(length):
        chances = chain[text[-2], text[-1]]
        word = int(random.choice(VOCABULARY, p=chances))
        surprise -= math.log(chances[word])
        text.append(word)
    return np.array(text[2:], np.int32), math.exp(surprise / length)


def textbook(text: list[int], order: int) -> Callable[[tuple[int, ...], int], float]:
    """Interpolated modified Kneser-Ney from dictionaries, as Chen and Goodman (1998) write it down."""
    grams = {n: Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for n in range(1, order + 1)}
    counts = {order: grams[order]}
    for n in range(1, order):
        longer = grams[n + 1]
        counts[n] = Counter({gram: len({more[0] for more in longer if more[1:] == gram}) for gram in grams[n]})
    discounts = {}
    for n, table in counts.items():
        n1, n2, n3, n4 = (sum(count == k for count in table.values()) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2) if n1 else 0
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3) if n1 and n2 and n3 and n4 else FALLBACK
        discounts[n] = (0, *(found if all(0 < d < k for k, d in enumerate(found, 1)) else FALLBACK))

    @cache
    def p(context: tuple[int, ...], word: int) -> float:
        n = len(context) + 1
        lower = p(context[1:], word) if context else 1 / VOCABULARY
        following = {gram: count for gram, count in counts[n].items() if gram[:-1] == context}
        total = sum(following.values())
        if not total:
            return lower
        taken = {gram: discounts[n][min(count, 3)] for gram, count in following.items()}
        own = following.get((*context, word), 0) - taken.get((*context, word), 0)
        return own / total + sum(taken.values()) / total * lower

    return p


@pytest.mark.parametrize("length", [40, 1500])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_it_is_the_textbook_s(length: int, order: int) -> None:
    text, _ = markov_text(length, seed=1)
    unseen, _ = markov_text(60, seed=2)
    expected = textbook(text.tolist(), order)
    found = KneserNey(text, VOCABULARY, order).probabilities(unseen)
    history = unseen.tolist()
    for place, word in enumerate(history):
        context = tuple(history[max(0, place - order + 1) : place])
        assert found[place] == pytest.approx(expected(context, word), rel=1e-9), place


@pytest.mark.parametrize("length", [1, 7, 3000])
def test_probabilities_sum_to_one(length: int) -> None:
    text, _ = markov_text(length, seed=1)
    model = KneserNey(text, VOCABULARY)
    random = np.random.default_rng(5)
    for seen in range(6):
        context = random.integers(0, VOCABULARY, 4) if seen % 2 or length < 9 else text[seen * 50 : seen * 50 + 4]
        last = [model.probabilities(np.append(context, word).astype(np.int32))[-1] for word in range(VOCABULARY)]
        assert min(last) > 0
        assert sum(last) == pytest.approx(1, abs=1e-12)


def test_perplexity_comes_near_the_chain_s_and_never_below() -> None:
    train, _ = markov_text(60_000, seed=1)
    test, floor = markov_text(5_000, seed=2)
    found = perplexity(KneserNey(train, VOCABULARY, 3).probabilities(test))
    assert floor < found < 1.2 * floor
    corpus = Corpus(train, test, test, [str(number) for number in range(VOCABULARY)])
    blind = np.full(len(test), 1 / VOCABULARY)
    longer = compare(corpus, {"valid": blind, "test": blind})["ngram"]
    assert floor < longer["test"] == longer["valid"] < 1.4 * floor
    # A chain forgets what it said: there is nothing for the cache.
    assert longer["cache"]["weight"] < 0.01
    assert longer["cache"]["test"] == pytest.approx(longer["test"], rel=0.01)


def test_the_cache_counts_the_words_before() -> None:
    text = np.array([3, 3, 1, 3, 2, 1, 3], np.int32)
    expected = [1 / VOCABULARY, 1, 0, 2 / 3, 0, 1 / 3, 1 / 3]
    np.testing.assert_allclose(cache_probabilities(text, VOCABULARY, window=3), expected)


def test_a_text_that_repeats_itself_gains_by_the_cache() -> None:
    random = np.random.default_rng(1)
    train = random.integers(0, VOCABULARY, 2000).astype(np.int32)
    lately = np.concatenate([random.choice(random.integers(0, VOCABULARY, 3), 500) for _ in range(4)]).astype(np.int32)
    corpus = Corpus(train, lately, lately, [str(number) for number in range(VOCABULARY)])
    blind = np.full(len(lately), 1 / VOCABULARY)
    found = compare(corpus, {"valid": blind, "test": blind})
    counted = found["ngram"]
    assert counted["cache"]["weight"] > 0.5
    assert counted["cache"]["test"] < 0.5 * counted["test"]
    assert log_lines(found)[0].startswith(f"N-gram (Kneser-Ney, order 5): valid {counted['valid']:.3f}")


def test_the_mixture_takes_the_network_for_what_it_knows() -> None:
    random = np.random.default_rng(1)
    train = random.integers(0, VOCABULARY, 2000).astype(np.int32)
    held = random.integers(0, VOCABULARY, 1000).astype(np.int32)
    # Counting can't tell what comes next; this network is sure of it in three of four places, and wrong in the others.
    sure = np.where(np.arange(len(held)) % 4 > 0, 0.9, 0.1 / (VOCABULARY - 1))
    found = compare(
        Corpus(train, held, held, [str(number) for number in range(VOCABULARY)]), {"valid": sure, "test": sure}
    )
    mixture = found["mixture"]
    assert sum(mixture["weights"].values()) == pytest.approx(1)
    assert mixture["weights"]["network"] > 0.7
    assert mixture["valid"] == mixture["test"] < min(perplexity(sure), found["ngram"]["cache"]["test"])
    assert (
        log_lines(found)[1]
        == f"Network, n-gram and cache mixed: valid {mixture['valid']:.3f} test {mixture['test']:.3f}"
    )


def test_mixture_weights_are_the_best_ones() -> None:
    random = np.random.default_rng(1)
    parts = np.stack([random.uniform(0.01, 1, 500) ** power for power in (1, 2, 3)])
    weights = mixture_weights(parts, rounds=1000)
    assert weights.sum() == pytest.approx(1)
    best = perplexity(weights @ parts)
    for moved in random.dirichlet(np.ones(3), 200):
        assert perplexity(moved @ parts) > best - 1e-9
