"""Trained models on disk: a TensorFlow checkpoint and the vocabulary in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.network import Weights

PREFIX = "model.ckpt"


class Trained(NamedTuple):
    """Weights as arrays and the word of each id."""

    weights: Weights
    words: list[str]


def save(folder: Path, weights: Weights, words: list[str]) -> None:
    """Writes `model.ckpt.*`, `checkpoint`, `word_to_id.json` and `id_to_word.json`; same weights, same bytes."""
    named = {"embedding": weights.embedding, "softmax": weights.softmax}
    for n, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases, strict=True)):
        named |= {f"kernel_{n}": kernel, f"bias_{n}": bias}
    variables = {name: tf.Variable(value) for name, value in named.items()}
    tf.train.Checkpoint(**variables).write(str(folder / PREFIX))
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{PREFIX}"\nall_model_checkpoint_paths: "{PREFIX}"\n')
    (folder / "word_to_id.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "id_to_word.json").write_text(json.dumps({str(number): word for number, word in enumerate(words)}))


def load(folder: Path) -> Trained:
    """Reads what `save` wrote.

    Raises:
        FileNotFoundError: there is no model in `folder`.
    """
    names = json.loads((folder / "id_to_word.json").read_text())
    reader = tf.train.load_checkpoint(str(folder / PREFIX))

    def read(name: str) -> NDArray[np.float32]:
        return reader.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE")

    layers = sum(key.startswith("kernel_") for key in reader.get_variable_to_shape_map())
    weights = Weights(
        read("embedding"),
        tuple(read(f"kernel_{n}") for n in range(layers)),
        tuple(read(f"bias_{n}") for n in range(layers)),
        read("softmax"),
    )
    return Trained(weights, [names[str(number)] for number in range(len(names))])
