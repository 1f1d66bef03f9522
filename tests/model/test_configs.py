"""The configurations: the published table, the learning rates of each epoch, and what is our own."""

from __future__ import annotations

import dataclasses

import pytest

from model.configs import CONFIGS, OWN, PUBLISHED, Adam, Config, GradientDescent
from tests.model.recipes import TINY

OF_OUR_OWN = {
    "tied": True,
    "unigram_start": True,
    "vectors_start": True,
    "variational_dropout": True,
    "mogrified": True,
    "shifted": True,
    "bfloat16": True,
    "sampled": 1000,
    "dynamic": True,
}


def test_configurations_are_the_published_ones() -> None:
    """Layers, units, steps, batch, epochs, share kept, init, greatest norm; epochs at full rate, decay, rate."""
    shapes = {
        config.name: (*dataclasses.astuple(config)[1:9], *dataclasses.astuple(config.optimiser)) for config in PUBLISHED
    }
    assert shapes == {
        "test": (1, 2, 2, 10, 1, 1.0, 0.1, 1.0, 1, 0.5, 1.0),
        "small": (2, 200, 20, 20, 13, 1.0, 0.1, 5.0, 4, 0.5, 1.0),
        "medium": (2, 650, 35, 20, 39, 0.5, 0.05, 5.0, 6, 0.8, 1.0),
        "large": (2, 1500, 35, 20, 55, 0.35, 0.04, 10.0, 14, 1 / 1.15, 1.0),
    }
    for config in PUBLISHED:
        assert not any(getattr(config, name) for name in OF_OUR_OWN)
        assert config.words_kept == 1


def test_our_own_configurations() -> None:
    shapes = {config.name: (*dataclasses.astuple(config)[1:9], config.optimiser) for config in OWN}
    assert shapes == {
        "quick": (1, 320, 18, 64, 5, 0.65, 0.1, 5.0, Adam(rate=6e-3)),
        "best": (1, 400, 18, 64, 20, 0.5, 0.1, 5.0, Adam(rate=4e-3)),
    }
    for config in OWN:
        assert {name: getattr(config, name) for name in OF_OUR_OWN} == OF_OUR_OWN
    assert [config.words_kept for config in OWN] == [1.0, 0.9]
    assert list(CONFIGS) == ["test", "small", "medium", "large", "quick", "best"]


@pytest.mark.parametrize(("name", "full", "decay"), [("small", 4, 0.5), ("medium", 6, 0.8), ("large", 14, 1 / 1.15)])
def test_the_published_rate_is_full_at_first_and_falls_with_each_later_epoch(
    name: str, full: int, decay: float
) -> None:
    config, rate = CONFIGS[name], 1.0
    for epoch in range(1, config.epochs + 1):
        rate *= decay if epoch > full else 1
        assert config.rate_in(epoch) == pytest.approx(rate, rel=1e-12)
        for share in (0, 0.25, 0.9999):
            assert config.rate_at(epoch - 1 + share) == config.rate_in(epoch)


def test_our_own_rates_rise_and_fall_to_zero() -> None:
    for config in OWN:
        rates = [config.rate_at(config.epochs * n / 2000) for n in range(2001)]
        assert rates[0] == rates[-1] == 0
        top = rates.index(max(rates))
        assert rates[top] == pytest.approx(config.optimiser.rate)
        assert top == pytest.approx(2000 / 50, abs=1)
        assert rates == sorted(rates[: top + 1]) + sorted(rates[top + 1 :], reverse=True)
        assert config.rate_in(1) == config.rate_at(0.5)


@pytest.mark.parametrize(
    "changes", [{"tied": True}, {"sampled": 5}, {"optimiser": Adam(rate=1.0)}, {"tied": True, "sampled": 5}]
)
def test_a_part_of_our_own_step_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="tiny: tied weights, sampled softmax and Adam are one step"):
        dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"bfloat16": True}, {"mogrified": True}, {"shifted": True}, {"words_kept": 0.9}])
def test_the_published_step_has_none_of_our_own_parts(change: dict[str, object]) -> None:
    with pytest.raises(
        ValueError, match="tiny: the published recipe is plain, in float32, on all words and the same batches"
    ):
        dataclasses.replace(TINY, **change)  # type: ignore[arg-type]


def test_the_rate_is_a_factor() -> None:
    fast: Config = dataclasses.replace(TINY, optimiser=GradientDescent(full_rate_epochs=1, decay=0.5, rate=3.0))
    assert [fast.rate_in(epoch) for epoch in (1, 2, 3)] == [3.0, 1.5, 0.75]
