"""New scripts by the command line: lengths, prompts, formats, facts about them, and the search for copies."""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from model import checkpoints, generate, training_text
from model.corpus import Corpus, read_corpus
from model.judge import MEASURES
from model.network import initial_weights
from model.prompt import read_prompt
from model.scripts import flatten, read_script
from model.training_text import TrainingText, find_longest_copy
from tests import corpora
from tests.model.recipes import TINY

CLASSIC = ["<boname>", "<eoname>", "<eos>", "<unk>", "EDDARD_STARK", "don", "'t", "Winter", "is", "coming", ","]
Generate = Callable[..., str]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("plays")
    for number in range(4):
        (folder / f"play_{number}.txt").write_text(corpora.play(number))
    return read_corpus(folder, seed=1)


@pytest.fixture(scope="module")
def model(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt nothing: its scripts are noise, which is harder to typeset than what a good one writes."""
    folder = tmp_path_factory.mktemp("model")
    checkpoints.save(folder, initial_weights(TINY, len(corpus.words), seed=1), corpus.words)
    training_text.save(folder, corpus)
    return folder


@pytest.fixture
def run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Generate:
    def run(*options: str, out: str = "new_script.txt") -> str:
        command = ["generate", "--save-path", str(model), "--out", str(tmp_path / out), *options]
        monkeypatch.setattr(sys, "argv", command)
        generate.main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def plays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that has learnt a play by heart."""

    def draw(*_: object) -> Iterator[str]:
        scenes = [scene for number in range(9) for scene in read_script(corpora.play(number)).scenes]
        leaves = ["<open-exp>", "exeunt", "<eos>", "<close-exp>"]
        return itertools.chain.from_iterable([*flatten(scene), *leaves] for scene in scenes)

    monkeypatch.setattr(generate, "draw_words", draw)


def test_the_same_seed_writes_the_same_script(run: Generate, tmp_path: Path) -> None:
    outputs = [run("--tokens", "300", "--seed", seed, out=f"{n}/new_script.txt") for n, seed in enumerate("112")]
    scripts = [(tmp_path / str(n) / "new_script.txt").read_text() for n in range(3)]
    assert scripts[0] == scripts[1] != scripts[2]
    assert "<unk>" not in scripts[0]
    facts = json.loads((tmp_path / "0" / "script_facts.json").read_text())
    assert 300 <= facts["tokens"] <= 400
    assert {key: facts[key] for key in ("seed", "temperature", "top_k", "top_p", "prompt")} == {
        "seed": 1,
        "temperature": 0.9,
        "top_k": 0,
        "top_p": 1.0,
        "prompt": "",
    }
    assert {row["measure"] for row in facts["judge"]} == MEASURES.keys()
    assert f"Wrote {facts['tokens']} tokens" in outputs[0]


def test_a_copy_is_found_and_named(run: Generate, tmp_path: Path, corpus: Corpus, plays_on: None) -> None:
    output = run("--lines", "8")
    copy = json.loads((tmp_path / "script_facts.json").read_text())["longest_copied_run"]
    # Play 0 is in train but for the blocks that are held out.
    assert copy["tokens"] >= 50
    assert copy["source"] == "play_0.txt"
    assert f"{copy['tokens']} tokens of play_0.txt" in output


@pytest.mark.parametrize("count", [1, 3, 8])
def test_length_by_lines(run: Generate, tmp_path: Path, plays_on: None, count: int) -> None:
    run("--lines", str(count))
    script = (tmp_path / "new_script.txt").read_text()
    assert sum(line in corpora.PEOPLE for line in script.splitlines()) == count
    assert script.rstrip().endswith(("...", "]"))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_length_by_scenes(run: Generate, tmp_path: Path, plays_on: None, count: int) -> None:
    run("--scenes", str(count), "--format", "json")
    scenes = json.loads((tmp_path / "new_script.txt").read_text())["scenes"]
    assert [scene["heading"] for scene in scenes] == ["A kitchen."] * count
    assert all(scene["elements"][-1] == {"direction": "Exeunt."} for scene in scenes)


def test_a_length_that_never_comes(run: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "LONGEST", 40)
    noise = ["<close-exp>", "<open-exp>", "<close-exp>", "bread", "<open-exp>"]
    monkeypatch.setattr(generate, "draw_words", lambda *_: itertools.cycle(noise))
    assert "had not come to its 3 scenes" in run("--scenes", "3")


def test_fountain_is_written(run: Generate, tmp_path: Path, plays_on: None) -> None:
    run("--format", "fountain", "--tokens", "40")
    text = (tmp_path / "new_script.txt").read_text()
    assert text.startswith("Title: A New Script\n\n.A KITCHEN.\n\nEnter Anna.\n\nANNA\n")


def test_a_prompt_begins_the_script(run: Generate, tmp_path: Path) -> None:
    output = run("--prompt", "Anna: My mother's bred is DRAGONGLASS.", "--tokens", "20")
    script = (tmp_path / "new_script.txt").read_text()
    assert " ".join(script.split()).startswith("ANNA My mother's bred is DRAGONGLASS.")
    assert '"bred" is not in the vocabulary: read as "bread".' in output
    assert '"DRAGONGLASS" is not in the vocabulary: ' in output


def test_a_speaker_alone_may_be_the_prompt(run: Generate, tmp_path: Path) -> None:
    run("--prompt", "CLARA:", "--tokens", "20")
    assert (tmp_path / "new_script.txt").read_text().startswith("CLARA\n")


def test_a_prompt_in_the_classic_tokens() -> None:
    prompt = read_prompt("Eddard Stark: Don't, winter is coming!", CLASSIC)
    assert prompt.read == ["<boname>", "EDDARD_STARK", "<eoname>", "don", "'t", ",", "Winter", "is", "coming", "<unk>"]
    assert prompt.notes == ['"!" is not in the vocabulary: read as an unknown word.']


def test_a_prompt_for_a_model_without_speakers_or_unknown_words() -> None:
    prompt = read_prompt("Anna: the zzz", ["the", "end", "<eos>"])
    assert prompt.read == ["the"]
    assert prompt.notes[0] == 'This model knows no speakers: "Anna" is read as spoken.'
    assert '"zzz" is not in the vocabulary: left out.' in prompt.notes


@pytest.mark.parametrize(
    "options",
    [
        ["--tokens", "0"],
        ["--temperature", "-1"],
        ["--temperature", "nan"],
        ["--top-p", "0"],
        ["--seed", "x"],
        ["--tokens", "9", "--lines", "9"],
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Generate, capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*options)
    assert stopped.value.code == 2
    assert options[-2] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_missing_model_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", "--save-path", str(tmp_path), "--out", str(tmp_path / "x.txt")])
    with pytest.raises(SystemExit, match=r"Error: .* holds no trained model"):
        generate.main()


def test_a_model_without_its_training_text_still_writes(corpus: Corpus, tmp_path: Path, run: Generate) -> None:
    (tmp_path / "old").mkdir()
    checkpoints.save(tmp_path / "old", initial_weights(TINY, len(corpus.words), seed=1), corpus.words)
    run("--save-path", str(tmp_path / "old"))
    assert json.loads((tmp_path / "script_facts.json").read_text())["longest_copied_run"] is None


def longest_by_hand(text: list[int], original: list[int]) -> int:
    """The textbook's table of common suffixes."""
    row, best = [0] * (len(original) + 1), 0
    for word in text:
        row = [0, *(row[place] + 1 if word == other else 0 for place, other in enumerate(original))]
        best = max(best, *row)
    return best


def test_the_longest_copy_is_the_longest() -> None:
    random = np.random.default_rng(3)
    for words in (1, 2, 3, 20, 1000):
        text, original = (random.integers(0, words, size).astype(np.int32) for size in (60, 200))
        copy = find_longest_copy(text, original)
        assert copy.length == longest_by_hand(text.tolist(), original.tolist())
        assert (text[copy.here :][: copy.length] == original[copy.there :][: copy.length]).all()
    original = random.integers(0, 5000, 100_000).astype(np.int32)
    text = np.concatenate([original[777:790], original[70_000:70_123], original[5:9]])
    assert find_longest_copy(text, original) == (123, 13, 70_000)


def test_the_training_text_is_kept(corpus: Corpus, model: Path, tmp_path: Path) -> None:
    kept = training_text.load(model)
    assert kept is not None
    assert kept.ids.tolist() == corpus.train.tolist()
    assert kept.style == corpus.style
    assert kept.held_out.tolist() == corpus.held_out.tolist()
    assert kept.find_source(0) == "play_0.txt"
    assert kept.find_source(len(kept.ids) - 1) == "play_3.txt"
    assert kept == TrainingText(kept.ids, list(corpus.sources), corpus.style, kept.held_out)
    training_text.save(tmp_path, corpus)
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in model.glob("training_text.*"))


def test_every_command_of_the_page_on_writing(run: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "LONGEST", 2000)
    page = (Path(__file__).parents[2] / "docs" / "writing.md").read_text()
    commands = [line for line in page.splitlines() if line.startswith("model/.venv/bin/python -m model.generate ")]
    assert len(commands) == 7
    for command in commands:
        options = shlex.split(command)[3:]
        out = options.pop(options.index("--out") + 1)
        model = options.index("--save-path")
        run(*options[:model], *(option for option in options[model + 2 :] if option != "--out"), out=out)
        assert (tmp_path / out).stat().st_size > 100


def test_a_place_that_cannot_be_written_is_told_before_anything_is_drawn(
    run: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "draw_script", lambda *_: pytest.fail("drawn"))
    (tmp_path / "file").write_text("")
    for out, told in ((".", "is a folder"), ("file/x.txt", "can't be written to")):
        with pytest.raises(SystemExit, match=told):
            run(out=out)


def test_no_mark_reaches_people(run: Generate, tmp_path: Path, plays_on: None) -> None:
    shown = run("--lines", "3", "--prompt", "Anna: so <eos> it is <boname> zzz")
    shown += (tmp_path / "new_script.txt").read_text() + json.dumps(
        json.loads((tmp_path / "script_facts.json").read_text())["longest_copied_run"]
    )
    assert not {"<boname>", "<eoname>", "<eos>", "<open-scene>", "<eol>"} & set(shown.lower().split())


def test_a_prompt_of_many_unknown_words_is_looked_up_but_a_few_times() -> None:
    vocabulary = ["<boname>", "<eoname>", "<unk>", *(f"word{number}" for number in range(2000))]
    prompt = read_prompt(" ".join(f"stranger{number}" for number in range(5000)), vocabulary)
    assert len(prompt.read) == 5000
    assert len(prompt.notes) <= 21


def test_scripts_end_after_as_many_scenes_as_were_asked_for_in_every_format(
    run: Generate, tmp_path: Path, plays_on: None
) -> None:
    counts = set()
    for form in ("text", "fountain", "json"):
        run("--scenes", "3", "--format", form)
        text = (tmp_path / "new_script.txt").read_text()
        counts.add(text.count("A kitchen.") + text.count("A KITCHEN."))
    assert counts == {3}
