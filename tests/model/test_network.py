"""The network against independent mathematics, and training as a whole."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.configs import CONFIGS, Config
from model.corpus import read_corpus
from model.network import Weights, clipped_step, global_norm, gradients, initial_weights, zero_state
from model.train import Trainer, train
from tests import corpora

TINY = Config("tiny", 2, 5, 4, 3, 2, 1, 1.0, 0.3, 0.5, 0.4)
VOCABULARY = 11


def text(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCABULARY, (TINY.steps + 1, TINY.batch)).astype(np.int32)
    return ids[:-1], ids[1:]


def reference_losses(weights: Weights, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cross-entropies in plain numpy, one token after the other (Zaremba 2014, equations 3 to 6)."""
    w = Weights(*(tf.nest.map_structure(lambda t: np.asarray(t, np.float64), part) for part in weights))
    width = w.embedding.shape[1]
    losses = np.zeros(x.shape)
    for b in range(x.shape[1]):
        h = [np.zeros(width) for _ in w.kernels]
        c = [np.zeros(width) for _ in w.kernels]
        for t in range(x.shape[0]):
            flow = w.embedding[x[t, b]]
            for n, (kernel, bias) in enumerate(zip(w.kernels, w.biases, strict=True)):
                i, f, o, j = np.split(np.concatenate([flow, h[n]]) @ kernel + bias, 4)
                c[n] = c[n] / (1 + np.exp(-f)) + np.tanh(j) / (1 + np.exp(-i))
                flow = h[n] = np.tanh(c[n]) / (1 + np.exp(-o))
            logits = flow @ w.softmax[:-1] + w.softmax[-1]
            losses[t, b] = math.log(np.exp(logits).sum()) - logits[y[t, b]]
    return losses


def test_the_loss_is_the_one_of_the_paper() -> None:
    weights = initial_weights(TINY, VOCABULARY, seed=3)
    x, y = text()
    loss, _, _ = gradients(weights, zero_state(TINY, TINY.batch), tf.constant(x), tf.constant(y), None)
    assert float(loss) == pytest.approx(reference_losses(weights, x, y).sum(), rel=1e-5)


def test_the_gradient_is_that_of_the_loss() -> None:
    weights = initial_weights(TINY, VOCABULARY, seed=3)
    x, y = text()
    state = zero_state(TINY, TINY.batch)
    masks = tf.ones([3, TINY.steps * TINY.batch, TINY.hidden]) * 0.5
    _, _, grads = gradients(weights, state, tf.constant(x), tf.constant(y), masks)

    def total(w: Weights) -> float:
        return float(gradients(w, state, tf.constant(x), tf.constant(y), masks)[0]) / TINY.batch

    step = 1e-2
    for name, place in (("softmax", (2, 3)), ("softmax", (5, 1))):
        array = np.array(getattr(weights, name))
        values = []
        for sign in (1, -1):
            moved = array.copy()
            moved[place] += sign * step
            values.append(total(weights._replace(**{name: tf.constant(moved)})))
        assert float(getattr(grads, name)[place]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=2e-3)
    for n in range(2):
        array = np.array(weights.kernels[n])
        for place in ((0, 1), (7, 13)):
            values = []
            for sign in (1, -1):
                moved = array.copy()
                moved[place] += sign * step
                kernels = tuple(tf.constant(moved) if k == n else weights.kernels[k] for k in range(2))
                values.append(total(weights._replace(kernels=kernels)))
            assert float(grads.kernels[n][place]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=2e-3)


def test_the_step_is_clipped_to_the_norm() -> None:
    weights = initial_weights(TINY, VOCABULARY, seed=3)
    x, y = (tf.constant(part) for part in text())
    state = zero_state(TINY, TINY.batch)
    _, _, grads = gradients(weights, state, x, y, None)
    assert float(global_norm(grads, x)) > TINY.max_norm
    fresh, _, _ = clipped_step(TINY, weights, state, x, y, tf.constant(1.0), (1, tf.constant(0)))
    moved = [
        np.asarray(a) - np.asarray(b) for a, b in zip(tf.nest.flatten(fresh), tf.nest.flatten(weights), strict=True)
    ]
    assert math.sqrt(sum((part**2).sum() for part in moved)) == pytest.approx(TINY.max_norm, rel=1e-4)


def test_perplexity_counts_every_token_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(corpora.play(number) for number in range(3)))
    corpus = read_corpus(tmp_path, seed=1)
    config = dataclasses.replace(TINY, batch=2)
    with (tmp_path / "log").open("w") as log:
        trainer = Trainer(config, corpus, 1, log)
        ids = corpus.test[:60]
        first = corpus.words.index("<eos>")
        # 60 tokens make one segment of 50 steps in 20 streams: three tokens or so to a stream, from a fresh state each.
        found = trainer.perplexity(ids)
    y = np.zeros((20, 50), np.int32)
    y.reshape(-1)[:60] = ids
    x = np.concatenate([[first], y.reshape(-1)[:-1]]).reshape(20, 50)
    losses = reference_losses(trainer.weights, x.T, y.T).T.reshape(-1)[:60]
    assert found == pytest.approx(math.exp(losses.mean()), rel=1e-4)


def test_configurations_are_the_published_ones() -> None:
    shapes = {name: dataclasses.astuple(config)[1:11] for name, config in CONFIGS.items()}
    assert shapes == {
        "test": (1, 2, 2, 10, 1, 1, 1.0, 0.1, 0.5, 1.0),
        "small": (2, 200, 20, 20, 13, 4, 1.0, 0.1, 0.5, 5.0),
        "medium": (2, 650, 35, 20, 39, 6, 0.5, 0.05, 0.8, 5.0),
        "large": (2, 1500, 35, 20, 55, 14, 0.35, 0.04, 1 / 1.15, 10.0),
    }
    assert [CONFIGS["small"].rate_in(epoch) for epoch in (1, 4, 5, 6)] == [1.0, 1.0, 0.5, 0.25]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same training twice."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("".join(corpora.play(number) for number in range(4)))
    for name in ("one", "two"):
        train(folder / "data", folder / name, CONFIGS["test"], seed=1)
    return folder / "one", folder / "two"


def test_the_same_inputs_give_the_same_bytes(trained: tuple[Path, Path]) -> None:
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001", "checkpoint", "word_to_id.json"):
        assert (trained[0] / name).read_bytes() == (trained[1] / name).read_bytes()
    metrics = [json.loads((folder / "metrics.json").read_text())["perplexity"] for folder in trained]
    assert metrics[0] == metrics[1]


def test_the_ngram_model_is_told_on_a_line_of_its_own(trained: tuple[Path, Path]) -> None:
    log, metrics = ((trained[0] / name).read_text() for name in ("model-results", "metrics.json"))
    counted = json.loads(metrics)["ngram"]
    last = log.splitlines()[-1]
    assert last.startswith(f"N-gram (Kneser-Ney, order 5): valid {counted['valid']:.3f} test {counted['test']:.3f}; ")
    assert not re.search(r"(Train|Valid|Test) Perplexity", last)
    assert 1 < counted["valid"] < 1000
    assert (trained[0] / "training_text.npz").is_file()
