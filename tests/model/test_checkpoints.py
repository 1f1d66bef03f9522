"""Models on disk, and trainings that are not over: what is written comes back, and nothing else is left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model import checkpoints
from model.files import publish
from model.network import initial_weights
from tests.model.recipes import OWN, TINY

WORDS = ["<eos>", "the", "wall"]
MODEL = ["checkpoint", "id_to_word.json", "model.ckpt.data-00000-of-00001", "model.ckpt.index", "word_to_id.json"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def equal(one: object, two: object) -> bool:
    pairs = zip(tf.nest.flatten(one), tf.nest.flatten(two), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    weights = initial_weights(TINY, len(WORDS), seed=1)
    checkpoints.save(tmp_path, weights, WORDS)
    assert names(tmp_path) == MODEL
    assert json.loads((tmp_path / "word_to_id.json").read_text()) == {"<eos>": 0, "the": 1, "wall": 2}
    assert json.loads((tmp_path / "id_to_word.json").read_text()) == {"0": "<eos>", "1": "the", "2": "wall"}
    # What TensorFlow itself finds there.
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt")
    for read in (checkpoints.load_as_trained(tmp_path), checkpoints.load(tmp_path)):
        assert read.words == WORDS
        assert len(read.weights.kernels) == len(weights.kernels) == len(read.weights.biases)
        assert equal(read.weights, weights)


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        checkpoints.save(tmp_path / name, initial_weights(TINY, len(WORDS), seed=1), WORDS)
    for name in MODEL:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_softmax_that_is_the_embedding_is_written_out_when_it_is_used(tmp_path: Path) -> None:
    weights = initial_weights(OWN, len(WORDS), seed=1)
    checkpoints.save(tmp_path, weights, WORDS)
    assert equal(checkpoints.load_as_trained(tmp_path).weights, weights)
    used = checkpoints.load(tmp_path).weights.softmax
    assert isinstance(used, np.ndarray)
    assert equal(used[:-1], np.asarray(weights.embedding).T)
    assert equal(used[-1], np.asarray(weights.softmax).reshape(-1))


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoints.load(tmp_path)
    checkpoints.save(tmp_path, initial_weights(TINY, len(WORDS), seed=1), WORDS)
    (tmp_path / "model.ckpt.index").unlink()
    with pytest.raises(FileNotFoundError, match=f"no model.ckpt.index in {tmp_path}"):
        checkpoints.load(tmp_path)


def test_a_reader_finds_the_index_of_a_model_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []

    def noted(draft: Path, path: Path) -> None:
        published.append(path.name)
        publish(draft, path)

    monkeypatch.setattr("model.checkpoints.publish", noted)
    checkpoints.save(tmp_path, initial_weights(TINY, len(WORDS), seed=1), WORDS)
    assert published == ["model.ckpt.data-00000-of-00001", "model.ckpt.index"]


def state(number: int) -> dict[str, object]:
    return {"layers": [tf.constant([number, 1.0]), tf.constant(2)], "steps": tf.constant(number * 1.0)}


def test_a_training_comes_back_as_it_was_kept_and_the_one_before_is_gone(tmp_path: Path) -> None:
    assert checkpoints.load_training(tmp_path, state(0)) is None
    (tmp_path / "training.txt").touch()
    for steps in (5, 5, 12):
        checkpoints.save_training(tmp_path, state(steps), {"steps": steps, "epoch": 2})
        kept = [f"training-{steps}.ckpt.{kind}" for kind in ("data-00000-of-00001", "index")]
        assert names(tmp_path) == sorted([*kept, "training.json", "training.txt"])
        found = checkpoints.load_training(tmp_path, state(0))
        assert found is not None
        tensors, position = found
        assert position == {"steps": steps, "epoch": 2}
        assert tensors.keys() == state(0).keys()
        assert equal(tensors, state(steps))
    checkpoints.delete_training(tmp_path)
    assert names(tmp_path) == ["training.txt"]
    checkpoints.delete_training(tmp_path)
    assert checkpoints.load_training(tmp_path, state(0)) is None
