"""Training on a sample of the vocabulary, against training on all of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.configs import Adam
from model.corpus import Corpus
from model.network import gradients, initial_weights, zero_state
from model.sampled_softmax import draw_samples, drawing_chances, sampled_step, unigram_bias, zero_moments
from model.trainer import Trainer
from tests.model.recipes import OWN

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
        drawn = tf.gather(softmax, s.words, axis=1)
        small = weights._replace(
            embedding=tf.gather(weights.embedding, s.words),
            softmax=tf.concat([drawn[:-1], [drawn[-1] + s.corrections]], 0),
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
    inputs = (tf.constant(s.words), tf.constant(s.corrections)), tf.constant(s.x[0]), tf.constant(s.y[0])
    fresh, moments, _, _ = sampled_step(
        PLAIN,
        weights,
        zero_moments(weights),
        zero_state(PLAIN, PLAIN.batch),
        *inputs,
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


@pytest.mark.parametrize("max_norm", [0.05, 1e9], ids=["clipped", "whole"])
def test_steps_are_those_of_adam_on_the_words_of_the_sample(max_norm: float) -> None:
    """Kingma and Ba (2015), section 2, in NumPy; rows outside of the sample, and their moments, wait."""
    config = dataclasses.replace(PLAIN, max_norm=max_norm, optimiser=Adam(rate=0.1))
    weights, state = initial_weights(config, VOCABULARY, seed=1), zero_state(config, config.batch)
    moments = zero_moments(weights)
    wanted = [np.asarray(part, np.float64) for part in tf.nest.flatten(weights)]
    m, v = ([np.zeros(part.shape) for part in wanted] for _ in range(2))
    for step in range(3):
        x, y = batch(step)
        s = draw_samples(drawing_chances(np.ones(VOCABULARY, np.int64), 20), x, y, 1, step)
        rows = tf.gather(weights.embedding, s.words)
        small = weights._replace(
            embedding=rows,
            softmax=tf.concat([tf.transpose(rows), tf.gather(weights.softmax, s.words, axis=1) + s.corrections], 0),
        )
        _, _, grads = gradients(small, state, tf.constant(s.x[0]), tf.constant(s.y[0]), None)
        embedding = np.asarray(tf.math.unsorted_segment_sum(grads.embedding, s.x.ravel(), len(s.words)))
        tied = grads._replace(embedding=embedding + np.asarray(grads.softmax)[:-1].T, softmax=grads.softmax[-1:])
        flat = [np.asarray(part, np.float64) for part in tf.nest.flatten(tied)]
        norm = math.sqrt(sum((part**2).sum() for part in flat))
        assert max_norm > 1 or norm > max_norm
        places = [(s.words,), *[()] * (2 * config.layers), (slice(None), s.words), *[()] * len(weights.mogrifiers)]
        for part, (place, grad) in enumerate(zip(places, flat, strict=True)):
            g = grad * min(1, max_norm / norm)
            m[part][place] = 0.9 * m[part][place] + 0.1 * g
            v[part][place] = 0.99 * v[part][place] + 0.01 * g**2
            rate = 0.1 * math.sqrt(1 - 0.99 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            wanted[part][place] -= rate * m[part][place] / (np.sqrt(v[part][place]) + 1e-8)
        vocabulary = tf.constant(s.words), tf.constant(s.corrections)
        inputs = tf.constant(s.x[0]), tf.constant(s.y[0]), tf.constant(0.1), (1, tf.constant(step))
        weights, moments, state, _ = sampled_step(config, weights, moments, state, vocabulary, *inputs)
        for kept, means in ((moments.first, m), (moments.second, v)):
            for part, (one, other) in enumerate(zip(tf.nest.flatten(kept), means, strict=True)):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6, err_msg=str(part))
    for found, expected in zip(tf.nest.flatten(weights), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_drawn_words_stand_for_their_likes_and_the_batch_s_for_themselves() -> None:
    """The correction is -log of the chance of having been drawn, which is 1 for the words of the batch."""
    chance = drawing_chances(np.random.default_rng(0).zipf(1.5, VOCABULARY), 60)
    x, y = batch(3)
    for step in range(4):
        s = draw_samples(chance, np.concatenate([x, y]), np.concatenate([y, x]), 1, step)
        for n, (begin, end) in enumerate(itertools.pairwise(s.ends)):
            words = s.words[begin:end]
            assert (words[s.x[n]] == (x, y)[n][0]).all()
            assert (words[s.y[n]] == (y, x)[n][0]).all()
            certain = np.isin(words, [x, y])
            np.testing.assert_allclose(
                s.corrections[begin:end], np.where(certain, 0, -np.log(chance[words])), rtol=1e-6
            )
            assert (~certain).sum() > 10
        assert s.ends[-1] == len(s.words) == len(s.corrections)


@given(counts=st.lists(st.integers(0, 10**6), min_size=2, max_size=60).filter(any), size=st.integers(1, 70))
def test_chances_are_chances_and_follow_frequency(counts: list[int], size: int) -> None:
    found = drawing_chances(np.array(counts, np.int64), size)
    assert found.sum() == pytest.approx(min(size, len(counts)))
    assert (found > 0).all() and (found <= 1).all()
    likely = np.maximum(counts, 1) ** 0.75
    for one, other in itertools.pairwise(np.argsort(-likely)):
        if found[one] < 1:
            assert found[other] / found[one] == pytest.approx(likely[other] / likely[one])


def test_the_sample_is_a_function_of_seed_and_step() -> None:
    chance = np.full(VOCABULARY, 0.3)
    x, y = batch(3)
    drawn = [draw_samples(chance, x, y, *place).words.tobytes() for place in ((1, 0), (1, 0), (2, 0), (1, 1))]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
    # Step by step or all at once.
    both = draw_samples(chance, np.concatenate([x, x]), np.concatenate([y, y]), 1, 0)
    assert both.words[both.ends[1] :].tobytes() == drawn[3]


def test_the_unigram_bias_is_the_logarithm_of_frequency() -> None:
    counts = np.array([6, 3, 1, 0])
    bias = np.asarray(unigram_bias(counts))
    assert bias.shape == (1, 4)
    np.testing.assert_allclose(
        np.exp(bias[0]), [0.6, 0.3, 0.1, 0.1], rtol=1e-6
    )  # a word never seen counts as seen once


def test_a_training_begins_with_the_unigram_model() -> None:
    text = np.random.default_rng(0).zipf(1.3, 5000).astype(np.int32) % VOCABULARY
    chance = np.maximum(np.bincount(text, minlength=VOCABULARY), 1) / len(text)
    trainer = Trainer(PLAIN, Corpus(text, text, text, [str(n) for n in range(VOCABULARY)]), 1, lambda line: None)
    unigram = math.exp(-np.log(chance[text] / chance.sum()).mean())
    assert math.exp(trainer.measure(text).losses.mean()) == pytest.approx(unigram, rel=0.03)
