"""Test perplexity by minutes of training on these cores, here and by peers: one table.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install --require-hashes -r benchmarks/requirements.txt
    /tmp/bench/bin/python benchmarks/perplexity_by_minute.py --data-path plays --minutes 5 15 --out rows.jsonl

All have the same corpus, vocabulary and splits, and as many minutes from the start of the process to the figure on test; they run one after the
other, on CPU alone. Each row is appended to --out when it is there, and not measured again. The peers stand in `peers.py`.
A peer reads test in as many streams as its batch has, so that it lacks the context of so many of its tokens.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import numpy as np
from peers import PEERS, make_peer

OURS = "here"
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PIECE = 32  # tokens of each stream that are evaluated at once
TRIAL = 4  # such pieces, from which the time that evaluation takes is told
MARGIN = 1.3  # times as long: a machine is not always as quick


def pieces(ids: np.ndarray, first: int, batch: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A text as streams side by side, in pieces: inputs, targets, and which of them are not filling; it comes after the word `first`."""
    length = -(-len(ids) // batch // steps) * steps
    there = np.arange(length * batch) < len(ids)
    y = np.resize(ids, length * batch)
    x = np.append(first, y[:-1]).astype(y.dtype)
    for start in range(0, length, steps):
        yield tuple(part.reshape(batch, length).T[start : start + steps] for part in (x, y, there))  # type: ignore[misc]


def serve(name: str, data: Path, minutes: float, begun: float) -> dict[str, float]:
    """Trains a peer and evaluates it on test."""
    from model.corpus import read_corpus  # noqa: PLC0415
    from model.tokens import EOS  # noqa: PLC0415

    corpus = read_corpus(data, seed=1)
    first = corpus.words.index(EOS) if EOS in corpus.words else 0
    peer = make_peer(name, len(corpus.words))

    def measure(ids: np.ndarray) -> float:
        peer.forget()
        losses = [peer.losses(x, y)[there] for x, y, there in pieces(ids, first, peer.batch, PIECE)]
        return float(np.concatenate(losses).mean())

    trial = corpus.valid[: TRIAL * PIECE * peer.batch]
    measure(trial)
    start = time.time()
    measure(trial)
    start, end = time.time(), begun + 60 * minutes - MARGIN * (time.time() - start) * len(corpus.test) / len(trial)
    tokens, random = 0, np.random.default_rng(1)
    while time.time() < end:
        peer.forget()
        for x, y, _ in pieces(corpus.train[random.integers(peer.steps) :], first, peer.batch, peer.steps):
            peer.update(x, y, (time.time() - start) / (end - start))
            tokens += y.size
            if time.time() >= end:
                break
    if not tokens:
        sys.exit(f"Error: {minutes:g} minutes are too few for {name} to read these scripts, to train and to evaluate")
    speed = tokens / (time.time() - start)
    return {"test": math.exp(measure(corpus.test)), "epochs": tokens / len(corpus.train), "words_per_second": speed}


def run_ours(data: Path, minutes: float) -> dict[str, float]:
    """This project's `--minutes`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "model.train", "--data-path", str(data.resolve()), "--save-path", folder]
        subprocess.run([*command, "--minutes", f"{minutes:g}"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
    mixed = (metrics["dynamic"] or metrics)["mixture"]["test"]
    plan = metrics["plan"]
    return {
        "test": metrics["perplexity"]["test"],
        "mixed": mixed,
        "epochs": plan["epochs"],
        "words_per_second": plan["words_per_second"],
    }


def run_peer(name: str, data: Path, minutes: float) -> dict[str, float]:
    """A peer in a process of its own."""
    command = [sys.executable, __file__, "--data-path", str(data), "--minutes", f"{minutes:g}", "--serve", name]
    served = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if served.returncode:
        sys.exit(served.returncode)
    return dict(json.loads(served.stdout.splitlines()[-1]))


def format_table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| minutes | model | test | with n-gram and cache, learning | epochs | words a second | seconds |",
        "| --- " * 7 + "|",
    ]
    for row in sorted(rows, key=lambda row: (row["minutes"], row["test"])):
        mixed = f"{row['mixed']:.2f}" if "mixed" in row else ""
        lines.append(
            f"| {row['minutes']:g} | {row['model']} | {row['test']:.2f} | {mixed} | {row['epochs']:.2f} | "
            f"{row['words_per_second']:,.0f} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    begun = time.time()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", type=Path, required=True, help="folder of scripts, or of ptb.*.txt")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 15, 35, 60])
    parser.add_argument("--models", nargs="+", choices=(OURS, *PEERS), default=[OURS, *PEERS])
    parser.add_argument(
        "--out", type=Path, default=Path("perplexity_by_minute.jsonl"), help="file that rows are appended to"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        print(json.dumps(serve(options.serve, options.data_path, options.minutes[0], begun)))
        return
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {(row["model"], row["minutes"]) for row in rows}
    for minutes, name in itertools.product(options.minutes, options.models):
        if (name, minutes) not in done:
            start = time.time()
            found = run_ours(options.data_path, minutes) if name == OURS else run_peer(name, options.data_path, minutes)
            rows.append({"model": name, "minutes": minutes, **found, "seconds": time.time() - start})
            with options.out.open("a") as file:
                print(json.dumps(rows[-1]), file=file)
    print(format_table(rows))


if __name__ == "__main__":
    main()
