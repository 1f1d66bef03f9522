"""Trains a model: `python3 -m model.train --data-path DIR --save-path DIR --model test --seed 1`."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model import checkpoints, machine, ngram, training_text
from model.configs import CONFIGS, Config
from model.corpus import Corpus, CorpusError, check_size, read_corpus
from model.curve import draw_learning_curve
from model.dynamic import FITTED
from model.files import write_text
from model.limits import FORMATS, HIGHEST_SEED, LEAST_MINUTES, MOST_MINUTES
from model.network import write_out_softmax
from model.options import make_folder, number
from model.plan import make_plan, read_plan
from model.sampling import sample_text
from model.trainer import Stopped, Trainer, TrainingError, count_parameters, extend_weights

LOG = "model-results"


class Log:
    """The training log, on paper and on the terminal; on a terminal its last line moves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._moving = sys.stdout.isatty()

    def cut(self, length: int) -> None:
        """Takes back what was written after a point; a training that goes on from there writes it again."""
        if self._path.exists() or length == 0:
            with self._path.open("ab") as file:
                file.truncate(length)

    def length(self) -> int:
        """Bytes written."""
        return self._path.stat().st_size

    def say(self, line: str) -> None:
        """Writes a line to the log and to the terminal."""
        with self._path.open("a", encoding="utf-8") as file:
            print(line, file=file)
        print(("\r\x1b[K" if self._moving else "") + line, flush=True)

    def show(self, text: str) -> None:
        """On a terminal, shows how far things are until the next line comes."""
        if self._moving:
            columns = os.get_terminal_size().columns
            print("\r\x1b[K" + text[: columns - 1], end="", flush=True)


