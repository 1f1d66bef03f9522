"""From scripts to word ids: splits that share no line, vocabularies, and the streams that are trained on."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.configs import CONFIGS
from model.corpus import CorpusError, check_size, read_corpus, read_splits, training_batches
from model.scripts import Line, Scene, flatten, read_script
from model.splits import count_tokens, drop_seen, split_scenes
from model.textfiles import decode
from tests import corpora
from tests.model.recipes import TINY

# Few words and speakers, so that lines come again in other scenes.
LINES = st.builds(
    Line,
    st.sampled_from([(), ("anna",), ("boris",)]),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple),
)
SCENES = st.lists(st.lists(LINES, min_size=1, max_size=6), min_size=1, max_size=30)


def drawn(scenes: list[Scene], seed: int) -> list[list[Line]]:
    return [[line for scene in part for line in scene] for part in drop_seen(split_scenes(scenes, seed))]


@given(scenes=SCENES, seed=st.integers(0, 5))
def test_a_split_never_leaks(scenes: list[Scene], seed: int) -> None:
    parts = drop_seen(split_scenes(scenes, seed))
    before = set[tuple[str, ...]]()
    for part in parts:
        words = {line.tokens for scene in part for line in scene}
        assert not before & words
        before |= words
        # Lines stay in their order, and those who say them are those who said them.
        for whole, kept in zip(scenes, part, strict=True):
            turns = list(zip([line.tokens for line in whole], speakers(whole), strict=True))
            rest = iter(turns)
            assert all(turn in rest for turn in zip([line.tokens for line in kept], speakers(kept), strict=True))


def speakers(lines: Scene) -> list[tuple[str, ...]]:
    """Who says each line."""
    speaker: tuple[str, ...] = ()
    return [speaker := line.speaker or speaker for line in lines]


def made_up(scenes: int, lines: int, words: int) -> list[Scene]:
    random = np.random.default_rng(scenes * lines)
    return [
        [
            Line(("anna",), tuple(map(str, random.integers(0, 10**6, int(random.integers(1, 2 * words))))))
            for _ in range(lines)
        ]
        for _ in range(scenes)
    ]


@pytest.mark.parametrize(
    ("scenes", "lines", "words"),
    [(1, 40, 8), (1, 300, 8), (1, 9000, 6), (3, 1500, 7), (12, 60, 8), (60, 100, 8), (700, 30, 9)],
)
def test_nine_tenths_are_trained_on_whatever_scenes_there_are(scenes: int, lines: int, words: int) -> None:
    script = made_up(scenes, lines, words)
    for seed in range(3):
        sizes = np.array([count_tokens(part) for part in drawn(script, seed)])
        shares = sizes / sizes.sum()
        few = 0.015 if scenes * lines < 100 else 0
        assert abs(shares - [0.9, 0.05, 0.05]).max() < 0.01 + few
        assert sizes.sum() > 0.9 * count_tokens(line for scene in script for line in scene)


def test_blocks_of_a_scene_have_a_gap_between_them() -> None:
    (scene,) = script = made_up(1, 2000, 6)
    parts = split_scenes(script, seed=1)
    place = {line.tokens: number for number, part in enumerate(parts) for line in part[0]}
    places = [place.get(line.tokens) for line in scene]
    assert None in places
    assert not [(a, b) for a, b in itertools.pairwise(places) if None not in (a, b) and a != b]


def test_whole_scenes_are_held_out_where_they_are_small() -> None:
    script = made_up(200, 10, 6)
    for part in split_scenes(script, seed=1):
        assert all(not kept or kept == scene for kept, scene in zip(part, script, strict=True))


def test_the_same_scene_or_file_is_held_out_in_all_places() -> None:
    script = made_up(100, 10, 6)
    parts = split_scenes([*script, *script], seed=1)
    for part in parts[1:]:
        assert [bool(scene) for scene in part[:100]] == [bool(scene) for scene in part[100:]] or not any(part[100:])
    assert not {line.tokens for line in drawn([*script, *script], 1)[0]} & {
        line.tokens for line in drawn([*script, *script], 1)[2]
    }


def test_scenes_keep_their_split_when_a_play_is_added() -> None:
    plays = [read_script(corpora.play(number)).scenes for number in range(25)]
    few, many = ([scene for play in part for scene in play] for part in (plays[:24], plays[24:] + plays[:24]))
    added = len(plays[24])
    before, after = split_scenes(few, seed=1), split_scenes(many, seed=1)
    moved = [n for n in range(len(few)) for k in range(3) if bool(before[k][n]) != bool(after[k][n + added])]
    assert len(few) > 60
    assert len(moved) <= 4
    assert split_scenes(few, seed=2) != before


def test_the_scenes_that_are_held_out_keep_the_lines_that_training_has(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text(corpora.play(number))
    corpus = read_corpus(tmp_path, seed=1)
    whole, test = ([corpus.words[id] for id in ids] for ids in (corpus.held_out, corpus.test))
    kept = iter(whole)
    assert all(token in kept for token in test)
    assert "enter" not in test  # all enter in training
    assert whole.count("<open-exp>") == whole.count("enter") == whole.count("<open-scene>") > 0


def test_the_training_text_knows_its_files(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(corpora.play(number))
    corpus = read_corpus(tmp_path, seed=1)
    assert [name for name, _ in corpus.sources] == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert sum(size for _, size in corpus.sources) == len(corpus.train)
    begin = 0
    for name, size in corpus.sources:
        here = {corpus.words[id] for id in corpus.train[begin : begin + size]} - {"<unk>"}
        assert here <= {
            token for scene in read_script((tmp_path / name).read_text()).scenes for token in flatten(scene)
        }
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
    with pytest.raises(CorpusError, match=r"too small for the small model: .* give it more text"):
        check_size(read_corpus(tmp_path, seed=1), CONFIGS["small"], 21)
    with pytest.raises(CorpusError, match="nowhere does not exist"):
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
    scenes = [scene for path in sorted(tmp_path.iterdir()) for scene in read_script(path.read_text()).scenes]
    texts = [list(flatten(part)) for part in drawn(scenes, seed=1)]
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
    check_size(corpus, TINY, 1)
    short = {
        (least - 1, 2, 2): (corpus._replace(train=corpus.train[: least - 1]), "choose a smaller model"),
        (least, 1, 2): (corpus._replace(valid=corpus.valid[:1]), "the same lines again and again"),
        (least, 2, 1): (corpus._replace(test=corpus.test[:1]), "the same lines again and again"),
    }
    for (train, valid, test), (cut, remedy) in short.items():
        told = f"the tiny model: {train} tokens to train on, {valid} for valid and {test} for test, .*{remedy}"
        with pytest.raises(CorpusError, match=told):
            check_size(cut, TINY, 1)


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("a/train.csv", "a/dev.csv", "a/test.csv"),
    ],
)
def test_files_named_for_splits_keep_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "a").mkdir()
    for name in names:
        word = name.split("/")[-1].split(".")[-2]
        rows = [f"anna,the {word} comes {number}" for number in range(9)]
        (tmp_path / name).write_text("\n".join(["name,line", *rows] if name.endswith("csv") else rows) + "\n")
    splits = read_splits(tmp_path, seed=1)
    for name, part in zip(names, splits.parts, strict=True):
        word = name.split("/")[-1].split(".")[-2]
        assert part and all(word in line.tokens for line in part if "<open-scene>" not in line.tokens)


@pytest.mark.parametrize(
    ("names", "missing"), [(["ptb.train.txt"], "ptb.valid.txt"), (["train.txt", "test.txt"], "valid.txt")]
)
def test_a_split_that_is_missing_is_named(tmp_path: Path, names: list[str], missing: str) -> None:
    for name in names:
        (tmp_path / name).write_text("a b c\n")
    with pytest.raises(CorpusError, match=f"{names[0]} has no {missing} .*beside it"):
        read_splits(tmp_path, seed=1)


def test_what_is_unknown_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"ANNA: Word{n} word{n + 1000} again.\n" for n in range(300)))
    corpus = read_corpus(tmp_path, seed=1)
    for name, ids in zip(("train", "valid", "test"), corpus[:3], strict=True):
        share = sum(corpus.words[number] == "<unk>" for number in ids) / len(ids)
        assert corpus.summary.unknown[name] == pytest.approx(share) and share > 0.2
    assert any(line.startswith("Warning: so many unknown words") for line in corpus.summary.log_lines())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "cp1251"])
def test_texts_are_read_in_their_encoding(tmp_path: Path, encoding: str) -> None:
    text = (
        "ИВАН: Где Мария? Она здесь, в доме.\n"
        if encoding == "cp1251"
        else "ÉLISE: Où est le café? Là-bas, tout près.\n"
    )
    (tmp_path / "a.txt").write_bytes((text * 30).encode(encoding))
    splits = read_splits(tmp_path, seed=1)
    word = "здесь" if encoding == "cp1251" else "café"
    assert any(word in line.tokens for line in splits.parts[0])
    assert next(iter(splits.summary.files)).encoding == encoding.removesuffix("-sig")


@given(strays=st.integers(1, 5), place=st.integers(0, 20))
def test_some_bytes_of_another_encoding_do_not_spoil_a_text(strays: int, place: int) -> None:
    rows = ["ÉLISE: Où est le café?\n".encode()] * 20
    rows[place:place] = ["BÉA: Là-bas.\n".encode("cp1252")] * strays
    text, encoding = decode(b"".join(rows))
    assert encoding == "utf-8"
    assert (text.count("ÉLISE: Où est le café?\n"), text.count("BÉA: Là-bas.\n")) == (20, strays)


def test_files_are_called_as_they_were_before_they_were_committed(tmp_path: Path) -> None:
    names = {
        "%C3%89pisode (1).txt": "Épisode (1).txt",
        "50%25.txt": "50%.txt",
        "a%0Ab.txt": "a%0Ab.txt",
        "c%.txt": "c%.txt",
    }
    for name in names:
        (tmp_path / name).write_text("ANNA: Hello.\n")
    assert {file.name for file in read_splits(tmp_path, seed=1).summary.files} == set(names.values())


def test_what_a_corpus_has_for_unknown_words_is_one_token() -> None:
    (line,) = read_script("Senjō no <unk> 3 , the <unk>.").scenes[0]
    assert line.tokens == ("senjō", "no", "<unk>", "3", ",", "the", "<unk>", "<eos>")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(CorpusError, match=r"x\.bin can't be read: it is not"):
        read_splits(tmp_path, seed=1)
