"""Writes a script: `python3 -m model.generate --save-path DIR --out FILE --tokens 1500 --seed 1`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.checkpoints import Trained, load
from model.scripts import BONAME, EOS, UNKNOWN, write_script

Array = NDArray[np.float32]


def sample(model: Trained, tokens: int, seed: int, temperature: float = 1.0) -> list[str]:
    """`tokens` words drawn one after the other from the model's distribution, `<unk>` never among them."""
    random = np.random.default_rng(seed)
    weights, words = model.weights, model.words
    ids = {word: number for number, word in enumerate(words)}
    width = weights.embedding.shape[1]
    outputs = [np.zeros(width, np.float32) for _ in weights.kernels]
    cells = [np.zeros(width, np.float32) for _ in weights.kernels]
    here = ids.get(BONAME, ids.get(EOS, 0))
    drawn = [words[here]] if words[here] == BONAME else []
    while len(drawn) < tokens:
        flow: Array = weights.embedding[here]
        for n, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases, strict=True)):
            outputs[n], cells[n] = _cell(np.concatenate([flow, outputs[n]]) @ kernel + bias, cells[n])
            flow = outputs[n]
        logits = (flow @ weights.softmax[:-1] + weights.softmax[-1]).astype(np.float64) / temperature
        if UNKNOWN in ids:
            logits[ids[UNKNOWN]] = -np.inf
        chances = np.cumsum(np.exp(logits - logits.max()))
        here = int(np.searchsorted(chances, random.random() * chances[-1], side="right"))
        drawn.append(words[here])
    return drawn


def _cell(gates: Array, cell: Array) -> tuple[Array, Array]:
    i, f, o, candidate = np.split(gates, 4)
    cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(candidate)
    return _sigmoid(o) * np.tanh(cell), cell


def _sigmoid(x: Array) -> Array:
    return (1 / (1 + np.exp(-x))).astype(np.float32)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes a script with a trained model.")
    parser.add_argument("--save-path", type=Path, required=True, help="folder that model.train wrote")
    parser.add_argument("--out", type=Path, required=True, help="file for the script")
    parser.add_argument("--tokens", type=int, default=1500, help="length of the script (default 1500)")
    parser.add_argument("--seed", type=int, default=1, help="of the draws (default 1)")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1 plays safe (default 1)")
    options = parser.parse_args()
    try:
        model = load(options.save_path)
    except FileNotFoundError as error:
        sys.exit(f"Error: {options.save_path} holds no trained model ({error}): run model.train first")
    script = write_script(sample(model, options.tokens, options.seed, options.temperature))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(script)
    print(f"Wrote {options.tokens} tokens to {options.out}.")


if __name__ == "__main__":
    main()
