"""Scripts as tokens and back; splits and vocabularies."""

from __future__ import annotations

from model.scripts import flatten, read_script
from model.style import StyleLearner

PLAY = """THE BAKERS

by Nobody

DRAMATIS PERSONAE

ANNA, a baker

ACT I.

SCENE I. A kitchen.

[Enter Anna, singing.]

ANNA.
O bread! Who's there?
I hear... someone, [aside] a thief.

BORIS. 'Tis me.

[Exeunt.]
"""


def tokens(text: str) -> list[str]:
    return [token for scene in read_script(text).scenes for token in flatten(scene)]


def test_a_play_becomes_tokens_without_its_editorial_text() -> None:
    assert tokens(PLAY) == [
        "<open-scene>",
        "a",
        "kitchen",
        "<eos>",
        "<close-scene>",
        "<open-exp>",
        "enter",
        "anna",
        ",",
        "singing",
        "<eos>",
        "<close-exp>",
        "<boname>",
        "anna",
        "<eoname>",
        "o",
        "bread",
        "<exclamation>",
        "who's",
        "there",
        "<question>",
        "<eol>",
        "i",
        "hear",
        "<ellipsis>",
        "someone",
        ",",
        "<open-exp>",
        "aside",
        "<close-exp>",
        "a",
        "thief",
        "<eos>",
        "<boname>",
        "boris",
        "<eoname>",
        "'tis",
        "me",
        "<eos>",
        "<open-exp>",
        "exeunt",
        "<eos>",
        "<close-exp>",
    ]


def test_a_licence_and_names_with_colons() -> None:
    text = (
        "Free eBook\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\nAnna: Hello there.\n\nBoris: Good day!\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK X ***\nlegal words"
    )
    assert tokens(text) == [
        "<boname>",
        "anna",
        "<eoname>",
        "hello",
        "there",
        "<eos>",
        "<boname>",
        "boris",
        "<eoname>",
        "good",
        "day",
        "<exclamation>",
    ]


def test_prose_is_one_scene() -> None:
    assert tokens("The sea was calm. Nobody spoke.\n") == [
        "the",
        "sea",
        "was",
        "calm",
        "<eos>",
        "nobody",
        "spoke",
        "<eos>",
    ]


def test_names_get_their_capitals_back() -> None:
    text = "ANNA.\nWhere is Boris, my lord? The lord of Rome knows Boris's house.\nLord, he\n[Enter BORIS, a Roman lord.]\n"
    script = read_script(text)
    learner = StyleLearner()
    learner.add(script.parts, script.found.form)
    style = learner.style()
    assert style.words == {"anna": "Anna", "boris": "Boris", "boris's": "Boris's", "roman": "Roman", "rome": "Rome"}
    assert style.names == {"anna": "ANNA"}
