"""Trainings of a given length: the recipe and the number of epochs, from how fast this machine is.

The first seconds go into a few steps that are thrown away, and into an evaluation of a little text. The plan that comes of
it is fixed and kept with the training, which stays a function of plan and seed: one that was stopped goes on to the same
bits. A machine that has less time for it later on ends later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from model import checkpoints
from model.configs import Adam, Config, own
from model.corpus import Corpus
from model.dynamic import COST, SAMPLE, SEGMENT
from model.trainer import Trainer, TrainingError

DYNAMIC_MINUTES = 10  # in less, the time is better spent on training
MOST_EPOCHS = 60  # of a recipe; who has time for more has too little text
LEAST_EPOCHS = 0.01
TRIAL = 0.01  # share of the time that goes into measuring a recipe's training
LONGEST_TRIAL = 5.0  # seconds of training
COMPILING = 2  # calls; the second is compiled for the shapes that the first has left
TRIAL_TOKENS = 1000  # that are evaluated
# Times that of reading the corpus: once for the n-gram model and the mixture, which come last, the rest for the word vectors.
COUNTING = 2.5


@dataclass(frozen=True)
class Recipe:
    """What is trained where there is time for so many epochs of the narrowest."""

    epochs: float
    hidden: int
    keep: float
    rate: float
    words_kept: float = 1.0


RECIPES = (
    Recipe(0, 240, 0.8, 7e-3),
    Recipe(4, 320, 0.65, 6e-3),
    Recipe(15, 400, 0.5, 4e-3, words_kept=0.9),
    Recipe(60, 480, 0.45, 4e-3, words_kept=0.9),
)


@dataclass(frozen=True)
class Plan:
    """What was planned, as it is kept with the training and told in its metrics."""

    minutes: float
    hidden: int
    epochs: float
    words_per_second: int

    def config(self) -> Config:
        """The recipe, stretched over the epochs."""
        recipe = next(recipe for recipe in RECIPES if recipe.hidden == self.hidden)
        return _stretch(f"{self.minutes:g}-minute", recipe, self.epochs, self.minutes >= DYNAMIC_MINUTES)

    def as_json(self) -> dict[str, float]:
        """For the checkpoint and `metrics.json`."""
        return asdict(self)

    def log_line(self) -> str:
        """For the log."""
        return (
            f"Plan: {self.epochs:g} epochs of {self.hidden} units in {self.minutes:g} minutes, "
            f"at {self.words_per_second:,} words a second"
        )


def read_plan(folder: Path, minutes: float) -> Plan | None:
    """The plan of a training of so many minutes that is under way in `folder`."""
    position = checkpoints.read_position(folder)
    kept = position and position.get("plan")
    return Plan(**kept) if kept and kept["minutes"] == minutes else None


class Speed(NamedTuple):
    """Seconds that a token takes."""

    trained: float
    evaluated: float


def make_plan(
    minutes: float, corpus: Corpus, seed: int, hidden: int | None, begun: float, clock: Callable[[], float]
) -> Plan:
    """Measures and plans a training that ends so many minutes after `begun`, by `clock`.

    Args:
        minutes: That all may take: reading, training, evaluation.
        corpus: What is trained on.
        seed: Of the training.
        hidden: The network's width, where it is given by a model to start from.
        begun: When it began.
        clock: Seconds.

    Raises:
        TrainingError: there is no time to train.
    """
    counting = COUNTING * (clock() - begun)
    end = begun + 60 * minutes

    def try_recipe(recipe: Recipe) -> tuple[Speed, float]:
        """How fast it is, and the epochs that there is time for."""
        speed = _measure(recipe, corpus, seed, min(TRIAL * 60 * minutes, LONGEST_TRIAL), clock)
        # An epoch that is a part measures the whole of valid.
        last = (0.5 * len(corpus.valid) + len(corpus.test)) * speed.evaluated
        if minutes >= DYNAMIC_MINUTES:
            # The gradients are measured first, then test is followed, and the part of valid beside it.
            last += (SAMPLE * SEGMENT + len(corpus.test)) * speed.evaluated * COST
        epoch = len(corpus.train) * speed.trained + len(corpus.valid) * speed.evaluated
        return speed, (end - clock() - counting - last) / epoch

    recipe = min(RECIPES, key=lambda recipe: abs(recipe.hidden - (hidden or 0)))
    speed, epochs = try_recipe(recipe)
    if not hidden:
        best = [each for each in RECIPES if each.epochs <= max(0.0, epochs)][-1]
        if best != recipe:
            recipe = best
            speed, epochs = try_recipe(recipe)
    if epochs < LEAST_EPOCHS:
        raise TrainingError(
            f"{minutes:g} minutes are too few to read these scripts, to train and to evaluate on this machine: "
            f"say --minutes {2 * minutes:g} or more"
        )
    return Plan(minutes, recipe.hidden, round(min(epochs, MOST_EPOCHS), 2), round(1 / speed.trained))


def _measure(recipe: Recipe, corpus: Corpus, seed: int, seconds: float, clock: Callable[[], float]) -> Speed:
    """How fast a recipe is, from so many seconds of training, and a third as many of evaluation."""
    config = replace(_stretch("trial", recipe, 1, dynamic=False), vectors_start=False)
    trainer = Trainer(config, corpus, seed, lambda line: None, clock=clock)
    text = corpus.valid[:TRIAL_TOKENS]

    def train() -> int:
        # Ever new text, as in a training: what was just read is quicker.
        if trainer.position.segment >= trainer.segments - trainer.call:
            trainer.position.segment = 0
        before = trainer.position.segment
        trainer.advance(min(before + trainer.call, trainer.segments))
        return (trainer.position.segment - before) * config.steps * config.batch

    def evaluate() -> int:
        trainer.measure(text)
        return len(text)

    # An evaluation does the same all the time, and is soon measured.
    return Speed(_time_token(train, seconds, clock), _time_token(evaluate, seconds / 3, clock))


def _time_token(act: Callable[[], int], seconds: float, clock: Callable[[], float]) -> float:
    """Seconds that a token takes; the first calls compile, and do not count."""
    for _ in range(COMPILING):
        act()
    begin, tokens = clock(), 0
    while not tokens or clock() - begin < seconds:
        tokens += act()
    return (clock() - begin) / tokens


def _stretch(name: str, recipe: Recipe, epochs: float, dynamic: bool) -> Config:
    whole = math.ceil(epochs)
    return own(
        name,
        hidden=recipe.hidden,
        epochs=whole,
        last_epoch=1 - (whole - epochs),
        keep=recipe.keep,
        words_kept=recipe.words_kept,
        optimiser=Adam(rate=recipe.rate),
        dynamic=dynamic,
    )
