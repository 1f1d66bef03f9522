"""A model in training: epochs that can be left and resumed at the same point, to the bit."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import checkpoints, dynamic, machine
from model.configs import Adam, Config
from model.corpus import Corpus, Ids, training_batches
from model.cross_entropy import Measured, measure
from model.network import (
    State,
    Tensor,
    Weights,
    clipped_step,
    initial_weights,
    zero_state,
)
from model.sampled_softmax import (
    Moments,
    Samples,
    draw_samples,
    drawing_chances,
    sampled_step,
    unigram_bias,
    zero_moments,
)
from model.tensorflow import tf
from model.tokens import EOS
from model.word_vectors import word_vectors

LINES_AN_EPOCH = 10
# Narrow layers spend their time on starting operations: XLA compiles the whole loop instead, where shapes are fixed.
XLA_BELOW_HIDDEN = 100
# Other layers are trained this many tokens a call, so that a signal to stop is answered soon.
TOKENS_A_CALL = 4096
SHIFTS = 1 << 30  # added to an epoch: where epochs begin has nothing to do with what words are drawn
# Even guessing has the perplexity V; a training that is this many times worse goes nowhere.
DIVERGED = 10
NO_MOMENTS = Moments((), ())


class TrainingError(Exception):
    """A training that can't go on, or can't begin."""


class Stopped(Exception):
    """The training was asked to stop and has kept where it was."""


class Learner(NamedTuple):
    """What a training step changes."""

    weights: Weights
    moments: Moments
    state: State


@dataclass
class Position:
    """Where a training is; with a `Learner`, all that it needs to go on. Random numbers depend on seed and step."""

    training: str  # what is trained on what: a hash
    epoch: int = 1
    segment: int = 0  # of the epoch, the next to be trained on
    steps: int = 0
    loss: float = 0.0  # of the epoch so far, in sum
    seconds: float = 0.0  # of training, in all
    epoch_seconds: float = 0.0
    log: int = 0  # bytes of the log written
    epochs: list[dict[str, float]] = field(default_factory=list)
    curve: list[list[float]] = field(default_factory=list)  # [epochs, training perplexity]
    plan: dict[str, float] | None = None  # of a training of a given length
    bfloat16: bool = False  # its products are of numbers rounded to that


class Trainer:
    """Trains one model; `say` gets each line of the log, and `show` how far the epoch is, between them."""

    def __init__(
        self,
        config: Config,
        corpus: Corpus,
        seed: int,
        say: Callable[[str], None],
        show: Callable[[str], None] = lambda text: None,
        weights: Weights | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._corpus, self._seed = config, corpus, seed
        self._say, self._show, self._clock = say, show, clock
        self._shifted = 0  # the epoch whose batches these are
        self._inputs, self._targets = training_batches(corpus.train, config)
        self._first = weights
        bfloat16 = config.bfloat16 and machine.has_bfloat16()
        self.position = Position(_fingerprint(config, corpus, seed, weights), bfloat16=bfloat16)
        self._valid: tuple[int, Measured] | None = None  # after how many steps; what was found
        self.stop = False  # set to true, ends the training at the next call
        if config.sampled:
            self._chances = drawing_chances(_count_words(corpus), config.sampled)
        xla = config.hidden < XLA_BELOW_HIDDEN and not config.sampled
        tenth = max(1, len(self._inputs) // LINES_AN_EPOCH)
        # Segments that are trained on at once.
        self.call = tenth if xla else max(1, TOKENS_A_CALL // (config.steps * config.batch))
        self._train = tf.function(self._train_loop, jit_compile=xla, reduce_retracing=True)

    @cached_property
    def learner(self) -> Learner:
        """What learns: as it begins, until it is set. A training that is gone on with has no need of word vectors."""
        return self._begin(self._first or first_weights(self._config, self._corpus, self._seed))

    def _begin(self, weights: Weights) -> Learner:
        moments = zero_moments(weights) if isinstance(self._config.optimiser, Adam) else NO_MOMENTS
        return Learner(weights, moments, zero_state(self._config, self._config.batch))

    @property
    def weights(self) -> Weights:
        """The weights as they are now."""
        return self.learner.weights

    @property
    def segments(self) -> int:
        """How many the epoch has."""
        whole = len(self._inputs)
        last = self.position.epoch == self._config.epochs
        return max(1, round(self._config.last_epoch * whole)) if last else whole

    def save(self, folder: Path) -> None:
        """Writes learner and position into `folder`."""
        checkpoints.save_training(folder, self.learner, asdict(self.position))

    def resume(self, folder: Path) -> bool:
        """Goes on where the training kept in `folder` was; false where there is none.

        Raises:
            TrainingError: the training kept there is another one, or was begun on a processor with bfloat16.
        """
        like = self._begin(initial_weights(self._config, len(self._corpus.words), self._seed))
        kept = checkpoints.load_training(folder, like)
        if kept is None:
            return False
        if kept[1]["training"] != self.position.training:
            raise TrainingError(
                f"{folder} holds a training that is not over, of another model, corpus or seed: "
                "give the same options to go on with it, or choose an empty folder"
            )
        position = Position(**kept[1])
        if position.bfloat16 and not machine.has_bfloat16():
            raise TrainingError(
                f"{folder} holds a training that was begun on a processor with bfloat16, which this one has not, so that it "
                "would end otherwise: go on with it on such a machine, or choose an empty folder"
            )
        self.learner, self.position = kept[0], position
        return True

    def _train_loop(self, learner: Learner, batches: Samples, rates: Tensor, first: Tensor) -> tuple[Learner, Tensor]:
        """Trains on [segments, T, B] batches; gives the summed cross-entropy, too."""
        config = replace(self._config, bfloat16=self.position.bfloat16)
        shape = (config.steps, config.batch)
        total = tf.constant(0.0)
        for n in tf.range(tf.shape(batches.x)[0]):
            x, y = tf.ensure_shape(batches.x[n], shape), tf.ensure_shape(batches.y[n], shape)
            seed = (self._seed, first + n)
            if config.sampled:
                part = slice(batches.ends[n], batches.ends[n + 1])
                vocabulary = batches.words[part], batches.corrections[part]
                weights, moments, state, loss = sampled_step(config, *learner, vocabulary, x, y, rates[n], seed)
                learner = Learner(weights, moments, state)
            else:
                weights, state, loss = clipped_step(config, learner.weights, learner.state, x, y, rates[n], seed)
                learner = Learner(weights, learner.moments, state)
            total += loss
        return learner, total

    def run_epoch(self) -> None:
        """Trains to the end of the epoch and measures the valid split.

        Raises:
            Stopped: `stop` was set.
            TrainingError: the training diverged.
        """
        at, config, segments = self.position, self._config, self.segments
        if at.segment == 0:
            self.learner = self.learner._replace(state=zero_state(config, config.batch))
            at.loss = at.epoch_seconds = 0.0
            self._say(f"Epoch: {at.epoch} of {config.epochs} Learning rate: {config.rate_in(at.epoch):.3g}")
        tenth = max(1, segments // LINES_AN_EPOCH)
        while at.segment < segments:
            line = min(segments, (at.segment // tenth + 1) * tenth)
            self.advance(min(line, at.segment + self.call))
            perplexity, speed = self._so_far()
            share = at.segment / segments
            text = f"{share:.3f} perplexity: {perplexity:.3f} speed: {speed:.0f} wps"
            if at.segment == line:
                self._say(text)
                at.curve.append([at.epoch - 1 + at.segment / len(self._inputs), perplexity])
            else:
                self._show(f"epoch {at.epoch}/{config.epochs} {text}")
            if self.stop:
                raise Stopped
        perplexity, speed = self._so_far()
        self._say(f"Epoch: {at.epoch} Train Perplexity: {perplexity:.3f}")
        valid = math.exp(self.measure_valid().losses.mean())
        self._say(f"Epoch: {at.epoch} Valid Perplexity: {valid:.3f}")
        at.epochs.append(
            {
                "epoch": at.epoch,
                "train": perplexity,
                "valid": valid,
                "words_per_second": round(speed),
                "seconds": round(at.epoch_seconds, 1),
                "minutes": round(at.seconds / 60, 3),
            }
        )
        at.epoch, at.segment = at.epoch + 1, 0

    def advance(self, end: int) -> None:
        """Trains on the segments of the epoch up to `end`."""
        at = self.position
        start = self._clock()
        self._shift()
        part, steps = slice(at.segment, end), range(at.segment, end)
        rates = [self._config.rate_at(at.epoch - 1 + n / len(self._inputs)) for n in steps]
        batches = Samples(
            np.empty(0, np.int32),
            np.empty(0, np.float32),
            np.empty(0, np.int32),
            self._inputs[part],
            self._targets[part],
        )
        if self._config.sampled:
            batches = draw_samples(self._chances, batches.x, batches.y, self._seed, at.steps)
        given = tf.nest.map_structure(tf.constant, batches)
        self.learner, loss = self._train(self.learner, given, tf.constant(rates, tf.float32), tf.constant(at.steps))
        at.loss += float(loss)
        at.segment, at.steps = end, at.steps + len(steps)
        took = self._clock() - start
        at.seconds += took
        at.epoch_seconds += took

    def _shift(self) -> None:
        """Has the epoch's streams begin where no other epoch's do: the same text in other batches."""
        if self._config.shifted and self._shifted != self.position.epoch:
            self._shifted = self.position.epoch
            text = self._corpus.train
            first = int(np.random.default_rng((self._seed, SHIFTS + self._shifted)).integers(len(text)))
            self._inputs, self._targets = training_batches(np.roll(text, -first), self._config)

    def _so_far(self) -> tuple[float, float]:
        """Perplexity and tokens a second of this epoch."""
        at, limit = self.position, DIVERGED * len(self._corpus.words)
        seen = at.segment * self._config.steps * self._config.batch
        mean = at.loss / seen
        if not math.isfinite(mean) or mean > math.log(limit):
            found = (
                "no longer finite" if not math.isfinite(mean) else f"above {limit}, {DIVERGED} times that of guessing"
            )
            raise TrainingError(
                f"training diverged: after {at.steps} steps, in epoch {at.epoch}, the perplexity is {found}; "
                "try another seed or a smaller model"
            )
        return math.exp(mean), seen / at.epoch_seconds

    def measure(self, ids: Ids) -> Measured:
        """What network and continuous cache give to each token of `ids`, over the full vocabulary."""
        return measure(self.weights, ids, self._before_text)

    def measure_valid(self) -> Measured:
        """The same of the valid split, which is measured once for the weights after each step."""
        if self._valid is None or self._valid[0] != self.position.steps:
            self._valid = self.position.steps, self.measure(self._corpus.valid)
        return self._valid[1]

    def dynamic_losses(self, texts: Sequence[Ids]) -> list[NDArray[np.float64]]:
        """The same of some texts where the network learns on the way."""
        return dynamic.losses(self.weights, self._corpus.train, texts, self._before_text)

    @property
    def _before_text(self) -> int:
        return self._corpus.words.index(EOS) if EOS in self._corpus.words else 0


def count_parameters(weights: Weights) -> int:
    """How many numbers a model consists of."""
    return sum(math.prod(part.shape) for part in tf.nest.flatten(weights))


def first_weights(config: Config, corpus: Corpus, seed: int) -> Weights:
    """The weights before training."""
    weights = initial_weights(config, len(corpus.words), seed)
    if config.unigram_start:
        weights = weights._replace(softmax=unigram_bias(_count_words(corpus)))
    if config.vectors_start:
        # As large as the random weights would be.
        vectors = word_vectors(corpus.train, len(corpus.words), config.hidden, seed) * config.init / math.sqrt(3)
        weights = weights._replace(embedding=tf.constant(vectors, tf.float32))
    return weights


def _count_words(corpus: Corpus) -> NDArray[np.int64]:
    """How often each word is in the training text."""
    return np.bincount(corpus.train, minlength=len(corpus.words))


def extend_weights(config: Config, trained: checkpoints.Trained, corpus: Corpus, seed: int) -> Weights:
    """The weights of a trained model with rows for new words, whose ids follow those of the old ones.

    Raises:
        TrainingError: the trained model has not the shape of `config`.
    """
    # Vectors of this text would be strangers among those that were trained: new rows are random.
    new, old = first_weights(replace(config, vectors_start=False), corpus, seed), trained.weights
    count = len(trained.words)
    shapes = [[tuple(part.shape) for part in (*w.kernels, *w.mogrifiers, w.softmax[:, 0])] for w in (new, old)]
    if shapes[0] != shapes[1]:
        raise TrainingError(
            f"the model to start from has {len(old.kernels)} layers of {old.embedding.shape[1]} units"
            f"{' and tied weights' if old.softmax.shape[0] == 1 else ''}{' and mogrifiers' if old.mogrifiers else ''}, "
            f"which is not the shape of {config.name}: "
            "start from a model of the same configuration"
        )
    return Weights(
        tf.concat([old.embedding, new.embedding[count:]], 0),
        tuple(tf.constant(kernel) for kernel in old.kernels),
        tuple(tf.constant(bias) for bias in old.biases),
        tf.concat([old.softmax, new.softmax[:, count:]], 1),
        tuple(tf.constant(mogrifier) for mogrifier in old.mogrifiers),
    )


def _fingerprint(config: Config, corpus: Corpus, seed: int, weights: Weights | None) -> str:
    digest = hashlib.sha256(repr((config, seed, corpus.words)).encode())
    for part in (*corpus[:3], *(tf.nest.flatten(weights) if weights is not None else ())):
        digest.update(np.asarray(part).tobytes())
    return digest.hexdigest()
