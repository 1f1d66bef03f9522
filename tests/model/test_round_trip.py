"""What is written has the form of what was read: read, typeset and read again, a script has the same scenes, speakers and
words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.formats import format_fountain, format_json, format_text
from model.readers.parts import Cue, Direction, Heading, Part, Said
from model.scripts import flatten, list_scenes, read_script
from model.style import Style, StyleLearner
from model.tokens import BONAME, CLOSE_EXP, CLOSE_SCENE, EONAME, OPEN_EXP, OPEN_SCENE, lower_tokens
from model.typeset import read_scenes
from tests.model.grammar import LANGUAGES, Author
from tests.model.test_readers import CASES, FORMATS

Spoken = list[tuple[str, ...]]


def learn(parts: list[Part], form: str) -> Style:
    learner = StyleLearner()
    learner.add(parts, form)
    return learner.style()


def meaning(tokens: list[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Headings, directions and what is said, each with who says it; a name said twice in a row is said once."""
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    speaker: tuple[str, ...] = ()
    kind, words = "", list[str]()
    closes = {BONAME: EONAME, OPEN_EXP: CLOSE_EXP, OPEN_SCENE: CLOSE_SCENE}

    def end() -> None:
        nonlocal words
        if words:
            if found and found[-1][0] == speaker and found[-1][1][0] != "(":
                found[-1] = (speaker, (*found[-1][1], *words))
            else:
                found.append((speaker, tuple(words)))
            words = []

    for token in tokens:
        if token in closes:
            end()
            kind = token
        elif token == closes.get(kind):
            if kind == BONAME:
                speaker = tuple(words)
            else:
                if kind == OPEN_SCENE:
                    speaker = ()
                found.append((("(", kind), ("(", *words)))
            kind, words = "", []
        else:
            words.append(token)
    end()
    return found


def tokens_of(parts: list[Part]) -> list[str]:
    return [token for scene in list_scenes(parts) for token in flatten(scene)]


def read_json(text: str, headed: bool) -> list[str]:
    """The tokens of a script in JSON; its first scene may be `headed` though the heading says nothing."""
    parts: list[Part] = []
    for number, scene in enumerate(json.loads(text)["scenes"]):
        if scene["heading"] or number or headed:
            parts.append(Heading(scene["heading"]))
        for element in scene["elements"]:
            if "direction" in element:
                parts.append(Direction(element["direction"]))
                continue
            if element["speaker"] and not element["continued"]:
                parts.append(Cue(element["speaker"]))
            parts += [Said(p["text"]) if "text" in p else Direction(p["direction"]) for p in element["parts"]]
    return tokens_of(parts)


@pytest.mark.parametrize(("name", "language"), CASES, ids=lambda value: value)
def test_every_format_goes_round(name: str, language: str) -> None:
    _, _, write, (headed, directed, verse) = FORMATS[name]
    truth = Author(LANGUAGES[language], 7).script(20, headed, directed, verse)
    first = read_script(write(truth, LANGUAGES[language]))
    style = learn(first.parts, first.found.form)
    tokens = tokens_of(first.parts)
    scenes = read_scenes(tokens, style)
    for again in (format_text(scenes, style), format_fountain(scenes, "A Script", style)):
        assert meaning(tokens_of(read_script(again).parts)) == meaning(tokens)
    if headed:
        assert meaning(read_json(format_json(scenes), headed)) == meaning(tokens)


WORDS = st.text("abcdefghijklmnopqrstuvwxyzäéñßçø", min_size=2, max_size=9).filter(
    lambda word: word.upper().lower() == word
)
SENTENCES = st.builds(
    lambda words, mark: " ".join(words).capitalize() + mark,
    st.lists(WORDS, min_size=1, max_size=12),
    st.sampled_from(".?!"),
)
TEXTS = st.lists(SENTENCES, min_size=1, max_size=4).map(" ".join)
NAMES = st.sampled_from(["ANNA", "BERT", "OLD MAN", "ÉLISE", "MRS. HALE"])
SPEECHES = st.tuples(NAMES.map(Cue), TEXTS.map(Said)).map(list)
DIRECTIONS = st.one_of(SENTENCES, WORDS).map(lambda text: [Direction(text)])
SCENES = st.builds(
    lambda place, elements: [Heading(place, "SCENE"), *(part for element in elements for part in element)],
    st.one_of(st.just(""), SENTENCES),
    st.lists(st.one_of(SPEECHES, SPEECHES, DIRECTIONS), min_size=3, max_size=6),
)
SCRIPTS = st.lists(SCENES, min_size=2, max_size=5).map(lambda scenes: [part for scene in scenes for part in scene])


@settings(max_examples=25, deadline=None)
@given(parts=SCRIPTS, form=st.sampled_from(["play", "transcript", "fountain"]))
def test_random_scripts_go_round(parts: list[Part], form: str) -> None:
    style = learn(parts, form)
    tokens = tokens_of(parts)
    scenes = read_scenes(tokens, style)
    wanted = {"play": "play", "transcript": None, "fountain": "screenplay"}[form]
    assert meaning(tokens_of(read_script(format_text(scenes, style), wanted).parts)) == meaning(tokens)
    assert meaning(tokens_of(read_script(format_fountain(scenes, "A Script", style), "fountain").parts)) == meaning(
        tokens
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "3.14",
                "10:30",
                "$5.00",
                "a.m.",
                "Mrs. Hale",
                "Dr. Adler",
                "'tis",
                "i'",
                "lords'",
                "word",
                "¿qué?",
                "„so“",
            ]
        ),
        min_size=1,
    )
)
def test_what_is_joined_is_split_as_it_was(pieces: list[str]) -> None:
    text = " ".join(["so", *pieces]) + "."
    style = learn([Said(text)], "prose")
    assert lower_tokens(style.prose(lower_tokens(text))) == lower_tokens(text)
