"""What readers find in made-up scripts whose parts are known, by format and by language."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from model.readers import read_parts
from model.readers.parts import Cue, Direction, Heading, Part, Said
from model.scripts import read_script
from model.textfiles import decode
from model.tokens import lower_tokens
from tests.model.grammar import (
    LANGUAGES,
    Author,
    Language,
    final_draft,
    fountain,
    play,
    screenplay,
    subtitles,
    table,
    transcript,
)

Write = Callable[[list[Part], Language], str]
HEADED = [name for name, language in LANGUAGES.items() if language.act(0)]
ENOUGH = 0.98

# Name, format that must be detected, languages, and what the format has: headings, directions, verse.
FORMATS: dict[str, tuple[str, list[str], Write, tuple[bool, bool, bool]]] = {
    "play, names above": ("play", HEADED, play, (True, True, False)),
    "play, verse": ("play", HEADED, play, (True, True, True)),
    "play, names before": ("play", HEADED, lambda p, la: play(p, la, "{NAME}. "), (True, True, False)),
    "play, names with a colon": ("play", HEADED, lambda p, la: play(p, la, "{Name}:\n"), (True, True, False)),
    "play, small names before": (
        "play",
        ["French", "German", "Russian", "Polish", "Greek", "Spanish"],
        lambda p, la: play(p, la, "{Name}. "),
        (True, True, False),
    ),
    "transcript": ("transcript", list(LANGUAGES), lambda p, la: transcript(p), (False, True, False)),
    "transcript, wide": (
        "transcript",
        list(LANGUAGES),
        lambda p, la: transcript(p, "{NAME}: ", "\n\n"),
        (False, True, False),
    ),
    "transcript, bold": (
        "transcript",
        ["English", "French"],
        lambda p, la: transcript(p, "**{Name}:** ", "\n\n"),
        (False, True, False),
    ),
    "screenplay": ("screenplay", HEADED, lambda p, la: screenplay(p), (True, True, False)),
    "Fountain": ("fountain", HEADED, lambda p, la: fountain(p), (True, True, False)),
    "Final Draft": ("final-draft", list(LANGUAGES), lambda p, la: final_draft(p), (True, True, False)),
    "table, commas": ("table", list(LANGUAGES), lambda p, la: table(p, ","), (True, False, False)),
    "table, tabs": ("table", list(LANGUAGES), lambda p, la: table(p, "\t"), (True, False, False)),
}


def kinds(parts: list[Part]) -> dict[str, Counter[tuple[str, ...]]]:
    """Cues with the words that follow, headings with the part that follows, directions."""
    found: dict[str, Counter[tuple[str, ...]]] = {"cues": Counter(), "headings": Counter(), "directions": Counter()}
    for part, after in zip(parts, [*parts[1:], Said("")], strict=True):
        words = lower_tokens(part[0])
        if isinstance(part, Cue):
            found["cues"][words + lower_tokens(after[0])] += 1
        elif isinstance(part, Heading):
            found["headings"][lower_tokens(after[0])] += 1
        elif isinstance(part, Direction):
            found["directions"][words] += 1
    return found


def measure(name: str, language: str, scenes: int = 30) -> dict[str, tuple[float, float]]:
    """Precision and recall of each kind of part."""
    form, _, write, (headed, directed, verse) = FORMATS[name]
    author = Author(LANGUAGES[language], seed=len(name) + len(language))
    truth = author.script(scenes, headed, directed, verse)
    script = read_script(write(truth, LANGUAGES[language]))
    assert script.found.form == form, script.found.scores
    results = {}
    for kind, wanted in kinds(truth).items():
        found = kinds(script.parts)[kind]
        right = (wanted & found).total()
        if wanted or found:
            results[kind] = (right / max(1, found.total()), right / max(1, wanted.total()))
    return results


CASES = [(name, language) for name, (_, languages, _, _) in FORMATS.items() for language in languages]


@pytest.mark.parametrize(("name", "language"), CASES, ids=lambda value: value)
def test_parts_are_found(name: str, language: str) -> None:
    for kind, (precision, recall) in measure(name, language).items():
        assert precision >= ENOUGH and recall >= ENOUGH, kind


@pytest.mark.parametrize("language", LANGUAGES)
def test_subtitles_are_what_is_said(language: str) -> None:
    truth = Author(LANGUAGES[language], 5).script(20, False, False)
    script = read_script(subtitles(truth))
    assert script.found.form == "subtitles"
    said = [token for part in truth if isinstance(part, Said) for token in lower_tokens(part.text)]
    assert [token for scene in script.scenes for line in scene for token in line.tokens] == said


def table_of_figures() -> str:
    """The table in `docs/own-corpus.md`."""
    rows = ["| format | languages | cues | headings | directions |", "| --- | --- | --- | --- | --- |"]
    for name, (_, languages, _, _) in FORMATS.items():
        figures = [measure(name, language) for language in languages]
        cells = []
        for kind in ("cues", "headings", "directions"):
            both = [of[kind] for of in figures if kind in of]
            worst = [min(each) for each in zip(*both, strict=True)]
            cells.append(" / ".join(f"{value:.3f}" for value in worst) if worst else "")
        rows.append(f"| {name} | {len(languages)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def test_the_table_in_the_docs_is_measured() -> None:
    page = (Path(__file__).parents[2] / "docs" / "own-corpus.md").read_text()
    assert table_of_figures() in page


def written(form: str, language: str = "French") -> str:
    """A script in a format."""
    return FORMATS[form][2](Author(LANGUAGES[language], 3).script(5, True, True), LANGUAGES[language])


@pytest.mark.parametrize(("encoding", "language"), [("utf-16", "Russian"), ("cp1252", "French"), ("cp1251", "Russian")])
def test_an_encoding_that_xml_declares_is_no_other_than_that_of_the_file(encoding: str, language: str) -> None:
    text = written("Final Draft", language)
    text, _ = decode(text.replace('"UTF-8"', f'"{encoding}"').encode(encoding, "replace"))
    assert read_parts(text)[0] == read_parts(text.replace(f'"{encoding}"', '"UTF-8"'))[0]


def test_webvtt_is_known_whatever_else_is_in_it() -> None:
    said = [f"We & 'tis <{number}> said." for number in range(3)]
    cues = [f"00:0{number}.000 --> 00:0{number}.900 align:start\n{html.escape(row)}" for number, row in enumerate(said)]
    notes = [f"NOTE\nof number {number}\nover rows" for number in range(9)]
    text = "\n\n".join(["WEBVTT - a film\nKind: captions", "STYLE\n::cue { color: red }", *notes, *cues]) + "\n"
    reading, found = read_parts(text)
    assert found.form == "subtitles"
    assert [part for part in reading.parts if isinstance(part, Said)] == [Said(row) for row in said]


@pytest.mark.parametrize("form", FORMATS)
def test_what_nobody_sees_changes_nothing(form: str) -> None:
    text = written(form, "English")
    typeset = text.replace("fi", "ﬁ").replace("fl", "ﬂ").replace("ff", "ﬀ")
    for marks in ("\u202b{}\u202c", "\u2067{}\u2069", "\u200e{}"):
        shown = "\n".join(marks.format(row) if row.strip() else row for row in typeset.split("\n"))
        assert read_parts(shown) == read_parts(text)


def test_the_row_in_which_excel_says_the_separator_is_none_of_the_table() -> None:
    text = written("table, commas").replace(",", ";")
    assert read_parts(f"sep=;\n{text}") == read_parts(text)


def test_a_film_of_hardly_anything_but_talk_is_no_play() -> None:
    talk = "".join(
        f"{' ' * 22}{name}\n" + f"{' ' * 11}Some words, and more.\n" * 4 + "\n" for name in ("ANNA", "BERT") * 40
    )
    text = "".join(f"INT. ROOM {number} - DAY\n\n{talk}" for number in (1, 2))
    _, found = read_parts(text)
    assert found.form == "screenplay"
    assert (found.scenes, found.cues, found.speakers) == (2, 160, 2)
    assert read_parts(talk)[1].form == "play"
