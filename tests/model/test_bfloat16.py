"""Products of numbers rounded to bfloat16: what is rounded, what is not, and that a training ends as it began."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model import machine
from model.configs import CONFIGS
from model.network import gradients, initial_weights, multiply, softmax_gradients, zero_state
from model.trainer import Trainer, TrainingError
from tests.model.recipes import OWN, TINY
from tests.model.test_training import corpus, same, silent

HALF = dataclasses.replace(OWN, bfloat16=True)
VOCABULARY = 11


def has_bfloat16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(machine, "has_bfloat16", lambda: has)


@pytest.mark.parametrize(
    ("text", "has"),
    [("flags\t: fpu avx512_bf16 clzero\n", True), ("flags\t: amx_bf16\n", True), ("flags\t: avx512f\n", False)],
)
def test_a_processor_says_whether_it_has_it(tmp_path: Path, text: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.has_bfloat16(tmp_path / "cpuinfo") is has
    assert not machine.has_bfloat16(tmp_path / "none")


def test_factors_are_rounded_and_sums_are_not() -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=shape).astype(np.float32) for shape in ((7, 300), (300, 5)))
    rounded = [np.asarray(tf.cast(tf.cast(part, tf.bfloat16), tf.float32)) for part in (a, b)]
    found = np.asarray(multiply(a, b, True))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, rounded[0] @ rounded[1], rtol=2**-8, atol=1e-3)
    assert (np.asarray(multiply(a, b, False)) == np.asarray(tf.matmul(a, b))).all()


def test_a_rounded_gradient_is_the_gradient_but_for_the_rounding() -> None:
    random = np.random.default_rng(5)
    weights = initial_weights(TINY, VOCABULARY, seed=3)
    x, y = (tf.constant(random.integers(0, VOCABULARY, (TINY.steps, TINY.batch)), tf.int32) for _ in range(2))
    whole, rounded = (
        gradients(weights, zero_state(TINY, TINY.batch), x, y, None, bfloat16) for bfloat16 in (False, True)
    )
    assert float(rounded[0]) == pytest.approx(float(whole[0]), rel=1e-3)
    for found, wanted in zip(tf.nest.flatten(rounded[1:]), tf.nest.flatten(whole[1:]), strict=True):
        assert found.dtype == tf.float32
        error = np.linalg.norm(np.asarray(found) - np.asarray(wanted)) / np.linalg.norm(np.asarray(wanted))
        assert 0 < error < 0.02


def test_the_bias_is_not_rounded() -> None:
    """Logarithms of frequencies are nearer to each other than bfloat16 tells apart."""
    bias = tf.constant([[-8.01, -8.02, -8.03, -0.001]])
    outputs, softmax = tf.zeros([2, 3]), tf.concat([tf.zeros([3, 4]), bias], 0)
    losses = [float(softmax_gradients(outputs, softmax, tf.constant([0, 2]), 1, half)[0]) for half in (False, True)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.slow
def test_a_training_goes_on_as_it_was_begun_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, ended = corpus(tmp_path), {}
    for has in (False, True):
        has_bfloat16(monkeypatch, has)
        folder = tmp_path / str(has)
        folder.mkdir()
        begun = Trainer(HALF, data, 1, silent)
        begun.advance(3)
        begun.save(folder)
        begun.advance(6)
        ended[has] = begun.weights
    assert not same(ended[False], ended[True])
    for has in (False, True):
        gone_on = Trainer(HALF, data, 1, silent)
        assert gone_on.resume(tmp_path / str(has))
        gone_on.advance(6)
        assert same(gone_on.weights, ended[has])
    has_bfloat16(monkeypatch, False)
    with pytest.raises(TrainingError, match="begun on a processor with bfloat16, which this one has not"):
        Trainer(HALF, data, 1, silent).resume(tmp_path / "True")


def test_the_published_recipes_have_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_bfloat16(monkeypatch, True)
    data = corpus(tmp_path)
    assert not Trainer(CONFIGS["test"], data, 1, silent).position.bfloat16
