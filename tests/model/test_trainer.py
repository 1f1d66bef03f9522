"""The trainer against the plain loop that it is, and its perplexities against the textbook's."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from model.configs import Adam, Config, GradientDescent
from model.corpus import Corpus, training_batches
from model.cross_entropy import Measured
from model.network import Weights, clipped_step, initial_weights, write_out_softmax, zero_state
from model.sampled_softmax import draw_samples, drawing_chances, sampled_step, unigram_bias, zero_moments
from model.tokens import EOS
from model.trainer import Trainer, count_parameters
from tests.model.recipes import OWN, TINY
from tests.model.textbook import textbook_losses

VOCABULARY = 17
STILL = GradientDescent(full_rate_epochs=1, decay=1.0, rate=0.0)


def corpus(length: int) -> Corpus:
    """Random words; the length of no split is a multiple of anything."""
    random = np.random.default_rng(length)
    train, valid, test = (random.zipf(1.5, size).astype(np.int32) % VOCABULARY for size in (length, 61, 53))
    return Corpus(train, valid, test, ["a", "b", EOS, *(str(number) for number in range(VOCABULARY - 3))])


def trained(config: Config, data: Corpus, lines: list[str]) -> Trainer:
    trainer = Trainer(config, data, 1, lines.append)
    for _ in range(config.epochs):
        trainer.run_epoch()
    return trainer


def streams(ids: NDArray[np.int32], config: Config) -> NDArray[np.int32]:
    """[tokens of a stream, B]: the text cut into B streams, without what is left of it."""
    length = len(ids) // config.batch
    return ids[: length * config.batch].reshape(config.batch, length).T


def plain_loop(config: Config, data: Corpus) -> tuple[Weights, list[float]]:
    """The weights after training, and the perplexity of each epoch: the paper's recipe or ours, a step after the other."""
    text = streams(data.train, config)
    counts = np.bincount(data.train, minlength=VOCABULARY)
    weights = initial_weights(config, VOCABULARY, 1)
    if config.unigram_start:
        weights = weights._replace(softmax=unigram_bias(counts))
    segments = (len(text) - 1) // config.steps
    step, perplexities, moments = 0, [], zero_moments(weights)
    for epoch in range(config.epochs):
        state, total = zero_state(config, config.batch), 0.0
        for segment in range(segments):
            begin = segment * config.steps
            x, y = text[begin : begin + config.steps], text[begin + 1 : begin + config.steps + 1]
            rate, seed = tf.constant(config.rate_at(epoch + segment / segments), tf.float32), (1, tf.constant(step))
            if config.sampled:
                drawn = draw_samples(drawing_chances(counts, config.sampled), x[None], y[None], 1, step)
                sample = tf.constant(drawn.words), tf.constant(drawn.corrections)
                given = tf.constant(drawn.x[0]), tf.constant(drawn.y[0]), rate, seed
                weights, moments, state, loss = sampled_step(config, weights, moments, state, sample, *given)
            else:
                given = tf.constant(x), tf.constant(y), rate, seed
                weights, state, loss = clipped_step(config, weights, state, *given)
            total += float(loss)
            step += 1
        perplexities.append(math.exp(total / (segments * config.steps * config.batch)))
    return weights, perplexities


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(TINY, hidden=100, keep=0.8, epochs=3, init=0.1),
        dataclasses.replace(OWN, sampled=6),
    ],
    ids=["published", "own"],
)
def test_a_training_is_the_plain_loop(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.trainer.TOKENS_A_CALL", 3 * config.steps * config.batch)
    data, lines = corpus(470 if config.sampled else 283), list[str]()
    trainer = trained(config, data, lines)
    weights, perplexities = plain_loop(config, data)
    for found, wanted in zip(tf.nest.flatten(trainer.weights), tf.nest.flatten(weights), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert [entry["train"] for entry in trainer.position.epochs] == pytest.approx(perplexities, rel=1e-5)
    segments = (len(data.train) // config.batch - 1) // config.steps
    assert trainer.position.steps == config.epochs * segments
    assert trainer.position.epoch == config.epochs + 1
    # A point after each tenth of an epoch, and one at its end.
    tenth = segments // 10
    ends = [*range(tenth, segments, tenth), segments]
    assert [place for place, _ in trainer.position.curve] == pytest.approx(
        [epoch + end / segments for epoch in range(config.epochs) for end in ends]
    )
    last = {round(place): value for place, value in trainer.position.curve if place == round(place)}
    assert [last[epoch + 1] for epoch in range(config.epochs)] == [entry["train"] for entry in trainer.position.epochs]
    assert [line for line in lines if "Rate" in line or "rate" in line] == [
        f"Epoch: {epoch} of {config.epochs} Learning rate: {config.rate_in(epoch):.3g}"
        for epoch in range(1, config.epochs + 1)
    ]
    for entry in trainer.position.epochs:
        assert f"Epoch: {entry['epoch']} Train Perplexity: {entry['train']:.3f}" in lines
        assert f"Epoch: {entry['epoch']} Valid Perplexity: {entry['valid']:.3f}" in lines


def test_valid_is_measured_once_for_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def count(weights: Weights, ids: NDArray[np.int32], first: int) -> Measured:
        measured.append(len(ids))
        return Measured(np.full(len(ids), float(len(measured))), np.zeros(len(ids)))

    monkeypatch.setattr("model.trainer.measure", count)
    data = corpus(470)
    trainer = trained(OWN, data, [])
    assert (trainer.measure_valid().losses == OWN.epochs).all()
    assert measured == [len(data.valid)] * OWN.epochs


def test_an_epoch_of_our_own_is_the_text_from_another_place_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found again by trying all of them; a function of the seed."""
    config, data = dataclasses.replace(OWN, epochs=4, shifted=True), corpus(470)
    seen: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []

    def draw(chance: Any, x: NDArray[np.int32], y: NDArray[np.int32], seed: int, first: int) -> Any:
        seen.append((x, y))
        return draw_samples(chance, x, y, seed, first)

    monkeypatch.setattr("model.trainer.draw_samples", draw)
    monkeypatch.setattr("model.trainer.TOKENS_A_CALL", 1 << 20)

    def places(seed: int) -> list[int]:
        seen.clear()
        trainer = Trainer(config, data, seed, list[str]().append)
        for _ in range(config.epochs):
            trainer.advance(trainer.segments)
            trainer.position.epoch, trainer.position.segment = trainer.position.epoch + 1, 0
        found = []
        for x, y in seen:
            rotated = [training_batches(np.roll(data.train, -first), config) for first in range(len(data.train))]
            (place,) = [n for n, (a, b) in enumerate(rotated) if np.array_equal(a, x) and np.array_equal(b, y)]
            found.append(place)
        return found

    first = places(1)
    assert len(set(first)) == config.epochs
    assert places(1) == first
    assert set(places(2)).isdisjoint(first)


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(TINY, hidden=100, optimiser=STILL),
        dataclasses.replace(OWN, keep=1.0, optimiser=Adam(rate=0.0), sampled=VOCABULARY),
    ],
    ids=["published", "own"],
)
def test_the_state_is_carried_through_an_epoch_and_begins_at_zero(config: Config) -> None:
    """Weights that stay as they are: an epoch's perplexity is that of the streams read from their beginnings, each epoch."""
    data = corpus(389)
    trainer = trained(config, data, [])
    text = streams(data.train, config)
    span = (len(text) - 1) // config.steps * config.steps
    losses = textbook_losses(write_out_softmax(trainer.weights), text[:span], text[1 : span + 1])
    wanted = math.exp(losses.mean())
    assert [entry["train"] for entry in trainer.position.epochs] == pytest.approx([wanted] * config.epochs, rel=1e-5)


@pytest.mark.parametrize("recipe", [TINY, OWN], ids=lambda recipe: recipe.name)
def test_perplexity_counts_every_token_once_and_without_dropout(recipe: Config) -> None:
    config = dataclasses.replace(recipe, keep=0.5)
    data = corpus(389)
    trainer = Trainer(config, data, 1, print)
    for ids in (data.valid, data.test, data.test[:1], data.test[:50]):
        # A text begins as after the end of a sentence.
        x, y = np.concatenate([[2], ids[:-1]])[:, None], ids[:, None]
        losses = textbook_losses(write_out_softmax(trainer.weights), x, y)
        assert math.exp(trainer.measure(ids).losses.mean()) == pytest.approx(math.exp(losses.mean()), rel=1e-5)


@pytest.mark.parametrize("recipe", [TINY, OWN], ids=lambda recipe: recipe.name)
def test_parameters_are_counted(recipe: Config) -> None:
    h = recipe.hidden
    layers = recipe.layers * (2 * h + 1) * 4 * h + (h + 1) * h * recipe.mogrified
    words: dict[str, Any] = {"tiny": VOCABULARY * (h + h + 1), "own": VOCABULARY * (h + 1)}
    assert count_parameters(initial_weights(recipe, VOCABULARY, 1)) == words[recipe.name] + layers
