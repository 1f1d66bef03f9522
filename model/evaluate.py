"""Compares two models on one text: `python3 -m model.evaluate --candidate DIR --candidate-data DIR --released DIR
--released-data DIR --out FILE`.

Each model comes with the scripts that it was trained on. The text is what the candidate's scripts hold out (valid and test)
without the lines that stand in the training text of the released model: neither model has been trained on a line of it.
Where scripts were added, that is nearly all that both hold out; where the seed was changed, a tenth of it.

The vocabularies differ, so the perplexities as each model has them can't be compared: who knows few words predicts many
`<unk>`, which is easy. Here both are perplexities over the same words: those of both vocabularies and of the text. What a
model gives to `<unk>` is shared out evenly among the words that it does not know (Ueberla, 1994: "Analysing a simple
language model: some general conclusions for language models for speech recognition"), so that each model's chances add up
to one over the same set.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoints import Trained, load
from model.corpus import CorpusError, read_splits
from model.cross_entropy import measure
from model.files import write_text
from model.scripts import Line, flatten
from model.tokens import EOS, UNKNOWN


def select_held_out(candidate: list[list[Line]], released: list[list[Line]]) -> list[str]:
    """The tokens of the candidate's valid and test lines that are not among the released model's training lines."""
    seen = {line.tokens for line in released[0]}
    return list(flatten([line for part in candidate[1:] for line in part if line.tokens not in seen]))


def perplexity(model: Trained, text: list[str], words: set[str]) -> float:
    """exp of the mean cross-entropy of the tokens of `text`: a distribution over `words`, of which the model need not know all."""
    ids = {word: number for number, word in enumerate(model.words)}
    unknown = ids.get(UNKNOWN, 0)
    strangers = words - (ids.keys() - {UNKNOWN})
    text_ids = np.array([ids.get(word, unknown) for word in text], np.int32)
    losses = measure(model.weights, text_ids, ids.get(EOS, 0)).losses
    strange = np.array([word in strangers for word in text])
    if UNKNOWN in ids:
        losses += np.where(strange, math.log(max(1, len(strangers))), 0.0)
    elif strangers:
        # It has never met a stranger: all of them get the share that words drawn blindly would.
        share = len(strangers) / len(words)
        losses = np.where(strange, math.log(len(words)), losses - math.log1p(-share))
    return math.exp(losses.mean())


def compare(candidate: tuple[Path, Path], released: tuple[Path, Path]) -> dict[str, Any]:
    """Perplexity of two models, each given as folders of model and scripts, and the number of tokens; none: no perplexity."""
    splits = [
        read_splits(data, metrics["seed"], form=metrics.get("format"))
        for metrics, data in (
            (json.loads((model / "metrics.json").read_text()), data) for model, data in (candidate, released)
        )
    ]
    text = select_held_out(splits[0].parts, splits[1].parts)
    models = [load(model) for model, _ in (candidate, released)]
    words = set(text).union(*(model.words for model in models))
    found = [perplexity(model, text, words) if text else None for model in models]
    return {"tokens": len(text), "words": len(words), "candidate": found[0], "released": found[1]}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compares two models on text that neither was trained on.")
    for name in ("candidate", "released"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="folder that model.train wrote")
        parser.add_argument(f"--{name}-data", type=Path, required=True, help="the scripts that it was trained on")
    parser.add_argument("--out", type=Path, required=True, help="file for the comparison, in JSON")
    options = parser.parse_args()
    try:
        found = compare((options.candidate, options.candidate_data), (options.released, options.released_data))
    except (CorpusError, FileNotFoundError) as error:
        sys.exit(f"Error: {error}")
    write_text(options.out, json.dumps(found, indent=2) + "\n")
    if found["tokens"]:
        print(
            f"On {found['tokens']} held-out tokens: candidate {found['candidate']:.3f}, released {found['released']:.3f}"
        )
    else:
        print("No text is held out from both models.")


if __name__ == "__main__":
    main()
