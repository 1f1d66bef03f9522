"""Trainings of a given length: planned from how fast the machine is, ended in time, the plan kept."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from model import plan as plan_module
from model.configs import Config, own
from model.corpus import Ids, read_corpus
from model.cross_entropy import Measured, measure
from model.dynamic import COST, SAMPLE, SEGMENT
from model.plan import MOST_EPOCHS, RECIPES, Plan, Recipe, make_plan
from model.sampled_softmax import draw_samples
from model.train import train
from model.trainer import Stopped, Trainer, TrainingError
from tests import corpora

BEGIN = 1000.0
# As RECIPES, in no time.
NARROW = (Recipe(0, 6, 0.8, 4e-3), Recipe(4, 8, 0.7, 4e-3))


class Machine:
    """One of a given speed: its clock goes on by what is trained and evaluated, and by nothing else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trained: float, evaluated: float) -> None:
        self.now = BEGIN

        def slow_draw(chance: Any, x: Ids, *rest: Any) -> Any:
            self.now += x.size * trained
            return draw_samples(chance, x, *rest)

        def slow_measure(weights: Any, ids: Ids, first: int) -> Measured:
            self.now += len(ids) * evaluated
            return measure(weights, ids, first)

        monkeypatch.setattr("model.trainer.draw_samples", slow_draw)
        monkeypatch.setattr("model.trainer.measure", slow_measure)

    def clock(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(name: str, **shape: Any) -> Config:
        return dataclasses.replace(own(name, **shape), steps=5, batch=8)

    monkeypatch.setattr(plan_module, "RECIPES", NARROW)
    monkeypatch.setattr(plan_module, "own", short)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "a.txt").write_text("".join(corpora.play(number) for number in range(12)))
    return folder


@pytest.mark.parametrize(("minutes", "hidden"), [pytest.param(1.5, 6, marks=pytest.mark.slow), (4.0, 8)])
def test_a_training_ends_in_time(
    tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, hidden: int
) -> None:
    machine = Machine(monkeypatch, 1 / 400, 1 / 2000)
    metrics = train(scripts, tmp_path / "out", minutes, seed=1, clock=machine.clock)
    assert machine.now - BEGIN == pytest.approx(60 * minutes, rel=0.1)
    plan = metrics["plan"]
    assert (plan["minutes"], plan["hidden"]) == (minutes, hidden)
    assert plan["words_per_second"] == 400
    assert metrics["model"] == f"{minutes:g}-minute"
    assert metrics["epochs"][-1]["epoch"] == math.ceil(plan["epochs"])
    assert metrics["curve"][-1][0] == pytest.approx(plan["epochs"], abs=0.1)
    told = [entry["minutes"] for entry in metrics["epochs"]]
    assert told == sorted(told)
    assert 0.5 * minutes < told[-1] < minutes
    log = (tmp_path / "out" / "model-results").read_text()
    assert f"Plan: {plan['epochs']:g} epochs of {hidden} units in {minutes:g} minutes, at 400 words a second" in log


@pytest.mark.slow
def test_a_stopped_training_goes_on_by_its_plan_to_the_same_bits(
    tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that has become ten times as fast, too."""
    machine = Machine(monkeypatch, 1 / 400, 1 / 2000)
    whole = train(scripts, tmp_path / "whole", 1.5, seed=1, clock=machine.clock)
    machine.now = BEGIN
    run_epoch = Trainer.run_epoch

    def stop_in_the_second(self: Trainer) -> None:
        self.stop = self.position.epoch == 2
        run_epoch(self)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(Trainer, "run_epoch", stop_in_the_second)
        train(scripts, tmp_path / "stopped", 1.5, seed=1, clock=machine.clock)
    with pytest.raises(TrainingError, match="another model, corpus or seed"):
        train(scripts, tmp_path / "stopped", 2.0, seed=1, clock=machine.clock)
    Machine(monkeypatch, 1 / 4000, 1 / 20000)
    gone_on = train(scripts, tmp_path / "stopped", 1.5, seed=1)
    assert gone_on["plan"] == whole["plan"]
    assert gone_on["curve"] == whole["curve"]
    models = [(tmp_path / name / "model.ckpt.data-00000-of-00001").read_bytes() for name in ("whole", "stopped")]
    assert models[0] == models[1]


@pytest.mark.slow
def test_a_warm_start_keeps_its_width(tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1 / 400, 1 / 2000)
    first = train(scripts, tmp_path / "first", 1.5, seed=1, clock=machine.clock)
    machine.now = BEGIN
    second = train(scripts, tmp_path / "second", 4.0, seed=1, warm_start=tmp_path / "first", clock=machine.clock)
    assert (first["plan"]["hidden"], second["plan"]["hidden"]) == (6, 6)
    assert second["warm_start"]["model"] == "1.5-minute"
    assert machine.now - BEGIN == pytest.approx(240, rel=0.1)


@pytest.mark.parametrize("minutes", [pytest.param(0.5, marks=pytest.mark.slow), 5.0])
def test_too_little_time_is_said(
    tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch, minutes: float
) -> None:
    machine = Machine(monkeypatch, 1 / 400, 60 * minutes / 1000)
    with pytest.raises(
        TrainingError, match=f"^{minutes:g} minutes are too few .* say --minutes {2 * minutes:g} or more"
    ):
        train(scripts, tmp_path / "out", minutes, seed=1, clock=machine.clock)


def test_learning_at_the_end_is_planned_for_from_ten_minutes_on(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1 / 400, 1 / 2000)
    corpus = read_corpus(scripts, 1)

    def plan() -> Plan:
        return make_plan(10.0, corpus, 1, NARROW[-1].hidden, machine.now, machine.clock)

    learning = plan()
    assert learning.config().dynamic
    assert not dataclasses.replace(learning, minutes=9.9).config().dynamic
    monkeypatch.setattr(plan_module, "DYNAMIC_MINUTES", 11)
    epoch = len(corpus.train) / 400 + len(corpus.valid) / 2000
    spent = (SAMPLE * SEGMENT + len(corpus.test)) / 2000 * COST
    assert plan().epochs - learning.epochs == pytest.approx(spent / epoch, rel=0.05)


def test_more_epochs_than_a_text_is_good_for_are_not_planned(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1 / 400, 1 / 2000)
    plan = make_plan(500.0, read_corpus(scripts, 1), 1, None, machine.now, machine.clock)
    assert (plan.epochs, plan.hidden) == (MOST_EPOCHS, NARROW[-1].hidden)


@pytest.mark.parametrize("epochs", [0.07, 1.0, 5.43, 24.0])
def test_a_plan_stretches_the_rate_over_its_epochs(monkeypatch: pytest.MonkeyPatch, epochs: float) -> None:
    monkeypatch.undo()
    for recipe in RECIPES:
        config = Plan(5.0, recipe.hidden, epochs, 1).config()
        assert (config.hidden, config.keep, config.tied) == (recipe.hidden, recipe.keep, True)
        assert config.length == pytest.approx(epochs)
        rates = [config.rate_at(epochs * share / 1000) for share in range(1001)]
        assert rates[0] == 0
        assert rates[-1] == pytest.approx(0, abs=1e-9)
        assert max(rates) == pytest.approx(recipe.rate, rel=0.01)
        assert config.rate_in(config.epochs) >= 0


def test_wider_networks_are_for_more_time() -> None:
    assert RECIPES[0].epochs == 0
    for narrower, wider in itertools.pairwise(RECIPES):
        assert narrower.epochs < wider.epochs
        assert narrower.hidden < wider.hidden
        assert narrower.keep > wider.keep
