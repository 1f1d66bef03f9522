"""What a model can know of a Markov chain: all of it, and no more."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from model.configs import GradientDescent
from model.corpus import Corpus
from model.trainer import Trainer
from tests.model.recipes import OWN, TINY


@pytest.mark.parametrize("sampled", [0, 12], ids=["whole softmax", "sampled"])
def test_a_model_comes_to_know_a_markov_chain_and_no_more(sampled: int) -> None:
    words, random = 20, np.random.default_rng(3)
    chain = random.dirichlet(np.full(words, 0.3), words)
    ids = [0]
    for u in random.random(65_000):
        ids.append(min(words - 1, int(np.searchsorted(np.cumsum(chain[ids[-1]]), u))))
    text = np.array(ids, np.int32)
    train, held = text[:-15_000], text[-15_000:]
    # What nobody can be better than: the cross-entropy of the held-out text under the chain itself.
    entropy = math.exp(-np.log(chain[held[:-1], held[1:]]).mean())
    size: dict[str, Any] = {"layers": 1, "hidden": 128, "steps": 10, "batch": 20, "init": 0.1, "max_norm": 5.0}
    if sampled:
        config = dataclasses.replace(OWN, keep=1.0, sampled=sampled, **size)
    else:
        config = dataclasses.replace(TINY, optimiser=GradientDescent(full_rate_epochs=3, decay=0.3), **size, epochs=5)
    trainer = Trainer(config, Corpus(train, held, held, [str(n) for n in range(words)]), 1, lambda line: None)
    for _ in range(config.epochs):
        trainer.run_epoch()
    found = math.exp(trainer.measure(held).losses.mean())
    assert entropy * 0.999 < found < entropy * 1.03
