"""Training on a sample of the vocabulary, against training on all of it; and what a model can know of a Markov chain."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from model.configs import GradientDescent
from model.corpus import Corpus
from model.network import Weights, gradients, initial_weights, zero_state
from model.sampled_softmax import draw_samples, drawing_chances, sampled_step, zero_moments
from model.trainer import Trainer
from tests.model.recipes import OWN, TINY

PLAIN = dataclasses.replace(OWN, layers=1, hidden=8, epochs=1, keep=1.0, max_norm=1e9, sampled=60)
Array = NDArray[Any]
VOCABULARY = 200


def batch(seed: int) -> tuple[Array, Array]:
    ids = np.random.default_rng(seed).zipf(1.3, (PLAIN.steps + 1, PLAIN.batch)).astype(np.int32) % VOCABULARY
    return ids[None, :-1], ids[None, 1:]


def test_words_are_drawn_as_often_as_said() -> None:
    counts = np.random.default_rng(0).zipf(1.5, VOCABULARY)
    chance = drawing_chances(counts, 60)
    assert chance.sum() == pytest.approx(60)
    assert chance.max() <= 1
    drawn = np.zeros(VOCABULARY)
    none = np.zeros((3000, 1, 1), np.int32)
    samples = draw_samples(chance, none, none, 1, 0)
    np.add.at(drawn, samples.words, 1 / 3000)
    error = np.sqrt(chance * (1 - chance) / 3000) + 1e-3
    assert (np.abs(drawn - chance)[1:] < 5 * error[1:]).all()
    assert drawn[0] == pytest.approx(1)  # the word of the batch


def test_a_sampled_gradient_is_that_of_the_whole_softmax_on_average() -> None:
    weights = initial_weights(PLAIN, VOCABULARY, seed=1)
    softmax = tf.constant(np.random.default_rng(1).normal(0, 0.5, (PLAIN.hidden + 1, VOCABULARY)), tf.float32)
    x, y = batch(2)
    state = zero_state(PLAIN, PLAIN.batch)
    loss, _, whole = gradients(weights._replace(softmax=softmax), state, tf.constant(x[0]), tf.constant(y[0]), None)
    chance = drawing_chances(np.ones(VOCABULARY, np.int64), 60)
    losses, total, rounds = [], np.zeros(softmax.shape), 300
    run = tf.function(gradients, reduce_retracing=True)
    for n in range(rounds):
        s = draw_samples(chance, x, y, 1, n)
        small = Weights(
            tf.gather(weights.embedding, s.words),
            weights.kernels,
            weights.biases,
            tf.concat([tf.gather(softmax, s.words, axis=1)[:-1], [tf.gather(softmax[-1], s.words) + s.corrections]], 0),
        )
        found, _, grads = run(small, state, tf.constant(s.x[0]), tf.constant(s.y[0]), None)
        total[:, s.words] += np.asarray(grads.softmax) / rounds
        losses.append(float(found))
    assert np.mean(losses) == pytest.approx(float(loss), rel=0.01)
    wanted = np.asarray(whole.softmax)
    assert np.linalg.norm(total - wanted) < 0.1 * np.linalg.norm(wanted)


def test_a_step_changes_the_words_of_the_sample_alone() -> None:
    weights = initial_weights(PLAIN, VOCABULARY, seed=1)
    x, y = batch(2)
    s = draw_samples(drawing_chances(np.ones(VOCABULARY, np.int64), 20), x, y, 1, 0)
    given = (tf.constant(s.words), tf.constant(s.corrections)), tf.constant(s.x[0]), tf.constant(s.y[0])
    fresh, moments, _, _ = sampled_step(
        PLAIN,
        weights,
        zero_moments(weights),
        zero_state(PLAIN, PLAIN.batch),
        *given,
        tf.constant(0.01),
        (1, tf.constant(0)),
    )
    others = np.setdiff1d(np.arange(VOCABULARY), s.words)
    assert len(others) > 100
    for old, new in ((weights, fresh), (zero_moments(weights).second, moments.second)):
        changed = (np.asarray(old.embedding) != np.asarray(new.embedding)).any(1)
        assert changed[s.words].all()
        assert not changed[others].any()
    # Adam's first step is the rate's size in each coordinate, whatever the gradient's.
    moved = np.abs(np.asarray(fresh.embedding) - np.asarray(weights.embedding))[s.words]
    assert np.median(moved) == pytest.approx(0.01, rel=0.01)


def test_a_training_begins_with_the_unigram_model() -> None:
    text = np.random.default_rng(0).zipf(1.3, 5000).astype(np.int32) % VOCABULARY
    chance = np.maximum(np.bincount(text, minlength=VOCABULARY), 1) / len(text)
    trainer = Trainer(PLAIN, Corpus(text, text, text, [str(n) for n in range(VOCABULARY)]), 1, lambda line: None)
    unigram = math.exp(-np.log(chance[text] / chance.sum()).mean())
    assert trainer.perplexity(text) == pytest.approx(unigram, rel=0.03)


@pytest.mark.parametrize("sampled", [0, 12], ids=["whole softmax", "sampled"])
def test_a_model_comes_to_know_a_markov_chain_and_no_more(sampled: int) -> None:
    words, random = 20, np.random.default_rng(3)
    chain = random.dirichlet(np.full(words, 0.3), words)
    ids = [0]
    for u in random.random(80_000):
        ids.append(min(words - 1, int(np.searchsorted(np.cumsum(chain[ids[-1]]), u))))
    text = np.array(ids, np.int32)
    train, held = text[:-20_000], text[-20_000:]
    # What nobody can be better than: the cross-entropy of the held-out text under the chain itself.
    entropy = math.exp(-np.log(chain[held[:-1], held[1:]]).mean())
    size: dict[str, Any] = {"layers": 1, "hidden": 128, "steps": 10, "batch": 20, "init": 0.1, "max_norm": 5.0}
    if sampled:
        config = dataclasses.replace(OWN, keep=1.0, sampled=sampled, **size)
    else:
        config = dataclasses.replace(TINY, optimiser=GradientDescent(full_rate_epochs=3, decay=0.3), **size, epochs=5)
    trainer = Trainer(config, Corpus(train, held, held, [str(n) for n in range(words)]), 1, lambda line: None)
    for _ in range(config.epochs):
        trainer.run_epoch()
    found = trainer.perplexity(held)
    assert entropy * 0.999 < found < entropy * 1.03
