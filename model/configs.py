"""The four published configurations (Zaremba, Sutskever, Vinyals 2014, and the PTB tutorial's `test`) and our own."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = 0.02  # share of a training by Adam in which the rate rises


@dataclass(frozen=True, kw_only=True)
class GradientDescent:
    """Plain gradient descent: the full rate for some epochs, and `decay` times the rate of the epoch before in each after."""

    full_rate_epochs: int
    decay: float
    rate: float = 1.0

    def rate_at(self, epochs: float, of: float) -> float:
        """The learning rate after so many epochs, whole and parts, of a training of so many."""
        return float(self.rate * self.decay ** max(0, int(epochs) + 1 - self.full_rate_epochs))


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015) at a rate that rises, then falls to 0."""

    rate: float

    def rate_at(self, epochs: float, of: float) -> float:
        """The learning rate after so many epochs, whole and parts, of a training of so many."""
        share = epochs / of
        return self.rate * min(share / WARM_UP, (1 - share) / (1 - WARM_UP))


@dataclass(frozen=True, kw_only=True)
class Config:
    """One recipe: the shape of the network and how it is trained. What has a default is not of the published recipe."""

    name: str
    layers: int
    hidden: int
    steps: int  # truncated back-propagation goes this many tokens back
    batch: int  # the training text is read as this many streams side by side
    epochs: int
    keep: float  # share of non-recurrent connections that dropout keeps
    init: float  # all weights start uniform in [-init, init]
    max_norm: float  # the gradient's global norm is clipped to this
    optimiser: GradientDescent | Adam
    dynamic: bool = False  # at its end the model is measured while it learns, too (Krause et al. 2018)
    last_epoch: float = 1.0  # share of the last epoch that is trained on
    tied: bool = False  # the softmax's weights are the embedding's (Press and Wolf 2017)
    unigram_start: bool = False  # the softmax's bias starts as the logarithm of each word's frequency
    vectors_start: bool = False  # the embedding starts as word vectors of the training text (Levy and Goldberg 2014)
    variational_dropout: bool = False  # one mask for all steps of a batch (Gal and Ghahramani 2016)
    mogrified: bool = False  # what comes in scales the output before (Melis, Kočiský and Blunsom 2020)
    words_kept: float = 1.0  # share of a batch's words that are read, the others as zeros (Gal and Ghahramani 2016)
    shifted: bool = False  # each epoch's streams begin at places of the text of its own
    bfloat16: bool = False  # products of training are of numbers rounded to bfloat16, where the processor has such
    sampled: int = 0  # words drawn for each step's softmax beside the batch's own; 0: the whole vocabulary

    def __post_init__(self) -> None:
        if not self.tied == (self.sampled > 0) == isinstance(self.optimiser, Adam):
            raise ValueError(f"{self.name}: tied weights, sampled softmax and Adam are one step: choose all or none")
        if not self.sampled and (self.bfloat16 or self.mogrified or self.shifted or self.words_kept < 1):
            raise ValueError(
                f"{self.name}: the published recipe is plain, in float32, on all words and the same batches"
            )

    @property
    def length(self) -> float:
        """Epochs, whole and parts."""
        return self.epochs - 1 + self.last_epoch

    def rate_in(self, epoch: int) -> float:
        """The learning rate in the middle of an epoch, the first being 1."""
        return self.rate_at((epoch - 1 + min(epoch, self.length)) / 2)

    def rate_at(self, epochs: float) -> float:
        """The learning rate after so many epochs, whole and parts."""
        return self.optimiser.rate_at(epochs, self.length)


PUBLISHED = (
    Config(
        name="test",
        layers=1,
        hidden=2,
        steps=2,
        batch=10,
        epochs=1,
        keep=1.0,
        init=0.1,
        max_norm=1.0,
        optimiser=GradientDescent(full_rate_epochs=1, decay=0.5),
    ),
    Config(
        name="small",
        layers=2,
        hidden=200,
        steps=20,
        batch=20,
        epochs=13,
        keep=1.0,
        init=0.1,
        max_norm=5.0,
        optimiser=GradientDescent(full_rate_epochs=4, decay=0.5),
    ),
    Config(
        name="medium",
        layers=2,
        hidden=650,
        steps=35,
        batch=20,
        epochs=39,
        keep=0.5,
        init=0.05,
        max_norm=5.0,
        optimiser=GradientDescent(full_rate_epochs=6, decay=0.8),
    ),
    Config(
        name="large",
        layers=2,
        hidden=1500,
        steps=35,
        batch=20,
        epochs=55,
        keep=0.35,
        init=0.04,
        max_norm=10.0,
        optimiser=GradientDescent(full_rate_epochs=14, decay=1 / 1.15),
    ),
)


def own(
    name: str,
    *,
    hidden: int,
    epochs: int,
    keep: float,
    optimiser: Adam,
    words_kept: float = 1.0,
    dynamic: bool = True,
    last_epoch: float = 1.0,
) -> Config:
    """A recipe of our own: what all of them have in common, with what they differ in."""
    return Config(
        name=name,
        layers=1,
        hidden=hidden,
        steps=18,
        batch=64,
        epochs=epochs,
        keep=keep,
        init=0.1,
        max_norm=5.0,
        optimiser=optimiser,
        dynamic=dynamic,
        last_epoch=last_epoch,
        tied=True,
        unigram_start=True,
        vectors_start=True,
        variational_dropout=True,
        mogrified=True,
        words_kept=words_kept,
        shifted=True,
        bfloat16=True,
        sampled=1000,
    )


OWN = (
    own("quick", hidden=320, epochs=5, keep=0.65, optimiser=Adam(rate=6e-3)),
    own("best", hidden=400, epochs=20, keep=0.5, words_kept=0.9, optimiser=Adam(rate=4e-3)),
)
CONFIGS = {config.name: config for config in (*PUBLISHED, *OWN)}
