"""Training as people live with it: stopped and gone on with, started warm, ended early, on other vocabularies."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model import checkpoints, machine
from model.configs import CONFIGS, Adam, Config, GradientDescent
from model.corpus import Corpus, read_corpus
from model.train import main, train
from model.trainer import Stopped, Trainer, TrainingError
from tests import corpora
from tests.model.recipes import OWN, TINY

# Wide enough to do without XLA, which takes seconds to compile.
SMALL = dataclasses.replace(TINY, hidden=100, keep=0.8, max_norm=1.0)
ALL_OF_OUR_OWN = dataclasses.replace(OWN, shifted=True, words_kept=0.9)


ROOT = Path(__file__).parents[2]


def silent(line: str) -> None:
    """No log."""


def corpus(tmp_path: Path, plays: int = 2) -> Corpus:
    folder = tmp_path / "scripts"
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("".join(corpora.play(number) for number in range(plays)))
    return read_corpus(folder, seed=1)


def same(one: object, two: object) -> bool:
    pairs = zip(tf.nest.flatten(one), tf.nest.flatten(two), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


@pytest.mark.parametrize("config", [SMALL, ALL_OF_OUR_OWN], ids=lambda config: config.name)
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, config: Config) -> None:
    data = corpus(tmp_path)
    whole = Trainer(config, data, 1, silent)
    for _ in range(config.epochs):
        whole.run_epoch()
    (tmp_path / "kept").mkdir()
    calls = 0
    while True:
        # A new trainer each time, as after a restart, that is stopped after its first call.
        part = Trainer(config, data, 1, silent)
        assert part.resume(tmp_path / "kept") == (calls > 0)
        part.stop = calls < 2
        calls += 1
        try:
            while part.position.epoch <= config.epochs:
                part.run_epoch()
        except Stopped:
            part.save(tmp_path / "kept")
            continue
        break
    assert calls == 3
    assert same(part.learner, whole.learner)
    for name in ("train", "valid"):
        assert [e[name] for e in part.position.epochs] == [e[name] for e in whole.position.epochs]
    assert part.position.curve == whole.position.curve


def test_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    data = corpus(tmp_path)
    Trainer(SMALL, data, 1, silent).save(tmp_path)
    with pytest.raises(TrainingError, match="another model, corpus or seed"):
        Trainer(SMALL, data, 2, silent).resume(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    corpus(tmp_path, plays=12)

    def command(name: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "model.train",
            "--data-path",
            f"{tmp_path}/scripts",
            "--save-path",
            f"{tmp_path}/{name}",
        ]

    with subprocess.Popen(command("stopped"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("0.1"):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM, rest
    assert rest.splitlines()[-1] == "Stopped: the same command goes on from here."
    for name in ("stopped", "whole"):
        subprocess.run(command(name), check=True, stdout=subprocess.DEVNULL)
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names == {path.name for path in (tmp_path / "stopped").iterdir()}
    assert "training.json" not in names
    assert not [name for name in names if name.startswith("training-") or name.endswith(".new")]
    weights = [(tmp_path / name / "model.ckpt.data-00000-of-00001").read_bytes() for name in ("stopped", "whole")]
    assert weights[0] == weights[1]
    logs = [(tmp_path / name / "model-results").read_text() for name in ("stopped", "whole")]
    without_speed = [[line.split(" speed")[0] for line in log.splitlines()] for log in logs]
    assert without_speed[0] == without_speed[1]


def test_results_say_what_was_done(tmp_path: Path) -> None:
    data = corpus(tmp_path)
    metrics = train(tmp_path / "scripts", tmp_path / "out", OWN, seed=1)
    assert metrics == json.loads((tmp_path / "out" / "metrics.json").read_text())
    words, hidden = len(data.words), OWN.hidden
    assert metrics["parameters"] == words * (hidden + 1) + (2 * hidden + 1) * 4 * hidden + (hidden + 1) * hidden
    assert [set(entry) for entry in metrics["epochs"]] == [
        {"epoch", "train", "valid", "words_per_second", "seconds", "minutes"}
    ] * 2
    curve = ET.parse(tmp_path / "out" / "learning-curve.svg")
    assert len(curve.findall("{http://www.w3.org/2000/svg}circle")) == 2
    log = (tmp_path / "out" / "model-results").read_text()
    assert "\x1b" not in log
    assert log.count("  | ") >= 2
    model = checkpoints.load(tmp_path / "out")
    assert model.weights.softmax.shape == (hidden + 1, words)


def test_a_training_that_diverges_ends_with_a_sentence(tmp_path: Path) -> None:
    data = corpus(tmp_path)
    wild = dataclasses.replace(SMALL, optimiser=GradientDescent(full_rate_epochs=1, decay=1.0, rate=1e4), max_norm=1e9)
    with pytest.raises(TrainingError, match=r"training diverged: after .* try another seed"):
        Trainer(wild, data, 1, silent).run_epoch()


def test_a_warm_start_extends_the_vocabulary(tmp_path: Path) -> None:
    corpus(tmp_path)
    train(tmp_path / "scripts", tmp_path / "first", dataclasses.replace(OWN, epochs=1), seed=1)
    more = corpora.play(2).replace("river", "zeppelin")
    (tmp_path / "scripts" / "b.txt").write_text(more)
    old = checkpoints.load_as_trained(tmp_path / "first")
    new = read_corpus(tmp_path / "scripts", 1, earlier=old.words)
    assert new.words[: len(old.words)] == old.words
    assert "zeppelin" in new.words[len(old.words) :]
    still = dataclasses.replace(OWN, epochs=1, optimiser=Adam(rate=0.0))
    train(tmp_path / "scripts", tmp_path / "second", still, seed=1, warm_start=tmp_path / "first")
    weights, words = checkpoints.load_as_trained(tmp_path / "second")
    assert words == new.words
    assert np.array_equal(weights.embedding[: len(old.words)], old.weights.embedding)
    assert same(weights.kernels, old.weights.kernels)
    with pytest.raises(TrainingError, match="tied weights and mogrifiers, which is not the shape of tiny"):
        train(tmp_path / "scripts", tmp_path / "third", SMALL, seed=1, warm_start=tmp_path / "first")


def test_a_vocabulary_can_be_limited(tmp_path: Path) -> None:
    whole = corpus(tmp_path)
    part = read_corpus(tmp_path / "scripts", 1, size=20)
    assert len(part.words) == 20
    assert "<unk>" in part.words
    assert set(part.words) <= {*whole.words, "<unk>"}
    assert [len(split) for split in part[:3]] == [len(split) for split in whole[:3]]
    assert max(split.max() for split in part[:3]) < 20


def test_cores_are_those_of_the_job(tmp_path: Path) -> None:
    everything = machine.count_cores(tmp_path)
    assert everything >= 1
    for text, expected in (("max 100000", everything), ("150000 100000", min(2, everything)), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text + "\n")
        assert machine.count_cores(tmp_path) == expected


def test_every_configuration_is_offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    page = capsys.readouterr().out
    assert all(name in page for name in CONFIGS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same training twice."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("".join(corpora.play(number) for number in range(4)))
    for name in ("one", "two"):
        train(folder / "data", folder / name, CONFIGS["test"], seed=1)
    return folder / "one", folder / "two"


def test_the_same_inputs_give_the_same_bytes(trained: tuple[Path, Path]) -> None:
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001", "checkpoint", "word_to_id.json"):
        assert (trained[0] / name).read_bytes() == (trained[1] / name).read_bytes()
    metrics = [json.loads((folder / "metrics.json").read_text())["perplexity"] for folder in trained]
    assert metrics[0] == metrics[1]


def test_the_log_ends_with_the_ngram_model_and_the_mixture(trained: tuple[Path, Path]) -> None:
    log, metrics = ((trained[0] / name).read_text() for name in ("model-results", "metrics.json"))
    counted = json.loads(metrics)["ngram"]
    line, last = log.splitlines()[-2:]
    assert line.startswith(f"N-gram (Kneser-Ney, order 5): valid {counted['valid']:.3f} test {counted['test']:.3f}; ")
    assert not re.search(r"(Train|Valid|Test) Perplexity", line + last)
    assert 1 < counted["valid"] < 1000
    mixture = json.loads(metrics)["mixture"]
    assert last == f"Network, n-gram and cache mixed: valid {mixture['valid']:.3f} test {mixture['test']:.3f}"
    assert mixture["valid"] <= counted["cache"]["valid"] * (1 + 1e-6)
    assert (trained[0] / "training_text.npy").is_file()


def test_the_curve_has_the_points_of_the_log(trained: tuple[Path, Path]) -> None:
    log = (trained[0] / "model-results").read_text()
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    logged = [tuple(map(float, found)) for found in re.findall(r"^([\d.]+) perplexity: ([\d.]+)", log, re.MULTILINE)]
    assert [(round(place, 3), round(perplexity, 3)) for place, perplexity in metrics["curve"]] == logged
    assert len(logged) >= 10
    assert metrics["curve"][-1] == [1.0, metrics["epochs"][0]["train"]]


def test_every_figure_is_on_the_page(trained: tuple[Path, Path]) -> None:
    page = (ROOT / "docs" / "model.md").read_text().partition("## metrics.json")[2]
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    fields = {*metrics, *metrics["epochs"][0], *metrics["ngram"], *metrics["ngram"]["cache"], *metrics["mixture"]}
    assert not [field for field in fields if f"`{field}`" not in page]


def run_main(monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """What the command line ends with: a sentence, or the code of argparse."""
    monkeypatch.setattr(sys, "argv", ["train", *options])
    monkeypatch.setattr(machine, "prepare", lambda seed: None)
    with pytest.raises(SystemExit) as stopped:
        main()
    return str(stopped.value.code)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--vocab-size", "1"], "'1' is not a whole number of 2 or more"),
        (["--vocab-size", "-3"], "'-3' is not a whole number of 2 or more"),
        (["--seed", "-1"], "'-1' is not a whole number from 0 to 4294967295"),
        (["--seed", "4294967296"], "is not a whole number from 0 to 4294967295"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    paths = ["--data-path", str(tmp_path), "--save-path", str(tmp_path / "out")]
    assert run_main(monkeypatch, *paths, *options) == "2"
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_that_are_no_use_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(tmp_path)
    data, file = str(tmp_path / "scripts"), str(tmp_path / "scripts" / "a.txt")
    assert f"{file} can't be written to" in run_main(monkeypatch, "--data-path", data, "--save-path", file)
    missing = run_main(monkeypatch, "--data-path", str(tmp_path / "no"), "--save-path", str(tmp_path / "out"))
    assert missing == f"Error: {tmp_path / 'no'} does not exist: name a folder that holds scripts"


def test_a_warm_start_wants_the_same_seed(tmp_path: Path) -> None:
    corpus(tmp_path)
    once = dataclasses.replace(OWN, epochs=1)
    train(tmp_path / "scripts", tmp_path / "first", once, seed=1)
    with pytest.raises(TrainingError, match=r"was trained with seed 1, so .*: say --seed 1"):
        train(tmp_path / "scripts", tmp_path / "second", once, seed=2, warm_start=tmp_path / "first")
    second = train(tmp_path / "scripts", tmp_path / "second", once, seed=1, warm_start=tmp_path / "first")
    assert second["warm_start"]["seed"] == 1
    (tmp_path / "first" / "metrics.json").unlink()
    with pytest.raises(TrainingError, match="nobody knows what its model was trained on"):
        train(tmp_path / "scripts", tmp_path / "third", once, seed=1, warm_start=tmp_path / "first")
