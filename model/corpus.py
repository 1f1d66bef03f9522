"""From a folder of scripts to three splits of word ids."""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from model.configs import Config
from model.readers import UnreadableError
from model.scripts import Line, Script, flatten, read_script
from model.splits import count_tokens, drop_seen, split_scenes
from model.style import Style, StyleLearner
from model.summary import File, Summary
from model.textfiles import NotTextError, read_text
from model.tokens import EOS, OPEN_SCENE, UNKNOWN

SPLITS = ("train", "valid", "test")
# What files of given splits may be called, `valid` in more ways than one.
_GIVEN = re.compile(r"(?:^|[._-])(train|training|valid|val|validation|dev|test|eval)(?=[._-])", re.IGNORECASE)
_SPLIT_OF = {"train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2, "eval": 2}
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
    style: Style | None = None  # None: the classic tokens, which are written as they are
    summary: Summary = Summary()
    held_out: Ids = np.zeros(0, np.int32)  # test with the lines that training has seen, too: its scenes as they are


class Splits(NamedTuple):
    """Train, valid and test lines; test with those that were seen before, too; how often train must have a word of the
    vocabulary; and what Corpus has of both."""

    parts: list[list[Line]]
    held_out: list[Line]
    least_count: int
    sources: Sequence[tuple[str, int]]
    style: Style | None
    summary: Summary


def read_corpus(
    folder: Path, seed: int, size: int | None = None, earlier: Sequence[str] = (), form: str | None = None
) -> Corpus:
    """The splits of `read_splits` as word ids. Words that scripts have once are `<unk>`; those of `ptb.*.txt` are all kept,
    in whichever split they are, as in the classic example.

    With a `size` the vocabulary has only so many words, the most frequent and `<unk>`. The words of an `earlier` vocabulary
    keep their ids and others follow.

    Raises:
        CorpusError: there is no text, or a file that is none.
    """
    with _uncollected():
        splits = read_splits(folder, seed, form)
        texts = [list(flatten(part)) for part in splits.parts]
        corpus = _number(texts, splits.least_count, size, earlier)
    unknown = corpus.words.index(UNKNOWN) if UNKNOWN in corpus.words else -1
    shares = {
        name: float((ids == unknown).mean()) if len(ids) else 0.0 for name, ids in zip(SPLITS, corpus[:3], strict=True)
    }
    ids = {word: number for number, word in enumerate(corpus.words)}
    return corpus._replace(
        sources=splits.sources,
        style=splits.style,
        summary=splits.summary._replace(unknown=shares),
        held_out=np.array([ids.get(word, unknown) for word in flatten(splits.held_out)], np.int32),
    )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles, which goes again and again through millions of tokens that have none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read_splits(folder: Path, seed: int, form: str | None = None) -> Splits:
    """The splits that files are named for, as `ptb.{train,valid,test}.txt` are, or else 90, 5 and 5 % of the scripts.

    Raises:
        CorpusError: there is no text, or a file that is none.
    """
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise CorpusError(f"{folder} {problem}: name a folder that holds scripts")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    given = _find_given(folder, files)
    if given and given[0].name.startswith("ptb."):
        parts = [_read_tokens(path) for path in given]
        return Splits(parts, parts[2], 0, [(given[0].name, count_tokens(parts[0]))], None, Summary())
    names, scripts, described = [], list[Script](), list[File]()
    learner = StyleLearner()
    for path in given or files:
        name = _name(path, folder)
        script, encoding = _read_script(path, name, form)
        names.append(name)
        scripts.append(script)
        described.append(File(name, encoding, script.found))
        learner.add(script.parts, script.found.form)
    if not any(script.scenes for script in scripts):
        raise CorpusError(f"{folder} holds no text to train on: commit scripts to it first")
    summary = Summary(tuple(described), sum(count_tokens(scene) for script in scripts for scene in script.scenes))
    owners = [name for name, script in zip(names, scripts, strict=True) for _ in script.scenes]
    if given:
        by_split = whole = [script.scenes for script in scripts]
    else:
        whole = split_scenes([scene for script in scripts for scene in script.scenes], seed)
        by_split = drop_seen(whole)
    sources = Counter[str]()
    for name, scene in zip(owners, by_split[0], strict=False):
        if size := count_tokens(scene):
            sources[name] += size
    lines = [[line for scene in part for line in scene] for part in (*by_split, whole[2])]
    return Splits(lines[:3], lines[3], RARE, list(sources.items()), learner.style(), summary)


def _name(path: Path, folder: Path) -> str:
    """What a file was called before it was committed: Pachyderm's paths are ASCII, and what is not is written as in URLs."""
    committed = path.relative_to(folder).as_posix()
    name = unquote(committed)
    return name if name.isprintable() else committed


def _read_script(path: Path, name: str, form: str | None) -> tuple[Script, str]:
    try:
        text, encoding = read_text(path)
        return read_script(text, form), encoding
    except (NotTextError, UnreadableError) as error:
        raise CorpusError(f"{name} can't be read: {error}; mend it or leave it out") from error


def _find_given(folder: Path, files: Sequence[Path]) -> list[Path]:
    """The files of the three splits, if there are files that are named for them."""
    sets: dict[tuple[Path, str], dict[int, Path]] = {}
    for path in files:
        if found := _GIVEN.search(path.name):
            others = (path.parent, path.name[: found.start(1)] + path.name[found.end(1) :])
            sets.setdefault(others, {})[_SPLIT_OF[found[1].lower()]] = path
    whole = [splits for splits in sets.values() if len(splits) == 3]
    if len(whole) > 1:
        places = " and ".join(sorted(splits[0].relative_to(folder).as_posix() for splits in whole)[:2])
        raise CorpusError(f"{folder} has more than one train, valid and test: leave all but one of {places} out")
    if whole:
        return [whole[0][split] for split in range(3)]
    for splits in sets.values():
        classic = splits[min(splits)].name.startswith("ptb.")
        if 0 in splits and (classic or len(splits) == 2):
            missing = " and no ".join(
                splits[0].name.replace("train", SPLITS[n], 1) for n in range(3) if n not in splits
            )
            raise CorpusError(f"{splits[0].name} has no {missing} beside it: add it, or give the file another name")
    return []


def _read_tokens(path: Path) -> list[Line]:
    try:
        *lines, rest = read_text(path)[0].split("\n")
    except NotTextError as error:
        raise CorpusError(f"{path.name} can't be read: {error}") from error
    tokens = [(*line.split(), EOS) for line in lines] + [tuple(rest.split())]
    return [Line((), line) for line in tokens if line]


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


def check_size(corpus: Corpus, config: Config, smallest: int) -> None:
    """Raises CorpusError where a split is too short for a config; the smallest config needs `smallest` tokens to train on."""
    train, valid, test = (len(ids) for ids in corpus[:3])
    need = config.batch * config.steps + 1
    if train >= need and min(valid, test) >= 2:
        return
    if train < need and train >= smallest:
        remedy = "choose a smaller model, or give it more text"
    elif min(valid, test) < 2 and train >= need:
        remedy = "its text says the same lines again and again, or has fewer than three: give it more text"
    else:
        remedy = "give it more text: a few hundred words are enough for the test model"
    raise CorpusError(
        f"the corpus is too small for the {config.name} model: {train} tokens to train on, {valid} for valid and {test} for "
        f"test, where {need}, 2 and 2 are needed; {remedy}"
    )


def has_scenes(words: Sequence[str]) -> bool:
    """Whether scripts of this vocabulary mark where scenes begin."""
    return OPEN_SCENE in words


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
