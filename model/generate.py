"""Writes a script: `python3 -m model.generate --save-path DIR --out FILE --tokens 1500 --seed 1`."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from model.checkpoints import Trained, load
from model.sampling import Choice, draw_words
from model.scripts import BONAME, EOS, write_script


def sample(model: Trained, tokens: int, seed: int, temperature: float = 1.0) -> list[str]:
    """`tokens` words drawn one after the other from the model's distribution, `<unk>` never among them."""
    first = next(word for word in (BONAME, EOS, model.words[0]) if word in model.words)
    begin = [first] if first == BONAME else []
    drawn = draw_words(model.weights, model.words, [model.words.index(first)], seed, Choice(temperature))
    return begin + list(itertools.islice(drawn, tokens - len(begin)))


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
