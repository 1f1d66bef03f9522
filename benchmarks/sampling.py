"""How scripts come out by temperature and top-p, as `model.judge` measures them: `python benchmarks/sampling.py --save-path DIR`.

Each row is the mean over scripts of as many seeds; the first is what the corpus's own held-out passages of that length have.
"Off" is the sum of a row's differences to that, each in standard deviations that the scripts of a row have on average.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from model import training_text
from model.checkpoints import load
from model.generate import Length, draw_script
from model.judge import MEASURES, Judge
from model.prompt import read_prompt
from model.sampling import Sampler


def main() -> None:
    """Prints the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save-path", type=Path, required=True, help="folder that model.train wrote")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.6, 0.7, 0.8, 0.9, 1.0, 1.1])
    parser.add_argument("--top-ps", type=float, nargs="+", default=[0.9, 0.95, 1.0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=1500)
    options = parser.parse_args()
    model = load(options.save_path)
    original = training_text.load(options.save_path)
    assert original is not None, "trained without its text"
    judge = Judge(original, model.words, options.tokens)
    prompt, length = read_prompt("", model.words), Length(tokens=options.tokens)
    rows = {}
    for temperature, top_p in itertools.product(options.temperatures, options.top_ps):
        sampler = Sampler(temperature, top_p=top_p)
        scripts = [
            draw_script(model, original, prompt, length, seed, sampler, unknown=False)
            for seed in range(1, options.seeds + 1)
        ]
        found = [[judge.measure(script)[name] for name in MEASURES] for script in scripts]
        rows[f"{temperature:g} | {top_p:g}"] = np.array(found, float)
    corpus = np.array([judge.corpus[name] for name in MEASURES], float)
    spread = np.nanmean([np.nanstd(found, 0) for found in rows.values()], 0)
    print("temperature | top-p", *MEASURES, "off", sep=" | ")
    print(*["---"] * (len(MEASURES) + 3), sep=" | ")
    print("corpus | ", *(f"{value:.3g}" for value in corpus), "", sep=" | ")
    for name, found in rows.items():
        mean = np.nanmean(found, 0)
        off = np.nansum(np.abs(mean - corpus) / np.maximum(spread, 1e-9))
        print(name, *(f"{value:.3g}" for value in mean), f"{off:.1f}", sep=" | ")


if __name__ == "__main__":
    main()
