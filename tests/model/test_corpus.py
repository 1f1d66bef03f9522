"""From scripts to word ids: splits that share no line, vocabularies, and the streams that are trained on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.configs import CONFIGS
from model.corpus import CorpusError, check_size, draw_scenes, read_corpus, split_scenes, training_batches
from model.scripts import Line, Scene, flatten, read_script
from tests import corpora
from tests.model.recipes import TINY

# Few words and speakers, so that lines come again in other scenes.
LINES = st.builds(
    Line,
    st.sampled_from([(), ("anna",), ("boris",)]),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple),
)
SCENES = st.lists(st.lists(LINES, min_size=1, max_size=6), min_size=1, max_size=30)


@given(scenes=SCENES, seed=st.integers(0, 5))
def test_a_split_never_leaks(scenes: list[Scene], seed: int) -> None:
    drawn = draw_scenes(scenes, seed)
    assert sorted(number for numbers in drawn for number in numbers) == list(range(len(scenes)))
    assert all(numbers == sorted(numbers) for numbers in drawn)
    train, valid, test = ([line for number in numbers for line in scenes[number]] for numbers in drawn)
    parts = split_scenes(scenes, drawn)
    assert parts[0] == train
    before = {line.tokens for line in train}
    for whole, part in ((valid, parts[1]), (test, parts[2])):
        # What is left are the lines that were not seen, all of them, in their order, ...
        assert [line.tokens for line in part] == [line.tokens for line in whole if line.tokens not in before]
        # ... and a name is there for each turn of which something is left.
        turn: tuple[str, ...] = ()
        names = []
        for line in whole:
            turn = line.speaker or turn
            if line.tokens not in before:
                names.append(turn)
                turn = ()
        assert [line.speaker for line in part] == names
        before |= {line.tokens for line in part}


def test_a_twentieth_of_the_tokens_is_held_out_for_valid_and_for_test() -> None:
    scenes = [[Line((), ("a",) * size)] for size in np.random.default_rng(1).integers(1, 9, 1000).tolist()]
    sizes = [sum(len(scenes[number][0].tokens) for number in numbers) for numbers in draw_scenes(scenes, seed=1)]
    for size in sizes[1:]:
        assert 0 <= size - 0.05 * sum(sizes) < 9
    # Two scenes are too few.
    assert [len(numbers) for numbers in draw_scenes(scenes[:2], seed=1)] == [2, 0, 0]
    assert [len(numbers) for numbers in draw_scenes(scenes[:3], seed=1)] == [1, 1, 1]


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
        assert here <= {token for scene in read_script((tmp_path / name).read_text()) for token in flatten(scene)}
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


def write_classic(folder: Path, train: str, valid: str, test: str) -> None:
    for name, content in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"ptb.{name}.txt").write_text(content)


def test_ids_go_by_falling_frequency_in_training_then_by_name(tmp_path: Path) -> None:
    write_classic(tmp_path, "b a b c c b\n", "d d d d a\n", "e\n")
    corpus = read_corpus(tmp_path, seed=1)
    assert corpus.words == ["b", "c", "<eos>", "a", "d", "e"]
    assert corpus.valid.tolist() == [4, 4, 4, 4, 3, 2]
    assert corpus.train.dtype == np.int32
    assert read_corpus(tmp_path, seed=1, size=6).words == corpus.words
    cut = read_corpus(tmp_path, seed=1, size=3)
    # <unk> counts what it stands for: <eos>, a (and d and e, which training does not have).
    assert cut.words == ["b", "<unk>", "c"]
    assert [cut.words[id] for id in cut.train] == ["b", "<unk>", "b", "c", "c", "b", "<unk>"]
    assert read_corpus(tmp_path, seed=1, size=1).words == ["<unk>"]


def test_an_earlier_vocabulary_keeps_its_ids(tmp_path: Path) -> None:
    write_classic(tmp_path, "b a b c c b\n", "d\n", "e\n")
    assert read_corpus(tmp_path, 1, earlier=["z", "c"]).words == ["z", "c", "b", "<eos>", "a", "d", "e"]
    assert read_corpus(tmp_path, 1, size=2, earlier=["z", "c"]).words == ["z", "c", "b", "<unk>"]


def test_words_that_scripts_have_once_in_training_are_unknown(tmp_path: Path) -> None:
    for number in range(4):
        once = f"\nCLARA.\nNobody{number} says this{number} twice{number}.\n"
        (tmp_path / f"{number}.txt").write_text(corpora.play(number) + once)
    corpus = read_corpus(tmp_path, seed=1)
    scenes = [scene for path in sorted(tmp_path.iterdir()) for scene in read_script(path.read_text())]
    lines = split_scenes(scenes, draw_scenes(scenes, seed=1))
    texts = [list(flatten(part)) for part in lines]
    counts = Counter(texts[0])
    assert {word for word in counts if counts[word] == 1}
    for text, ids in zip(texts, corpus[:3], strict=True):
        wanted = [word if counts[word] > 1 else "<unk>" for word in text]
        assert [corpus.words[id] for id in ids] == wanted


def test_the_last_line_of_the_classic_files_may_not_end(tmp_path: Path) -> None:
    write_classic(tmp_path, "a b\n\nc d", "\n", "e\n")
    corpus = read_corpus(tmp_path, seed=1)
    assert [corpus.words[id] for id in corpus.train] == ["a", "b", "<eos>", "<eos>", "c", "d"]
    assert corpus.sources == [("ptb.train.txt", 6)]


@given(length=st.integers(2 * TINY.batch, 200))
def test_every_token_of_a_stream_is_a_target_but_the_first_and_the_last_few(length: int) -> None:
    ids = np.arange(length, dtype=np.int32)
    x, y = training_batches(ids, TINY)
    span = length // TINY.batch
    segments = (span - 1) // TINY.steps
    assert x.shape == y.shape == (segments, TINY.steps, TINY.batch)
    assert (y == x + 1).all()
    for stream in range(TINY.batch):
        assert x[:, :, stream].ravel().tolist() == list(range(stream * span, stream * span + segments * TINY.steps))
    assert x.flags.c_contiguous and y.flags.c_contiguous


def test_how_small_is_too_small(tmp_path: Path) -> None:
    least = TINY.batch * TINY.steps + 1
    write_classic(tmp_path, " ".join(["a"] * (least - 1)) + "\n", "a\n", "a\n")
    corpus = read_corpus(tmp_path, seed=1)
    check_size(corpus, TINY)
    short_splits = {
        ("train", least - 1): corpus._replace(train=corpus.train[: least - 1]),
        ("valid", 1): corpus._replace(valid=corpus.valid[:1]),
        ("test", 1): corpus._replace(test=corpus.test[:1]),
    }
    for (split, size), short in short_splits.items():
        with pytest.raises(
            CorpusError, match=f"the tiny model: its {split} split has {size} tokens and {size + 1} are"
        ):
            check_size(short, TINY)
