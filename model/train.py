"""Trains a model: `python3 -m model.train --data-path DIR --save-path DIR --model test --seed 1`."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import tensorflow as tf

from model import checkpoints, ngram, reference
from model.configs import CONFIGS, Config
from model.corpus import Corpus, CorpusError, Ids, check_size, evaluation_batches, read_corpus, training_batches
from model.network import State, Weights, clipped_step, evaluate_segment, initial_weights, zero_state
from model.scripts import EOS

LINES_AN_EPOCH = 10
EVALUATION_BATCH, EVALUATION_STEPS = 20, 50
# Narrow layers spend their time on starting operations; XLA compiles the whole loop instead.
XLA_BELOW_HIDDEN = 100


class Trainer:
    """A model in training."""

    def __init__(self, config: Config, corpus: Corpus, seed: int, log: TextIO) -> None:
        self._config = config
        self._corpus = corpus
        self._seed = seed
        self._log = log
        self._steps_done = 0
        self.weights = initial_weights(config, len(corpus.words), seed)
        xla = config.hidden < XLA_BELOW_HIDDEN
        self._train_chunk = tf.function(self._train_loop, jit_compile=xla, reduce_retracing=True)
        self._evaluate_all = tf.function(self._evaluate_loop, jit_compile=xla, reduce_retracing=True)

    def say(self, line: str) -> None:
        """Writes a line to the log and to the terminal."""
        for stream in (self._log, sys.stdout):
            print(line, file=stream, flush=True)

    def _train_loop(
        self, weights: Weights, state: State, x: Any, y: Any, rate: Any, first: Any
    ) -> tuple[Weights, State, Any]:
        """Trains on [segments, steps, batch] inputs and targets; gives the summed cross-entropy, too."""
        batch = (self._config.steps, self._config.batch)
        total = tf.constant(0.0)
        for n in tf.range(tf.shape(x)[0]):
            here, there = tf.ensure_shape(x[n], batch), tf.ensure_shape(y[n], batch)
            weights, state, loss = clipped_step(
                self._config, weights, state, here, there, rate, (self._seed, first + n)
            )
            total += loss
        return weights, state, total

    def _evaluate_loop(self, weights: Weights, state: State, x: Any, y: Any, weight: Any) -> Any:
        shape = (EVALUATION_STEPS, EVALUATION_BATCH)
        total = tf.constant(0.0, tf.float64)
        for n in tf.range(tf.shape(x)[0]):
            here = tf.ensure_shape(x[n], shape)
            state, losses = evaluate_segment(weights, state, here, tf.ensure_shape(y[n], shape))
            total += tf.cast(tf.reduce_sum(losses * tf.reshape(weight[n], [-1])), tf.float64)
        return total

    def run_epoch(self, epoch: int) -> tuple[float, float]:
        """One pass over the training text; gives perplexity and words a second."""
        x, y = training_batches(self._corpus.train, self._config)
        chunk = max(1, len(x) // LINES_AN_EPOCH)
        state = zero_state(self._config, self._config.batch)
        rate = tf.constant(self._config.rate_in(epoch), tf.float32)
        start, total, seen = time.monotonic(), 0.0, 0
        for begin in range(0, len(x), chunk):
            part = slice(begin, begin + chunk)
            self.weights, state, loss = self._train_chunk(
                self.weights, state, tf.constant(x[part]), tf.constant(y[part]), rate, tf.constant(self._steps_done)
            )
            total += float(loss)
            seen += x[part].size
            self._steps_done += len(x[part])
            if not math.isfinite(total):
                raise CorpusError(f"the loss is no longer finite in epoch {epoch}: try another seed")
            speed = seen / (time.monotonic() - start)
            self.say(
                f"{min(1.0, (begin + chunk) / len(x)):.3f} perplexity: {math.exp(total / seen):.3f} speed: {speed:.0f} wps"
            )
        return math.exp(total / seen), seen / (time.monotonic() - start)

    def perplexity(self, ids: Ids) -> float:
        """exp of the mean cross-entropy a token, every token of `ids` counted once, over the full vocabulary."""
        first = self._corpus.words.index(EOS) if EOS in self._corpus.words else 0
        x, y, weight = evaluation_batches(ids, first, EVALUATION_BATCH, EVALUATION_STEPS)
        state = zero_state(self._config, EVALUATION_BATCH)
        total = self._evaluate_all(self.weights, state, tf.constant(x), tf.constant(y), tf.constant(weight))
        return math.exp(float(total) / len(ids))


def train(data: Path, save: Path, config: Config, seed: int) -> dict[str, Any]:
    """Trains on the scripts in `data` and writes model, log and metrics to `save`; gives the metrics."""
    corpus = read_corpus(data, seed)
    check_size(corpus, config)
    save.mkdir(parents=True, exist_ok=True)
    epochs = []
    with (save / "model-results").open("w") as log:
        trainer = Trainer(config, corpus, seed, log)
        for epoch in range(1, config.epochs + 1):
            trainer.say(f"Epoch: {epoch} Learning rate: {config.rate_in(epoch):.3f}")
            perplexity, speed = trainer.run_epoch(epoch)
            trainer.say(f"Epoch: {epoch} Train Perplexity: {perplexity:.3f}")
            valid = trainer.perplexity(corpus.valid)
            trainer.say(f"Epoch: {epoch} Valid Perplexity: {valid:.3f}")
            epochs.append({"epoch": epoch, "train": perplexity, "valid": valid, "words_per_second": round(speed)})
        test = trainer.perplexity(corpus.test)
        trainer.say(f"Test Perplexity: {test:.3f}")
        counted = ngram.baseline(corpus)
        trainer.say(ngram.told(counted))
    checkpoints.save(save, trainer.weights, corpus.words)
    reference.save(save, corpus)
    metrics = {
        "model": config.name,
        "seed": seed,
        "vocabulary": len(corpus.words),
        "tokens": {"train": len(corpus.train), "valid": len(corpus.valid), "test": len(corpus.test)},
        "epochs": epochs,
        "perplexity": {"train": epochs[-1]["train"], "valid": epochs[-1]["valid"], "test": test},
        "ngram": {"order": ngram.ORDER, **counted},
    }
    (save / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Trains the LSTM language model on scripts.")
    parser.add_argument("--data-path", type=Path, required=True, help="folder of scripts, or of ptb.*.txt")
    parser.add_argument("--save-path", type=Path, required=True, help="folder for model, log and metrics")
    parser.add_argument("--model", choices=CONFIGS, default="test", help="configuration (default test)")
    parser.add_argument("--seed", type=int, default=1, help="of the split, the weights and dropout (default 1)")
    options = parser.parse_args()
    tf.keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    np.seterr(all="raise", under="ignore")
    try:
        train(options.data_path, options.save_path, CONFIGS[options.model], options.seed)
    except CorpusError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
