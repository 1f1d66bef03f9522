"""Trained models on disk, and trainings under way: TensorFlow checkpoints, with what is no tensor in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model.files import DRAFT, publish, write_text
from model.network import Tensor, Weights, write_out_softmax
from model.tensorflow import tf

PREFIX = "model.ckpt"
TRAINING = "training.json"  # names the checkpoint of a training that is not over


class Trained(NamedTuple):
    """Weights as arrays and the word of each id."""

    weights: Weights
    words: list[str]


def save(folder: Path, weights: Weights, words: list[str]) -> None:
    """Writes `model.ckpt.*`, `checkpoint`, `word_to_id.json` and `id_to_word.json`; same weights, same bytes."""
    named = {"embedding": weights.embedding, "softmax": weights.softmax}
    for n, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases, strict=True)):
        named |= {f"kernel_{n}": kernel, f"bias_{n}": bias}
    named |= {f"mogrifier_{n}": mogrifier for n, mogrifier in enumerate(weights.mogrifiers)}
    _write_tensors(folder, PREFIX, named)
    pointer = f'model_checkpoint_path: "{PREFIX}"\nall_model_checkpoint_paths: "{PREFIX}"\n'
    write_text(folder / "checkpoint", pointer)
    write_text(folder / "word_to_id.json", json.dumps({word: number for number, word in enumerate(words)}))
    write_text(folder / "id_to_word.json", json.dumps({str(number): word for number, word in enumerate(words)}))


def load_as_trained(folder: Path) -> Trained:
    """Reads what `save` wrote; where softmax and embedding are tied, `softmax` is the bias alone.

    Raises:
        FileNotFoundError: there is no model in `folder`.
    """
    names = json.loads((folder / "id_to_word.json").read_text())
    read = _read_tensors(folder, PREFIX)
    layers = sum(name.startswith("kernel_") for name in read)
    weights = Weights(
        read["embedding"],
        tuple(read[f"kernel_{n}"] for n in range(layers)),
        tuple(read[f"bias_{n}"] for n in range(layers)),
        read["softmax"],
        tuple(read[f"mogrifier_{n}"] for n in range(layers) if f"mogrifier_{n}" in read),
    )
    return Trained(weights, [names[str(number)] for number in range(len(names))])


def load(folder: Path) -> Trained:
    """Reads what `save` wrote, with the whole [H + 1, V] softmax.

    Raises:
        FileNotFoundError: there is no model in `folder`.
    """
    weights, words = load_as_trained(folder)
    full = write_out_softmax(weights)
    return Trained(full._replace(softmax=np.asarray(full.softmax)), words)


def save_training(folder: Path, tensors: Any, position: dict[str, Any]) -> None:
    """Keeps a training under way: nested tensors and, in JSON, where it is; the one before is deleted."""
    before = _read_training(folder)
    prefix = f"training-{position['steps']}.ckpt"
    _write_tensors(folder, prefix, {str(n): tensor for n, tensor in enumerate(tf.nest.flatten(tensors))})
    write_text(folder / TRAINING, json.dumps({"prefix": prefix, "position": position}))
    if before and before["prefix"] != prefix:
        _delete_tensors(folder, before["prefix"])


def load_training(folder: Path, like: Any) -> tuple[Any, dict[str, Any]] | None:
    """What `save_training` kept, as tensors nested as in `like`; None where there is nothing."""
    kept = _read_training(folder)
    if kept is None:
        return None
    read = _read_tensors(folder, kept["prefix"])
    tensors = [tf.constant(read[str(n)]) for n in range(len(read))]
    return tf.nest.pack_sequence_as(like, tensors), kept["position"]


def read_position(folder: Path) -> dict[str, Any] | None:
    """Where a training under way is; None where there is none."""
    kept = _read_training(folder)
    return kept and kept["position"]


def delete_training(folder: Path) -> None:
    """Deletes what `save_training` kept: the training is over."""
    kept = _read_training(folder)
    if kept:
        (folder / TRAINING).unlink()
        _delete_tensors(folder, kept["prefix"])


def _read_training(folder: Path) -> dict[str, Any] | None:
    path = folder / TRAINING
    return json.loads(path.read_text()) if path.exists() else None


def _write_tensors(folder: Path, prefix: str, named: dict[str, Tensor]) -> None:
    variables = {name: tf.Variable(value) for name, value in named.items()}
    tf.train.Checkpoint(**variables).write(str(folder / f"{prefix}{DRAFT}"))
    # The index goes last: it is what a reader opens first.
    for draft in sorted(folder.glob(f"{prefix}{DRAFT}.*")):
        publish(draft, folder / draft.name.replace(f"{prefix}{DRAFT}", prefix))


def _read_tensors(folder: Path, prefix: str) -> dict[str, Any]:
    if not (folder / f"{prefix}.index").exists():
        raise FileNotFoundError(f"no {prefix}.index in {folder}")
    reader = tf.train.load_checkpoint(str(folder / prefix))
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {
        key.removesuffix(end): reader.get_tensor(key) for key in reader.get_variable_to_shape_map() if key.endswith(end)
    }


def _delete_tensors(folder: Path, prefix: str) -> None:
    for path in folder.glob(f"{prefix}.*"):
        path.unlink()
