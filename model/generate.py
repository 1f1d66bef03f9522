"""Writes a script: `python3 -m model.generate --save-path DIR --out FILE --tokens 1500 --seed 1`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model import training_text
from model.checkpoints import Trained, load
from model.corpus import has_scenes
from model.files import write_text
from model.formats import format_fountain, format_json, format_text
from model.judge import judge
from model.limits import LONGEST
from model.options import make_folder, number
from model.prompt import Prompt, read_prompt
from model.sampling import Sampler, draw_words
from model.style import Style
from model.tokens import BONAME, CLOSE_EXP, EONAME, EOS, OPEN_EXP, OPEN_SCENE, SENTENCE_ENDS
from model.training_text import TrainingText, find_longest_copy
from model.typeset import Direction, ends_with_a_new_scene, read_scenes

FACTS = "script_facts.json"
TITLE = "A New Script"
LEAD_IN = 50  # tokens of the training text's end, after which a new script begins
LONGEST_ENDING = 100  # tokens to the end of the sentence, where `--tokens` falls inside of one
FORMATS = ("text", "fountain", "json")
TEMPERATURE = 0.9  # scripts come out nearest to the corpus's own (benchmarks/sampling.py)


class Length(NamedTuple):
    """How long a script gets: one of the three."""

    tokens: int | None = None
    lines: int | None = None
    scenes: int | None = None


def draw_script(
    model: Trained,
    original: TrainingText | None,
    prompt: Prompt,
    length: Length,
    seed: int,
    sampler: Sampler,
    unknown: bool,
) -> list[str]:
    """The tokens of a script that follow its prompt; `<unk>` is among them only if `unknown` is set."""
    ids = {word: number for number, word in enumerate(model.words)}
    before = [ids.get(EOS, 0)] if original is None else original.ids[-LEAD_IN:].tolist()
    read = [*before, *(ids[word] for word in prompt.read)]
    drawn = draw_words(model.weights, model.words, read, seed, sampler, unknown)
    return _cut(drawn, prompt.shown, length, named=BONAME in ids, marked=has_scenes(model.words))


def _cut(drawn: Iterator[str], begun: list[str], length: Length, named: bool, marked: bool) -> list[str]:
    """What is drawn up to a length, in which what was begun counts; it ends with a whole sentence, line or scene.

    A line is what someone says in turn; where no speakers are `named`, it is a sentence. Where scenes
    are `marked`, one begins with its mark; in the classic tokens a direction tells.
    """
    tokens = list(begun)
    lines = sum(token == EONAME if named else token in SENTENCE_ENDS for token in tokens)
    scene = scenes = 0  # where the last scene begins, and how many are over
    anything = bool(tokens)  # stands in the last scene
    while len(tokens) < LONGEST:
        token = next(drawn)
        if lines == length.lines and (token == BONAME or not named):
            break
        if marked and token == OPEN_SCENE and anything:
            scenes, anything = scenes + 1, False
            if scenes == length.scenes:
                break
        tokens.append(token)
        anything = anything or token in SENTENCE_ENDS
        lines += token == EONAME if named else token in SENTENCE_ENDS
        ends = token in SENTENCE_ENDS or token == CLOSE_EXP
        if length.tokens and len(tokens) >= length.tokens + (0 if ends else LONGEST_ENDING):
            break
        new = not marked and length.scenes and token == CLOSE_EXP and ends_with_a_new_scene(tokens)
        if new and len(read_scenes(tokens[scene:])) > 1:  # a place may be named in two directions
            scenes, scene = scenes + 1, len(tokens) - 1 - tokens[::-1].index(OPEN_EXP)
            if scenes == length.scenes:
                del tokens[scene:]
                break
    return tokens[len(begun) :]


def format_script(tokens: list[str], style: Style | None, form: str) -> str:
    """The script in one of the formats."""
    scenes = read_scenes(tokens, style)
    while len(scenes) > 1 and not scenes[-1].elements:
        scenes.pop()  # a place where nothing happens any more
    if form == "fountain":
        return format_fountain(scenes, TITLE, style)
    return format_json(scenes) if form == "json" else format_text(scenes, style)


def describe_longest_copy(drawn: list[str], words: list[str], original: TrainingText) -> dict[str, Any]:
    """The longest run of drawn tokens that stands in the training text, and the file that it stands in."""
    ids = {word: number for number, word in enumerate(words)}
    copy = find_longest_copy(np.array([ids.get(word, -1) for word in drawn], np.int32), original.ids)
    run = drawn[copy.here : copy.here + copy.length]
    return {"tokens": copy.length, "text": _show(run, original.style), "source": original.find_source(copy.there)}


def _show(tokens: list[str], style: Style | None) -> str:
    """A few tokens in a row, as people read them: `NAME: what is said [what happens]`."""
    shown = []
    for scene in read_scenes(tokens, style):
        shown += [scene.heading] if scene.heading else []
        for element in scene.elements:
            if isinstance(element, Direction):
                shown.append(f"[{element.text}]")
            else:
                shown += [f"{element.speaker}:"] if element.speaker and not element.continued else []
                shown += [f"[{part.text}]" if isinstance(part, Direction) else part.strip() for part in element.parts]
    return " ".join(" / ".join(shown_part.split("\n")) for shown_part in shown)


def main() -> None:
    """The command line."""
    options = _options()
    if options.out.is_dir():
        sys.exit(f"Error: {options.out} is a folder: name a file for the script")
    if problem := make_folder(options.out.parent):
        sys.exit(f"Error: {problem}")
    try:
        model = load(options.save_path)
    except FileNotFoundError as error:
        sys.exit(f"Error: {options.save_path} holds no trained model ({error}): run model.train first")
    if options.scenes and not has_scenes(model.words) and OPEN_EXP not in model.words:
        sys.exit("Error: this model's scripts have no scenes: say how long the script gets by --lines or --tokens")
    original = training_text.load(options.save_path)
    prompt = read_prompt(options.prompt, model.words)
    for note in prompt.notes:
        print(note)
    length = Length(options.tokens, options.lines, options.scenes)
    sampler = Sampler(options.temperature, options.top_k, options.top_p)
    start = time.perf_counter()
    drawn = draw_script(model, original, prompt, length, options.seed, sampler, options.keep_unknown)
    speed = len(drawn) / (time.perf_counter() - start)
    tokens = prompt.shown + drawn
    facts = {
        "tokens": len(tokens),
        "lines": tokens.count(EONAME),
        "seed": options.seed,
        **sampler._asdict(),
        "prompt": options.prompt,
        "longest_copied_run": describe_longest_copy(drawn, model.words, original) if original and drawn else None,
        "judge": judge(drawn, original, model.words) if original and drawn else None,
    }
    write_text(options.out, format_script(tokens, original.style if original else None, options.format))
    write_text(options.out.with_name(FACTS), json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    print(f"Wrote {len(tokens)} tokens to {options.out}, {speed:.0f} tokens/s.")
    if len(tokens) >= LONGEST and not length.tokens:
        asked = f"{length.lines} lines" if length.lines else f"{length.scenes} scenes"
        print(f"No script gets longer: this one had not come to its {asked}.")
    if run := facts["longest_copied_run"]:
        print(f"Longest run copied from the scripts: {run['tokens']} tokens of {run['source']}: {run['text']}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Writes a script with a trained model.")
    add = parser.add_argument
    add("--save-path", type=Path, required=True, help="folder that model.train wrote")
    add("--out", type=Path, required=True, help=f"file for the script; facts about it go to {FACTS} beside it")
    add("--format", choices=FORMATS, default="text", help="text (default), fountain or json")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--tokens", type=number(int, 1, LONGEST), help="length in words and marks (default 1500)")
    size.add_argument("--lines", type=number(int, 1, LONGEST), help="length in lines, each what someone says in turn")
    size.add_argument("--scenes", type=number(int, 1, LONGEST), help="length in scenes")
    add("--prompt", default="", help="how it begins: 'SPEAKER: first line', or only one of them ('SPEAKER:')")
    add("--seed", type=number(int, 0, 2**63), default=1, help="of the draws (default 1)")
    add(
        "--temperature",
        type=number(float, 0, 100),
        default=TEMPERATURE,
        help=f"below 1 plays safe, 0 takes the likeliest word (default {TEMPERATURE})",
    )
    add("--top-k", type=number(int, 0, 2**31), default=0, help="draw from the k likeliest words (default 0: all)")
    add(
        "--top-p",
        type=number(float, 0.001, 1),
        default=1.0,
        help="draw from the fewest words that hold this share (default 1: all)",
    )
    add("--keep-unknown", action="store_true", help="let the model write <unk>, too")
    options = parser.parse_args()
    if options.lines is None and options.scenes is None:
        options.tokens = options.tokens or 1500
    return options


if __name__ == "__main__":
    main()
