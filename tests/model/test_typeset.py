"""Tokens as scripts: as readers, Fountain's rules and JSON see them."""

from __future__ import annotations

import json
import re

import pytest

from model.formats import format_fountain, format_json, format_text
from model.style import Style
from model.typeset import read_scenes

STYLE = Style({"anna": "Anna", "boris": "Boris", "i": "I", "i'll": "I'll"})
PLAY = """<open-scene> a room in the castle <eos> <close-scene> <open-exp> enter anna and boris <eos> <close-exp>
<boname> anna <eoname> o bread <exclamation> who's there , i ask <question> i' the <ellipsis> dark
<boname> first lord <eoname> <open-exp> aside <eos> <close-exp> sir , -- a thief <eos> 'tis so <eos> i'll go <eos> <open-exp> exit boris ,
singing <eos> <close-exp> no ! <open-exp> exeunt <eos> <close-exp> <open-scene> another room <eos> <close-scene>
<boname> anna <eoname> " come , " he said <eos>"""

CAMERA = """<open-exp> EXT <eos> HARDHOME - SHORE <close-exp> <eos> <open-exp> The ships dock at Hardhome <eos> Jon
gets out <eos> <close-exp> <eos> <boname> EDDARD_STARK <eoname> <open-brack> laughs <close-brack> That 's the kings ' gold : 40 , 000
<eos> <eos> <boname> KARSI <eoname> If<ellipsis> <question> <eos> <boname> JORAH <eoname> I don 't <eos> <eos> <eos>
(She sits) And "Go , " I say <exclamation> <eos> <boname> SAM <eoname> But-- <eos> <open-exp> - - - - - <close-exp>
<eos> <open-exp> Her <boquote>wound<eoquote> <eos> <close-exp> <eos> <boname> OLD_NAN <eoname> Crows <eos> <eos>"""


def test_a_play_is_typed_as_a_play() -> None:
    assert format_text(read_scenes(PLAY.split(), STYLE)) == (
        "SCENE 1. A room in the castle.\n\n[Enter Anna and Boris.]\n\n"
        "ANNA\nO bread! Who's there, I ask? I' the... dark\n\n"
        "FIRST LORD\n[Aside.] Sir,--a thief. 'Tis so. I'll go.\n\n[Exit Boris, singing.]\n\nNo!\n\n[Exeunt.]\n\n"
        'SCENE 2. Another room.\n\nANNA\n"Come," he said.\n'
    )


def test_the_classic_tokens_keep_their_case() -> None:
    assert format_text(read_scenes(CAMERA.split())) == (
        "EXT. HARDHOME - SHORE\n\n[The ships dock at Hardhome. Jon gets out.]\n\n"
        "EDDARD STARK\n[Laughs] That's the kings' gold: 40,000.\n\nKARSI\nIf...?\n\n"
        'JORAH\nI don\'t... (She sits) And "Go," I say!\n\nSAM\nBut--\n\n* * *\n\n'
        "[Her “wound”.]\n\nOLD NAN\nCrows.\n"
    )


def test_what_is_not_well_formed_loses_its_marks_and_no_words() -> None:
    noise = "<eoname> mere <boname> noise <boname> anna <open-exp> she <close-exp> <open-exp> falls <boname>"
    text = format_text(read_scenes(noise.split()))
    assert set(re.findall(r"\w+", text.lower())) == {"mere", "noise", "anna", "she", "falls"}
    assert format_text(read_scenes([])) == "\n"
    prose = "the sea was calm <eos> nobody spoke <eos>"
    assert format_text(read_scenes(prose.split())) == "The sea was calm. Nobody spoke.\n"


def test_lines_are_wrapped() -> None:
    tokens = ["<boname>", "anna", "<eoname>", *["bread"] * 100, "<eos>"]
    assert max(map(len, format_text(read_scenes(tokens)).splitlines())) <= 72


def fountain_elements(text: str) -> list[tuple[str, str]]:
    """A reader of Fountain 1.1, after https://fountain.io/syntax: headings, characters, dialogue, and action."""
    found = []
    title, _, body = text.partition("\n\n")
    assert re.fullmatch(r"Title: .+", title)
    for block in re.split(r"\n{2,}", body.strip("\n")):
        first, *rest = block.split("\n")
        if re.match(r"\.[^\W_]", first) or re.match(r"(INT|EXT|EST|INT\./EXT|INT/EXT|I/E)[. ]", first, re.IGNORECASE):
            assert not rest
            found.append(("heading", first.removeprefix(".")))
        elif rest and (first.startswith("@") or (first == first.upper() and re.search("[A-Z]", first))):
            found.append(("character", first.removeprefix("@")))
            for line in rest:
                found.append(("parenthetical" if re.fullmatch(r"\(.*\)", line) else "dialogue", line))
        elif first.startswith(">") or re.fullmatch(r"[A-Z ]+ TO:", first):
            found.append(("transition", first))
        else:
            found.append(("action", block.removeprefix("!")))
    return found


def test_fountain_reads_every_element_as_what_it_is() -> None:
    assert fountain_elements(format_fountain(read_scenes(PLAY.split(), STYLE), "A Play")) == [
        ("heading", "A ROOM IN THE CASTLE."),
        ("action", "Enter Anna and Boris."),
        ("character", "ANNA"),
        ("dialogue", "O bread! Who's there, I ask? I' the... dark"),
        ("character", "FIRST LORD"),
        ("parenthetical", "(Aside.)"),
        ("dialogue", "Sir,--a thief. 'Tis so. I'll go."),
        ("action", "Exit Boris, singing."),
        ("character", "FIRST LORD (CONT'D)"),
        ("dialogue", "No!"),
        ("action", "Exeunt."),
        ("heading", "ANOTHER ROOM."),
        ("character", "ANNA"),
        ("dialogue", '"Come," he said.'),
    ]
    kinds = [kind for kind, _ in fountain_elements(format_fountain(read_scenes(CAMERA.split()), "A Film"))]
    assert kinds.count("character") == 5
    assert kinds.count("heading") == 2


@pytest.mark.parametrize(
    "words", ["EST castle", "FADE TO :", ". dots", "@ home", "> right", "~ la la", "# one", "NOW !"]
)
def test_fountain_s_own_signs_do_not_change_what_a_line_is(words: str) -> None:
    tokens = ["<boname>", "9", "<eoname>", "no", "<open-exp>", "enter", *words.split(), "<close-exp>"]
    spoiled = [*tokens, "<open-exp>", *words.split(), *["then"] * 7, "<close-exp>", "* all * of [[ it ]]"]
    elements = fountain_elements(format_fountain(read_scenes(spoiled), "A Play"))
    assert [kind for kind, _ in elements] == ["character", "dialogue", "action", "action", "character", "dialogue"]
    assert "[[" not in elements[-1][1] and r"\*" in elements[-1][1]


def test_json_holds_the_same() -> None:
    scenes = json.loads(format_json(read_scenes(PLAY.split(), STYLE)))["scenes"]
    assert [scene["heading"] for scene in scenes] == ["A room in the castle.", "Another room."]
    assert scenes[0]["elements"][2:5] == [
        {
            "speaker": "FIRST LORD",
            "continued": False,
            "parts": [{"direction": "Aside."}, {"text": "Sir,--a thief. 'Tis so. I'll go."}],
        },
        {"direction": "Exit Boris, singing."},
        {"speaker": "FIRST LORD", "continued": True, "parts": [{"text": "No!"}]},
    ]
