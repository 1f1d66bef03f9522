"""The four published configurations (Zaremba, Sutskever, Vinyals 2014, and the PTB tutorial's `test`) and our own two."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = 0.02  # our own: the rate rises for this share of a cycle, then falls to 0


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
    sampled: int = 0  # of our own: see `sampled_softmax`; this many words are drawn for each step, 0 for none
    cycles: int = 1  # of our own: the rate starts anew after each of so many equal parts (Loshchilov and Hutter 2017)

    @property
    def ours(self) -> bool:
        """Tied weights, a start from the unigram model, sampled softmax, Adam and a rate that falls to 0, in place of the
        published recipe."""
        return self.sampled > 0

    def rate_in(self, epoch: int) -> float:
        """The learning rate of an epoch, the first being 1; of our own, the one in its middle."""
        return self.rate_at(epoch - 0.5)

    def rate_at(self, epochs: float) -> float:
        """The learning rate after so many epochs, whole and parts."""
        if not self.ours:
            return float(self.rate * self.decay ** max(0, int(epochs) + 1 - self.decay_after))
        share = epochs / self.epochs * self.cycles % 1
        return self.rate * min(share / WARM_UP, (1 - share) / (1 - WARM_UP))


CONFIGS = {
    config.name: config
    for config in (
        Config("test", 1, 2, 2, 10, 1, 1, 1.0, 0.1, 0.5, 1.0),
        Config("small", 2, 200, 20, 20, 13, 4, 1.0, 0.1, 0.5, 5.0),
        Config("medium", 2, 650, 35, 20, 39, 6, 0.5, 0.05, 0.8, 5.0),
        Config("large", 2, 1500, 35, 20, 55, 14, 0.35, 0.04, 1 / 1.15, 10.0),
        Config("quick", 1, 240, 35, 32, 6, 6, 0.8, 0.1, 1.0, 5.0, 4e-3, sampled=1000),
        Config("best", 1, 400, 35, 32, 24, 24, 0.5, 0.1, 1.0, 5.0, 3e-3, sampled=1000, cycles=2),
    )
}