def train(
    data: Path,
    save: Path,
    recipe: Config | float,
    seed: int,
    vocabulary: int | None = None,
    warm_start: Path | None = None,
    form: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Trains on the scripts in `data` and writes model, log, curve and metrics to `save`; gives the metrics.

    A training that was stopped in `save` goes on where it was, to the same result.

    Args:
        data: Folder of scripts.
        save: Folder for the results.
        recipe: The model and how it is trained; or the minutes that all may take, and the best is chosen.
        seed: Of the split, the weights and all draws.
        vocabulary: At most so many words, `<unk>` among them; all of the corpus by default.
        warm_start: Folder of a model to start from, in place of random weights.
        form: The format of the scripts; by default each file is read in the one that it seems to have.
        clock: What time is told by, in seconds.

    Raises:
        CorpusError: the corpus can't be trained on.
        TrainingError: the training diverged or has no time, or `save` or `warm_start` holds what can't be gone on with.
        Stopped: a SIGTERM came; `save` holds what has been done.
    """
    begun = clock()
    if problem := make_folder(save):
        raise TrainingError(problem)
    earlier = checkpoints.load_as_trained(warm_start) if warm_start else None
    if warm_start:
        _check_seed(warm_start, seed)
    corpus = read_corpus(data, seed, vocabulary, earlier.words if earlier else (), form)
    # All recipes of a given length need as much text as `quick`.
    shape = recipe if isinstance(recipe, Config) else CONFIGS["quick"]
    check_size(corpus, shape, smallest=min(c.batch * c.steps + 1 for c in CONFIGS.values()))
    plan = None
    if not isinstance(recipe, Config):
        hidden = earlier.weights.embedding.shape[1] if earlier else None
        plan = read_plan(save, recipe) or make_plan(recipe, corpus, seed, hidden, begun, clock)
    config = plan.config() if plan else shape
    weights = extend_weights(config, earlier, corpus, seed) if earlier else None
    log = Log(save / LOG)
    trainer = Trainer(config, corpus, seed, log.say, log.show, weights, clock)
    resumed = trainer.resume(save)
    at = trainer.position
    at.plan = plan.as_json() if plan else None
    log.cut(at.log)
    if resumed:
        print(f"Going on in epoch {at.epoch} after {at.steps} steps.", flush=True)
    else:
        for line in corpus.summary.log_lines():
            log.say(line)
        if plan:
            log.say(plan.log_line())
        if at.bfloat16:
            log.say("Products: bfloat16, which this processor has; weights and evaluation: float32")
        log.say(f"Model: {config.name} Parameters: {count_parameters(trainer.weights)} Vocabulary: {len(corpus.words)}")

    _train_on(trainer, corpus, config, seed, save, log)
    metrics = {
        "model": config.name,
        "plan": at.plan,
        "bfloat16": at.bfloat16,
        "seed": seed,
        "format": form,
        "warm_start": _describe(warm_start) if warm_start else None,
        **_measure(trainer, corpus, config, log),
    }
    checkpoints.save(save, trainer.weights, corpus.words)
    training_text.save(save, corpus)
    write_text(save / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    checkpoints.delete_training(save)
    return metrics


def _train_on(trainer: Trainer, corpus: Corpus, config: Config, seed: int, save: Path, log: Log) -> None:
    """Trains to the end; after each epoch the model writes a few lines, and `save` holds what has been done."""
    at = trainer.position

    def keep() -> None:
        at.log = log.length()
        trainer.save(save)

    def stop(*_: object) -> None:
        trainer.stop = True

    before = signal.signal(signal.SIGTERM, stop)
    try:
        while at.epoch <= config.epochs:
            trainer.run_epoch()
            written = sample_text(write_out_softmax(trainer.weights), corpus.words, seed=seed, style=corpus.style)
            for line in written.splitlines():
                log.say(f"  | {line}")
            valid = [[min(entry["epoch"], config.length), entry["valid"]] for entry in at.epochs]
            write_text(
                save / "learning-curve.svg",
                draw_learning_curve(f"Perplexity of {config.name}", at.curve, valid, config.epochs),
            )
            keep()
    except Stopped:
        keep()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _measure(trainer: Trainer, corpus: Corpus, config: Config, log: Log) -> dict[str, Any]:
    """The figures of a training that is over."""
    at = trainer.position
    found = {"valid": trainer.measure_valid(), "test": trainer.measure(corpus.test)}
    test = math.exp(found["test"].losses.mean())
    log.say(f"Test Perplexity: {test:.3f}")
    learned = {}
    if config.dynamic:
        valid, whole = trainer.dynamic_losses([corpus.valid[:FITTED], corpus.test])
        learned = {"valid": np.exp(-valid), "test": np.exp(-whole)}
    chances = {name: np.stack([np.exp(-part.losses), part.cached]) for name, part in found.items()}
    comparison = ngram.compare(corpus, chances, learned)
    for line in ngram.log_lines(comparison):
        log.say(line)
    return {
        "corpus": corpus.summary.as_json(),
        "parameters": count_parameters(trainer.weights),
        "vocabulary": len(corpus.words),
        "tokens": {"train": len(corpus.train), "valid": len(corpus.valid), "test": len(corpus.test)},
        "seconds": round(at.seconds, 1),
        "epochs": at.epochs,
        "curve": at.curve,
        "perplexity": {"train": at.epochs[-1]["train"], "valid": at.epochs[-1]["valid"], "test": test},
        **comparison,
    }


def _check_seed(warm_start: Path, seed: int) -> None:
    """Raises TrainingError where a model was trained on what another seed holds out."""
    earlier = _describe(warm_start)
    if earlier["seed"] != seed:
        raise TrainingError(
            f"the model in {warm_start} was trained with seed {earlier['seed']}, so on most of what seed {seed} holds out, and "
            f"valid and test would be too good: say --seed {earlier['seed']}, or start anew"
        )


def _describe(warm_start: Path) -> dict[str, Any]:
    """What is known of a model that another starts from."""
    try:
        metrics = json.loads((warm_start / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(
            f"{warm_start} holds no metrics.json, so that nobody knows what its model was trained on"
        ) from error
    return {key: metrics.get(key) for key in ("model", "seed", "tokens", "perplexity", "warm_start")}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Trains the LSTM language model on scripts.")
    parser.add_argument("--data-path", type=Path, required=True, help="folder of scripts, or of ptb.*.txt")
    parser.add_argument("--save-path", type=Path, required=True, help="folder for model, log and metrics")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", choices=CONFIGS, default="test", help="configuration (default test)")
    what.add_argument(
        "--minutes",
        type=number(float, LEAST_MINUTES, MOST_MINUTES),
        help="instead of a configuration: train for so long, by the best recipe for it on this machine",
    )
    parser.add_argument(
        "--seed",
        type=number(int, 0, HIGHEST_SEED),
        default=1,
        help="of the split, the weights and all draws (default 1)",
    )
    parser.add_argument(
        "--vocab-size", type=number(int, 2), help="at most so many words, the rest being <unk> (default all)"
    )
    parser.add_argument("--warm-start", type=Path, help="folder of a model of the same configuration to start from")
    parser.add_argument("--format", choices=FORMATS, help="what the scripts are in (default: what each seems to be in)")
    options = parser.parse_args()
    machine.prepare(options.seed)
    np.seterr(all="raise", under="ignore")
    try:
        train(
            options.data_path,
            options.save_path,
            options.minutes or CONFIGS[options.model],
            options.seed,
            options.vocab_size,
            options.warm_start,
            options.format,
        )
    except (CorpusError, TrainingError) as error:
        sys.exit(f"Error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"Error: {options.warm_start} holds no trained model ({error}): give a folder that model.train wrote")
    except Stopped:
        print("Stopped: the same command goes on from here.", flush=True)
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
