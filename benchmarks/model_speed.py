"""The published recipe in this project, in PyTorch eager and in Keras, in turns on the same cores; median of the rounds.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install --require-hashes -r benchmarks/requirements.txt
    /tmp/bench/bin/python benchmarks/model_speed.py --config small

Random words stand in for a text, with 10,000 of them in the vocabulary, as in PTB, unless told otherwise. Each peer is a process that is warmed up
first and waits while another has its turn. Two rates are given: words a second, and words a second of CPU time, which
says more where other work shares the cores. "GEMM" is the matrix products of a training step alone, which no program can
do without. Also measured: from the start of the process to the end of the first training step, and peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
Round = Callable[[], int]  # trains for a while; gives the tokens


def text(config: str, tokens: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """[segments, T, B] inputs and targets."""
    steps, batch = {"small": (20, 20), "test": (2, 10)}[config]
    segments = max(1, tokens // (steps * batch))
    ids = np.random.default_rng(0).integers(0, vocabulary, (segments, steps + 1, batch)).astype(np.int32)
    return ids[:, :-1], ids[:, 1:]


def ours(config: str, tokens: int, vocabulary: int) -> Round:
    """This project's trainer."""
    sys.path.insert(0, str(ROOT))
    from model import machine  # noqa: PLC0415
    from model.configs import CONFIGS  # noqa: PLC0415
    from model.corpus import Corpus  # noqa: PLC0415
    from model.trainer import Trainer  # noqa: PLC0415

    machine.prepare(1)
    recipe = CONFIGS[config]
    words = [str(number) for number in range(vocabulary)]
    size = (tokens // (recipe.steps * recipe.batch) * recipe.steps + 1) * recipe.batch
    ids = np.random.default_rng(0).integers(0, vocabulary, size).astype(np.int32)
    trainer = Trainer(recipe, Corpus(ids, ids[:2], ids[:2], words), 1, lambda line: None)

    def run() -> int:
        trainer.position.segment = 0
        before = trainer.position.steps
        trainer.run_epoch()
        return (trainer.position.steps - before) * recipe.steps * recipe.batch

    return run


def pytorch(config: str, tokens: int, vocabulary: int) -> Round:
    """The same recipe with nn.LSTM, run eagerly."""
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    layers, hidden, clip = {"small": (2, 200, 5.0), "test": (1, 2, 1.0)}[config]
    embedding = nn.Embedding(vocabulary, hidden)
    lstm = nn.LSTM(hidden, hidden, layers)
    softmax = nn.Linear(hidden, vocabulary)
    parameters = [p for part in (embedding, lstm, softmax) for p in part.parameters()]
    for parameter in parameters:
        nn.init.uniform_(parameter, -0.1, 0.1)
    optimizer = torch.optim.SGD(parameters, 1.0)
    x, y = (torch.from_numpy(part.astype(np.int64)) for part in text(config, tokens, vocabulary))

    def run() -> int:
        state = None
        for here, there in zip(x, y, strict=True):
            optimizer.zero_grad()
            out, state = lstm(embedding(here), state)
            state = tuple(part.detach() for part in state)
            logits = softmax(out).reshape(-1, vocabulary)
            loss = nn.functional.cross_entropy(logits, there.reshape(-1), reduction="sum") / here.shape[1]
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            loss.item()
        return x.numel()

    return run


def keras(config: str, tokens: int, vocabulary: int) -> Round:
    """The same recipe with keras.layers and `fit`."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf  # noqa: PLC0415

    layers, hidden, clip = {"small": (2, 200, 5.0), "test": (1, 2, 1.0)}[config]
    x, y = (part.transpose(0, 2, 1).reshape(-1, part.shape[1]) for part in text(config, tokens, vocabulary))
    batch, steps = {"small": (20, 20), "test": (10, 2)}[config]
    uniform = tf.keras.initializers.RandomUniform(-0.1, 0.1)
    model = tf.keras.Sequential(
        [tf.keras.Input((steps,), batch), tf.keras.layers.Embedding(vocabulary, hidden, uniform)]
    )
    for _ in range(layers):
        model.add(tf.keras.layers.LSTM(hidden, return_sequences=True, stateful=True, kernel_initializer=uniform))
    model.add(tf.keras.layers.Dense(vocabulary, kernel_initializer=uniform))
    model.compile(
        tf.keras.optimizers.SGD(1.0, global_clipnorm=clip / steps),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def run() -> int:
        model.fit(x, y, batch, shuffle=False, verbose=0)
        return x.size

    return run


def gemm(config: str, tokens: int, vocabulary: int) -> Round:
    """The matrix products of a training step and nothing else, in TensorFlow."""
    import tensorflow as tf  # noqa: PLC0415

    layers, h, n = {"small": (2, 200, 400), "test": (1, 2, 20)}[config]
    shapes = [((n, 2 * h), (2 * h, 4 * h)), ((n, 4 * h), (4 * h, 2 * h)), ((2 * h, n), (n, 4 * h))] * layers
    shapes += [((n, h), (h, vocabulary)), ((n, vocabulary), (vocabulary, h)), ((h, n), (n, vocabulary))]
    pairs = [(tf.random.normal(a), tf.random.normal(b)) for a, b in shapes]
    step = tf.function(lambda: [a @ b for a, b in pairs])

    def run() -> int:
        for _ in range(tokens // n):
            step()
        return tokens // n * n

    return run


PEERS = {"ours": ours, "PyTorch": pytorch, "Keras": keras, "GEMM": gemm}


def serve(name: str, config: str, tokens: int, vocabulary: int) -> None:
    """Runs a round for each line that comes in; answers with tokens, seconds and CPU seconds."""
    start = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    born = start + int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    first = PEERS[name](config, 400 if config == "small" else 2000, vocabulary)
    first()
    print(f"{time.time() - born:.2f}", flush=True)
    run = PEERS[name](config, tokens, vocabulary)
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        before, cpu = time.perf_counter(), time.process_time()
        done = run()
        took, cpu = time.perf_counter() - before, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{done} {took} {cpu} {memory}", flush=True)


class Peer:
    """A process that trains a round when it is told to."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert self._process.stdin and self._process.stdout
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self.begun = float(self._answers.readline())
        self._answers.readline()

    def run(self) -> list[float]:
        """Tokens, seconds and CPU seconds of a round, and the peak memory in MiB."""
        self._orders.write("go\n")
        self._orders.flush()
        return [float(value) for value in self._answers.readline().split()]

    def close(self) -> None:
        """Ends the process."""
        self._orders.close()
        self._process.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=("small", "test"), default="small")
    parser.add_argument("--tokens", type=int, default=20_000, help="of a round (900000 is an epoch of PTB)")
    parser.add_argument("--vocabulary", type=int, default=10_000, help="words that there are")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.config, options.tokens, options.vocabulary)
        return
    names = options.peers.split(",")
    command = [sys.executable, __file__, "--config", options.config, "--tokens", str(options.tokens)]
    command += ["--vocabulary", str(options.vocabulary), "--serve"]
    peers = {name: Peer([*command, name]) for name in names}  # one after the other, so that none is disturbed
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    memory = dict.fromkeys(names, 0.0)
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            tokens, seconds, cpu, memory[name] = peers[name].run()
            speeds[name].append((tokens / seconds, tokens / cpu))
    for peer in peers.values():
        peer.close()
    print(
        f"{options.config}, {options.vocabulary} words, {len(os.sched_getaffinity(0))} cores, rounds of {options.tokens} tokens"
    )
    print(
        f"{'':8} {'words/s':>9} {'per CPU s':>9} {'first step s':>12} {'peak MiB':>9} {'ours is':>8} {'per CPU s':>9}"
    )
    medians = {name: [statistics.median(values) for values in zip(*speeds[name], strict=True)] for name in names}
    for name in names:
        ratios = [mine / other for mine, other in zip(medians.get("ours", [0, 0]), medians[name], strict=True)]
        print(
            f"{name:8} {medians[name][0]:9.0f} {medians[name][1]:9.0f} {peers[name].begun:12.1f} {memory[name]:9.0f}"
            f" {ratios[0]:7.2f}x {ratios[1]:8.2f}x"
        )


if __name__ == "__main__":
    main()
