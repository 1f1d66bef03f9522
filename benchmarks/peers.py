"""Language models that this project's is compared with, written from their papers; each trains on one word after the other of several streams.

- PyTorch: the recipe of Zaremba et al. 2014, `small`, with its 13 epochs' rates stretched over the time;
- AWD-LSTM (Merity et al. 2018): half of its widths, its batch and its dropout, which are for 750 epochs; the average is of the last half of the time;
- GPT: nanoGPT's configuration for CPUs (4 layers of 128 units, 64 tokens, Adam), on words;
- Keras: the recipe again, in keras.layers.
"""

from __future__ import annotations

import itertools
import math
import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

PEERS = ("PyTorch", "AWD-LSTM", "GPT", "Keras")


class Peer(ABC):
    """A language model of word ids; inputs and targets are [T, B]."""

    steps: int
    batch: int

    @abstractmethod
    def update(self, x: np.ndarray, y: np.ndarray, share: float) -> None:
        """A step of training, when a share of the time is gone."""

    @abstractmethod
    def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """-log p of each target."""

    @abstractmethod
    def forget(self) -> None:
        """Another text begins."""


def _rate_of_recipe(share: float) -> float:
    """1.0 for 4 of 13 epochs, then half as much after each."""
    return 0.5 ** max(0, math.floor(13 * share) - 3)


