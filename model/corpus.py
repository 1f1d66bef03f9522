"""From a folder of scripts to three splits of word ids."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.configs import Config
from model.scripts import EOS, UNKNOWN, Line, Scene, find_capitals, flatten, read_script

SPLITS = ("train", "valid", "test")
HELD_OUT = 0.05  # share of the tokens in each of valid and test
RARE = 2  # a word seen less often in training is <unk>
Ids = NDArray[np.int32]


class CorpusError(Exception):
    """The data can't be trained on."""


class Corpus(NamedTuple):
    """Word ids of each split, the word of each id, and what a new script needs of the scripts."""

    train: Ids
    valid: Ids
    test: Ids
    words: list[str]
    sources: Sequence[tuple[str, int]] = ()  # the files that train is put together from, and the tokens of each
    capitals: Mapping[str, str] = MappingProxyType({})  # how words that are read in lower case are written


class Splits(NamedTuple):
    """Train, valid and test lines; how often train must have a word of the vocabulary; and what Corpus has of both."""

    parts: list[list[Line]]
    least_count: int
    sources: Sequence[tuple[str, int]]
    capitals: Mapping[str, str]


def read_corpus(folder: Path, seed: int, size: int | None = None, earlier: Sequence[str] = ()) -> Corpus:
    """The splits of `read_splits` as word ids. Words that scripts have once are `<unk>`; those of `ptb.*.txt` are all kept,
    in whichever split they are, as in the classic example.

    With a `size` the vocabulary has only so many words, the most frequent and `<unk>`. The words of an `earlier` vocabulary
    keep their ids and others follow.

    Raises:
        CorpusError: there is no text.
    """
    splits = read_splits(folder, seed)
    corpus = _number([list(flatten(part)) for part in splits.parts], splits.least_count, size, earlier)
    return corpus._replace(sources=splits.sources, capitals=splits.capitals)


def read_splits(folder: Path, seed: int) -> Splits:
    """Reads `ptb.{train,valid,test}.txt` as they stand, or else splits the scripts in `folder` by whole scenes.

    Raises:
        CorpusError: there is no text.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    classic = {path.name: path for path in files if path.name.startswith("ptb.")}
    if all(f"ptb.{split}.txt" in classic for split in SPLITS):
        parts = [_read_tokens(classic[f"ptb.{split}.txt"]) for split in SPLITS]
        return Splits(parts, 0, [("ptb.train.txt", _count_tokens(parts[0]))], {})
    texts = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8-sig") for path in files}
    owned = [(name, scene) for name, text in texts.items() for scene in read_script(text)]
    if not owned:
        raise CorpusError(f"{folder} holds no text to train on: commit scripts to it first")
    scenes = [scene for _, scene in owned]
    drawn = draw_scenes(scenes, seed)
    sources = Counter[str]()
    for number in drawn[0]:
        sources[owned[number][0]] += _count_tokens(scenes[number])
    return Splits(split_scenes(scenes, drawn), RARE, list(sources.items()), find_capitals(texts.values()))


def _count_tokens(lines: list[Line]) -> int:
    return sum(1 for _ in flatten(lines))


def _read_tokens(path: Path) -> list[Line]:
    *lines, rest = path.read_text(encoding="utf-8-sig").split("\n")
    tokens = [(*line.split(), EOS) for line in lines] + [tuple(rest.split())]
    return [Line((), line) for line in tokens if line]


def split_scenes(scenes: list[Scene], drawn: list[list[int]]) -> list[list[Line]]:
    """Train, valid and test lines: whole scenes, by the numbers that `draw_scenes` gave.

    A line that stands in train is left out of valid and test, and one that stands in valid out of test, so that no
    line of them has been seen before; a speaker's name goes on with what is left of the speech.
    """
    parts = [[line for number in numbers for line in scenes[number]] for numbers in drawn]
    seen: set[tuple[str, ...]] = set()
    for place, part in enumerate(parts):
        if place:
            parts[place] = _drop_seen(part, seen)
        seen.update(line.tokens for line in part)
    return parts


def draw_scenes(scenes: list[Scene], seed: int) -> list[list[int]]:
    """The numbers of the scenes in train, valid and test.

    Scenes are put into an order by a hash of `seed` and their text. Test is taken from its beginning and valid from its
    end, so that scenes keep their split when others are added, but for the few next to where the split ends.
    """
    order = sorted(range(len(scenes)), key=lambda number: _hash_scene(scenes[number], seed))
    sizes = [sum(len(line.tokens) for line in scene) for scene in scenes]
    quota = HELD_OUT * sum(sizes)
    ends: list[list[int]] = []
    for place in (0, -1):
        chosen: list[int] = []
        while len(scenes) > 2 and sum(sizes[number] for number in chosen) < quota:
            chosen.append(order.pop(place))
        ends.append(chosen)
    test, valid = ends
    return [sorted(numbers) for numbers in (order, valid, test)]


def _hash_scene(scene: Scene, seed: int) -> bytes:
    return hashlib.sha256(repr((seed, [line.tokens for line in scene])).encode()).digest()


def _drop_seen(lines: Iterable[Line], seen: set[tuple[str, ...]]) -> list[Line]:
    kept = []
    speaker: tuple[str, ...] = ()
    for line in lines:
        speaker = line.speaker or speaker
        if line.tokens not in seen:
            kept.append(Line(speaker, line.tokens))
            speaker = ()
    return kept


def _number(texts: list[list[str]], least_count: int, size: int | None, earlier: Sequence[str]) -> Corpus:
    """Ids by falling frequency in training, then by name."""
    counts = Counter(texts[0])
    ranked = sorted(set[str]().union(*texts), key=lambda word: (-counts[word], word))
    kept = {word for word in ranked if counts[word] >= least_count or word == UNKNOWN}
    if size is not None and len(kept) > size:
        kept = set([word for word in ranked if word in kept - {UNKNOWN}][: max(0, size - 1)]) | {UNKNOWN}
    kept.update(earlier)
    if any(word not in kept for text in texts for word in text):
        kept.add(UNKNOWN)
        counts[UNKNOWN] += sum(count for word, count in counts.items() if word not in kept)
    words = [*earlier, *sorted(kept.difference(earlier), key=lambda word: (-counts[word], word))]
    ids = {word: number for number, word in enumerate(words)}
    unknown = ids.get(UNKNOWN, 0)
    arrays = [np.array([ids.get(word, unknown) for word in text], np.int32) for text in texts]
    return Corpus(arrays[0], arrays[1], arrays[2], words)


def check_size(corpus: Corpus, config: Config) -> None:
    """Raises CorpusError where a split is too short for a config."""
    need = config.batch * config.steps + 1
    for split, ids, least in (("train", corpus.train, need), ("valid", corpus.valid, 2), ("test", corpus.test, 2)):
        if len(ids) < least:
            raise CorpusError(
                f"the corpus is too small for the {config.name} model: its {split} split has {len(ids)} tokens and "
                f"{least} are needed; commit more scripts or choose a smaller model"
            )


def training_batches(ids: Ids, config: Config) -> tuple[Ids, Ids]:
    """Inputs and targets as [segments, steps, batch]: the text as `batch` streams read side by side (Zaremba 2014)."""
    length = len(ids) // config.batch
    streams = ids[: length * config.batch].reshape(config.batch, length)
    segments = (length - 1) // config.steps
    span = segments * config.steps
    shape = (config.batch, segments, config.steps)
    x = streams[:, :span].reshape(shape).transpose(1, 2, 0)
    y = streams[:, 1 : span + 1].reshape(shape).transpose(1, 2, 0)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
