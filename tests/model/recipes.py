"""Small recipes for the tests: the published one, and our own."""

from __future__ import annotations

from model.configs import Adam, Config, GradientDescent

TINY = Config(
    name="tiny",
    layers=2,
    hidden=5,
    steps=4,
    batch=3,
    epochs=2,
    keep=1.0,
    init=0.3,
    max_norm=0.4,
    optimiser=GradientDescent(full_rate_epochs=1, decay=0.5),
)
OWN = Config(
    name="own",
    layers=1,
    hidden=6,
    steps=5,
    batch=4,
    epochs=2,
    keep=0.8,
    init=0.3,
    max_norm=1.0,
    optimiser=Adam(rate=1e-2),
    tied=True,
    unigram_start=True,
    variational_dropout=True,
    mogrified=True,
    sampled=30,
)