def _make_torch_peer(name: str, vocabulary: int) -> Peer:
    """A peer that is written in PyTorch."""
    import torch  # noqa: PLC0415
    from torch import Tensor, nn  # noqa: PLC0415
    from torch.nn import functional as F  # noqa: N812, PLC0415

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(1)

    class Recipe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(vocabulary, 200), nn.LSTM(200, 200, 2)
            self.softmax = nn.Linear(200, vocabulary)
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -0.1, 0.1)

        def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            out, state = self.lstm(self.embedding(x), state)
            return self.softmax(out), state

    class Awd(nn.Module):
        """Weights of the recurrence are dropped; one mask serves all steps; softmax and embedding are tied."""

        sizes = (200, 575, 575, 200)

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, 200)
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
            self.bias = nn.Parameter(torch.zeros(vocabulary))
            self.layers = nn.ModuleList(nn.LSTM(*pair) for pair in itertools.pairwise(self.sizes))

        def drop(self, x: Tensor, share: float) -> Tensor:
            return x * F.dropout(torch.ones_like(x[:1]), share, self.training)

        def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            words = F.dropout(torch.ones(vocabulary, 1), 0.05, self.training)
            out = self.drop(
                F.embedding(x, self.embedding.weight * words if self.training else self.embedding.weight), 0.2
            )
            states = []
            for number, layer in enumerate(self.layers):
                size = self.sizes[number + 1]
                before = state[number] if state else (torch.zeros(1, x.shape[1], size),) * 2
                weights = [
                    layer.weight_ih_l0,
                    F.dropout(layer.weight_hh_l0, 0.25, self.training),
                    layer.bias_ih_l0,
                    layer.bias_hh_l0,
                ]
                raw, *after = torch.lstm(out, before, weights, True, 1, 0.0, self.training, False, False)
                out = self.drop(raw, 0.125 if number < 2 else 0.2)
                states.append(tuple(after))
            # Activations are kept small, and changes between steps (Merity et al. 2018: AR with 2, TAR with 1).
            self.penalty = 2 * out.square().mean() + (raw[1:] - raw[:-1]).square().mean() if len(x) > 1 else 0.0
            return F.linear(out, self.embedding.weight, self.bias), states

    class Gpt(nn.Module):
        """A transformer whose state is the tokens before."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.places = nn.Embedding(vocabulary, 128), nn.Embedding(64, 128)
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", norm_first=True, batch_first=True)
                for _ in range(4)
            )
            self.norm = nn.LayerNorm(128)
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, 0, 0.02)

        def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            seen = x if state is None or self.training else torch.cat([state, x])
            mask = nn.Transformer.generate_square_subsequent_mask(len(seen))
            out = self.embedding(seen.T) + self.places.weight[: len(seen)]
            for block in self.blocks:
                out = block(out, mask, is_causal=True)
            return F.linear(self.norm(out).transpose(0, 1)[-len(x) :], self.embedding.weight), x

    class TorchPeer(Peer):
        def __init__(
            self, network: nn.Module, steps: int, batch: int, clip: float, optimiser: torch.optim.Optimizer
        ) -> None:
            self.steps, self.batch = steps, batch
            self._network, self._clip, self._optimiser = network, clip, optimiser
            self._average = torch.optim.swa_utils.AveragedModel(network) if name == "AWD-LSTM" else None
            self._state: Any = None

        def forget(self) -> None:
            self._state = None

        def _losses(self, network: nn.Module, x: np.ndarray, y: np.ndarray) -> Tensor:
            logits, state = network(torch.from_numpy(x).long(), self._state)
            self._state = torch.utils._pytree.tree_map(Tensor.detach, state)
            targets = torch.from_numpy(y).long()
            return F.cross_entropy(logits.reshape(-1, vocabulary), targets.reshape(-1), reduction="none").reshape(
                y.shape
            )

        def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
            network = self._average.module if self._average and self._average.n_averaged else self._network
            with torch.no_grad():
                return self._losses(network.eval(), x, y).numpy()

        def update(self, x: np.ndarray, y: np.ndarray, share: float) -> None:
            losses = self._losses(self._network.train(), x, y)
            loss = losses.sum() / self.batch if name == "PyTorch" else losses.mean()
            self._optimiser.param_groups[0]["lr"] = _RATES[name](share)
            self._optimiser.zero_grad()
            (loss + getattr(self._network, "penalty", 0.0)).backward()
            nn.utils.clip_grad_norm_(self._network.parameters(), self._clip)
            self._optimiser.step()
            if self._average and share > 0.5:
                self._average.update_parameters(self._network)

    if name == "PyTorch":
        network: nn.Module = Recipe()
        return TorchPeer(network, 20, 20, 5.0, torch.optim.SGD(network.parameters()))
    if name == "AWD-LSTM":
        network = Awd()
        return TorchPeer(network, 70, 40, 0.25, torch.optim.SGD(network.parameters(), weight_decay=1.2e-6))
    network = Gpt()
    return TorchPeer(network, 64, 12, 1.0, torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=0.1))


_RATES = {
    "PyTorch": _rate_of_recipe,
    "AWD-LSTM": lambda share: 30.0,
    "GPT": lambda share: min(share / 0.02, 1.0) * (1e-4 + 9e-4 * (1 + math.cos(math.pi * share)) / 2),
}


class _KerasPeer(Peer):
    """The recipe in keras.layers."""

    steps, batch = 20, 20

    def __init__(self, vocabulary: int) -> None:
        import tensorflow as tf  # noqa: PLC0415

        tf.keras.utils.set_random_seed(1)
        uniform = tf.keras.initializers.RandomUniform(-0.1, 0.1)
        lstm = [
            tf.keras.layers.LSTM(
                200, return_sequences=True, stateful=True, kernel_initializer=uniform, recurrent_initializer=uniform
            )
            for _ in range(2)
        ]
        self._network = tf.keras.Sequential(
            [
                tf.keras.Input((None,), self.batch),
                tf.keras.layers.Embedding(vocabulary, 200, uniform),
                *lstm,
                tf.keras.layers.Dense(vocabulary, kernel_initializer=uniform),
            ]
        )
        self._network.compile(
            tf.keras.optimizers.SGD(1.0, global_clipnorm=5.0 / self.steps),
            tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self._layers = lstm

    def update(self, x: np.ndarray, y: np.ndarray, share: float) -> None:
        # The loss is a mean over steps, where the recipe has their sum.
        self._network.optimizer.learning_rate = self.steps * _rate_of_recipe(share)
        self._network.train_on_batch(x.T, y.T)

    def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        logits = self._network.predict_on_batch(x.T).transpose(1, 0, 2).astype(np.float64)
        top = logits.max(-1)
        return (
            top + np.log(np.exp(logits - top[..., None]).sum(-1)) - np.take_along_axis(logits, y[..., None], -1)[..., 0]
        )

    def forget(self) -> None:
        for layer in self._layers:
            layer.reset_states()


def make_peer(name: str, vocabulary: int) -> Peer:
    """One of `PEERS`, for so many words."""
    return _KerasPeer(vocabulary) if name == "Keras" else _make_torch_peer(name, vocabulary)
