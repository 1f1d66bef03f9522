"""The four published configurations (Zaremba, Sutskever, Vinyals 2014, and the PTB tutorial's `test`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One recipe: the shape of the network and how it is trained."""

    name: str
    layers: int
    hidden: int
    steps: int  # truncated back-propagation goes this many tokens back
    batch: int  # the training text is read as this many streams side by side
    epochs: int
    decay_after: int  # the first epochs run at the full learning rate
    keep: float  # share of non-recurrent connections that dropout keeps
    init: float  # all weights start uniform in [-init, init]
    decay: float  # factor on the learning rate for each epoch after `decay_after`
    max_norm: float  # the gradient's global norm is clipped to this
    rate: float = 1.0

    def rate_in(self, epoch: int) -> float:
        """The learning rate of an epoch, the first being 1."""
        return float(self.rate * self.decay ** max(0, epoch - self.decay_after))


CONFIGS = {
    config.name: config
    for config in (
        Config("test", 1, 2, 2, 10, 1, 1, 1.0, 0.1, 0.5, 1.0),
        Config("small", 2, 200, 20, 20, 13, 4, 1.0, 0.1, 0.5, 5.0),
        Config("medium", 2, 650, 35, 20, 39, 6, 0.5, 0.05, 0.8, 5.0),
        Config("large", 2, 1500, 35, 20, 55, 14, 0.35, 0.04, 1 / 1.15, 10.0),
    )
}
