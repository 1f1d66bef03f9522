"""The n-gram model against the textbook, word by word."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    blind = np.full((2, len(test)), 1 / VOCABULARY)
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
    blind = np.full((2, len(lately)), 1 / VOCABULARY)
    found = compare(corpus, {"valid": blind, "test": blind})
    counted = found["ngram"]
    assert counted["cache"]["weight"] > 0.5
    assert counted["cache"]["test"] < 0.5 * counted["test"]
    assert log_lines(found)[0].startswith(f"N-gram (Kneser-Ney, order 5): valid {counted['valid']:.3f}")


def test_what_is_learned_from_a_text_is_mixed_with_the_rest() -> None:
    random = np.random.default_rng(1)
    train, valid, test = (random.integers(0, VOCABULARY, size).astype(np.int32) for size in (2000, 600, 900))
    still = {"valid": np.full((2, 600), 0.1), "test": np.full((2, 900), 0.1)}
    corpus = Corpus(train, valid, test, [str(number) for number in range(VOCABULARY)])
    # Its figures for valid are those of a part of it.
    learned = {"valid": np.full(200, 0.5), "test": np.full(900, 0.4)}
    found = compare(corpus, still, learned)
    assert compare(corpus, still) == {**found, "dynamic": None}
    assert found["dynamic"]["test"] == pytest.approx(2.5)
    assert found["dynamic"]["mixture"]["weights"]["dynamic"] == pytest.approx(1, abs=0.01)
    assert found["dynamic"]["mixture"]["test"] == pytest.approx(2.5, rel=0.02)
    assert (
        log_lines(found)[2]
        == f"Dynamic evaluation: test 2.500; all mixed: test {found['dynamic']['mixture']['test']:.3f}"
    )


def test_the_mixture_takes_the_network_for_what_it_knows() -> None:
    random = np.random.default_rng(1)
    train = random.integers(0, VOCABULARY, 2000).astype(np.int32)
    held = random.integers(0, VOCABULARY, 1000).astype(np.int32)
    # Counting can't tell what comes next; this network is sure of it in three of four places, and wrong in the others.
    sure = np.where(np.arange(len(held)) % 4 > 0, 0.9, 0.1 / (VOCABULARY - 1))
    # Its cache knows a little of what it does not.
    network = np.stack([sure, np.where(np.arange(len(held)) % 4 > 0, 0.0, 0.3)])
    found = compare(
        Corpus(train, held, held, [str(number) for number in range(VOCABULARY)]), {"valid": network, "test": network}
    )
    mixture = found["mixture"]
    assert sum(mixture["weights"].values()) == pytest.approx(1)
    assert mixture["weights"]["network"] > 0.5 > mixture["weights"]["cache"] > 0.2
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


def random_corpus(seed: int) -> Corpus:
    random = np.random.default_rng(seed)
    texts = [random.integers(0, VOCABULARY, size).astype(np.int32) for size in (2000, 700, 600)]
    return Corpus(texts[0], texts[1], texts[2], [str(number) for number in range(VOCABULARY)])


def test_weights_are_fitted_on_valid_and_nothing_else() -> None:
    """What test holds changes no weight: here the network is right on one of the two, and worthless on the other."""
    corpus = random_corpus(1)
    texts = {"valid": corpus.valid, "test": corpus.test}
    right = {name: np.stack([np.full(len(ids), 0.9), np.full(len(ids), 1e-6)]) for name, ids in texts.items()}
    wrong = {name: np.full_like(chances, 1e-6) for name, chances in right.items()}
    lately = np.repeat(np.arange(6, dtype=np.int32), 100)  # made for the cache
    found = [
        compare(corpus._replace(test=text), {"valid": right["valid"], "test": network})
        for text, network in ((corpus.test, right["test"]), (corpus.test, wrong["test"]), (lately, wrong["test"]))
    ]
    for other in found[1:]:
        assert other["mixture"]["weights"] == found[0]["mixture"]["weights"]
        assert other["ngram"]["cache"]["weight"] == found[0]["ngram"]["cache"]["weight"]
        assert other["mixture"]["valid"] == found[0]["mixture"]["valid"]
    assert found[0]["mixture"]["weights"]["network"] > 0.9
    assert found[1]["mixture"]["test"] > 100 * found[0]["mixture"]["test"]


def test_the_comparison_is_that_of_its_parts() -> None:
    corpus = random_corpus(2)
    random = np.random.default_rng(3)
    network = {
        "valid": random.uniform(0.01, 0.2, (2, len(corpus.valid))),
        "test": random.uniform(0.01, 0.2, (2, len(corpus.test))),
    }
    found = compare(corpus, network)
    counted = KneserNey(corpus.train, VOCABULARY, 5)
    texts = {"valid": corpus.valid, "test": corpus.test}
    plain = {
        name: np.stack([counted.probabilities(ids), cache_probabilities(ids, VOCABULARY, 500)])
        for name, ids in texts.items()
    }
    parts = {name: np.concatenate([plain[name][:1], network[name]]) for name in texts}
    cached, mixed = mixture_weights(plain["valid"], 100), mixture_weights(parts["valid"], 100)
    assert found == {
        "ngram": {
            "order": 5,
            "valid": perplexity(parts["valid"][0]),
            "test": perplexity(parts["test"][0]),
            "cache": {
                "words": 500,
                "weight": cached[1],
                "valid": perplexity(cached @ plain["valid"]),
                "test": perplexity(cached @ plain["test"]),
            },
        },
        "mixture": {
            "weights": {"ngram": mixed[0], "network": mixed[1], "cache": mixed[2]},
            "valid": perplexity(mixed @ parts["valid"]),
            "test": perplexity(mixed @ parts["test"]),
        },
        "dynamic": None,
    }


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 12))
def test_the_cache_is_the_share_of_the_words_before(words: list[int], window: int) -> None:
    expected = []
    for place, word in enumerate(words):
        before = words[max(0, place - window) : place]
        expected.append(before.count(word) / len(before) if before else 1 / 5)
    np.testing.assert_allclose(cache_probabilities(np.array(words, np.int32), 5, window), expected)
