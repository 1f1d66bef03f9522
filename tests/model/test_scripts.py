"""Scripts as tokens and back; splits and vocabularies."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.configs import CONFIGS
from model.corpus import CorpusError, check_size, draw_scenes, read_corpus, split_scenes, training_batches
from model.scripts import find_capitals, flatten, read_script
from tests import corpora

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
    return [token for scene in read_script(text) for token in flatten(scene)]


def test_a_play_becomes_tokens_without_its_editorial_text() -> None:
    assert tokens(PLAY) == [
        "<open-exp>",
        "a",
        "kitchen",
        "<eos>",
        "<close-exp>",
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
    assert find_capitals([text]) == {"boris": "Boris", "boris's": "Boris's", "roman": "Roman", "rome": "Rome"}


def test_no_line_of_test_stands_in_train() -> None:
    scenes = [scene for number in range(6) for scene in read_script(corpora.play(number))]
    train, valid, test = split_scenes(scenes, draw_scenes(scenes, seed=3))
    seen = {line.tokens for line in train}
    assert valid and test
    assert not seen & {line.tokens for line in valid}
    assert not (seen | {line.tokens for line in valid}) & {line.tokens for line in test}
    assert split_scenes(scenes, draw_scenes(scenes, seed=3)) == [train, valid, test]
    assert split_scenes(scenes, draw_scenes(scenes, seed=4)) != [train, valid, test]


def test_scenes_keep_their_split_when_a_play_is_added() -> None:
    plays = [list(read_script(corpora.play(number))) for number in range(25)]
    few, many = ([scene for play in part for scene in play] for part in (plays[:24], plays[24:] + plays[:24]))
    added = len(plays[24])
    split = {number: k for k, numbers in enumerate(draw_scenes(many, seed=1)) for number in numbers}
    moved = [n for k, numbers in enumerate(draw_scenes(few, seed=1)) for n in numbers if split[n + added] != k]
    assert len(few) > 60
    assert len(moved) <= 2


def test_the_training_text_knows_its_files(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(corpora.play(number))
    corpus = read_corpus(tmp_path, seed=1)
    assert [name for name, _ in corpus.sources] == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert sum(size for _, size in corpus.sources) == len(corpus.train)
    begin = 0
    for name, size in corpus.sources:
        here = {corpus.words[id] for id in corpus.train[begin : begin + size]} - {"<unk>"}
        assert here <= set(tokens((tmp_path / name).read_text()))
        begin += size


def test_training_batches_are_streams_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(corpora.play(1) * 1)
    corpus = read_corpus(tmp_path, seed=1)
    config = CONFIGS["test"]
    x, y = training_batches(corpus.train, config)
    assert x.shape == y.shape == (len(x), config.steps, config.batch)
    length = len(corpus.train) // config.batch
    for stream in range(config.batch):
        text = corpus.train[stream * length : (stream + 1) * length]
        assert x[:, :, stream].reshape(-1).tolist() == text[: x.shape[0] * config.steps].tolist()
        assert y[:, :, stream].reshape(-1).tolist() == text[1 : x.shape[0] * config.steps + 1].tolist()


def test_the_classic_files_are_used_as_they_stand(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text(f"<boname> anna <eoname> {split} words\n")
    corpus = read_corpus(tmp_path, seed=1)
    assert [corpus.words[id] for id in corpus.train] == ["<boname>", "anna", "<eoname>", "train", "words", "<eos>"]
    assert [corpus.words[id] for id in corpus.test] == ["<boname>", "anna", "<eoname>", "test", "words", "<eos>"]
    cut = read_corpus(tmp_path, seed=1, size=5)
    assert len(cut.words) == 5
    assert [cut.words[id] for id in cut.test][3] == "<unk>"


def test_a_corpus_that_is_too_small_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ANNA.\nNo.\n")
    with pytest.raises(CorpusError, match="too small for the small model"):
        check_size(read_corpus(tmp_path, seed=1), CONFIGS["small"])
    with pytest.raises(CorpusError, match="no text"):
        read_corpus(tmp_path / "nowhere", seed=1)
