"""The training text beside the weights, which a new script needs: where it begins, how words are written, what is copied;
and the scenes that were held out for test, which it is held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.corpus import Corpus, Ids
from model.files import DRAFT, publish, write_text
from model.style import Style

Places = NDArray[np.int64]
IDS, HELD_OUT, ABOUT = "training_text.npy", "held_out_text.npy", "training_text.json"


class TrainingText(NamedTuple):
    """Its word ids, its files with the tokens of each, and how they are written; and the word ids of what was held out."""

    ids: Ids
    sources: list[tuple[str, int]]
    style: Style | None
    held_out: Ids

    def find_source(self, place: int) -> str:
        """The file that the token at a place is from."""
        ends = np.cumsum([size for _, size in self.sources])
        return self.sources[int(np.searchsorted(ends, place, side="right"))][0]


def save(folder: Path, corpus: Corpus) -> None:
    """Writes `training_text.npy`, `held_out_text.npy` and `training_text.json`; same corpus, same bytes."""
    width = np.uint16 if len(corpus.words) <= 1 << 16 else np.uint32
    for name, ids in ((IDS, corpus.train), (HELD_OUT, corpus.held_out)):
        draft = folder / f"{name}{DRAFT}"
        with draft.open("wb") as file:
            np.save(file, ids.astype(width))
        publish(draft, folder / name)
    about = {"sources": list(corpus.sources), "style": corpus.style.as_json() if corpus.style else None}
    write_text(folder / ABOUT, json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path) -> TrainingText | None:
    """Reads what `save` wrote; None where a model was trained without."""
    if not (folder / IDS).is_file():
        return None
    about = json.loads((folder / ABOUT).read_text())
    style = Style.from_json(about["style"]) if about.get("style") else None
    ids = np.load(folder / IDS).astype(np.int32)
    held_out = np.load(folder / HELD_OUT).astype(np.int32) if (folder / HELD_OUT).is_file() else ids[:0]
    return TrainingText(ids, [(name, size) for name, size in about["sources"]], style, held_out)


class Copy(NamedTuple):
    """A run of tokens that stands in two texts: its length, and where it begins in each."""

    length: int
    here: int
    there: int


def find_longest_copy(text: Ids, original: Ids) -> Copy:
    """The longest run of tokens of `text` that stands in `original`, too.

    A run of n tokens holds one of n - 1, so that the length is found by bisection, after steps that double; runs of one
    length are compared by their hashes, and what they name is looked at (Karp and Rabin 1987). A longer run begins only
    where a shorter one does.
    """
    best = Copy(0, 0, 0)
    limit = min(len(text), len(original)) + 1
    places = np.arange(len(original))
    hashes = [_Hashes(ids) for ids in (text, original)]
    while limit - best.length > 1:
        length = min(2 * best.length + 3, (best.length + limit) // 2)
        found = _find_copies(length, text, original, places, *hashes)
        if found:
            best, places = found
        else:
            limit = length
    return best


class _Hashes:
    """Hashes of all runs of a length, from prefix sums of random values times the powers of an odd base, modulo 2^64."""

    BASE, INVERSE = 0x9E3779B97F4A7C15, pow(0x9E3779B97F4A7C15, -1, 1 << 64)

    def __init__(self, ids: Ids) -> None:
        values = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
        values ^= values >> np.uint64(31)
        self._sums = np.append(np.uint64(0), np.cumsum(values * _list_powers(self.BASE, len(ids)), dtype=np.uint64))
        self._scale = _list_powers(self.INVERSE, len(ids))

    def of(self, length: int) -> NDArray[np.uint64]:
        runs = len(self._sums) - length
        hashes: NDArray[np.uint64] = (self._sums[length:] - self._sums[:runs]) * self._scale[:runs]
        return hashes


def _list_powers(base: int, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _find_copies(
    length: int, text: Ids, original: Ids, places: Places, text_hashes: _Hashes, original_hashes: _Hashes
) -> tuple[Copy, Places] | None:
    """A run of a length, among those that begin at some places of `original`, and the places of all that may be such."""
    own = text_hashes.of(length)
    order = np.argsort(own, kind="stable")
    places = places[places + length <= len(original)]
    others = original_hashes.of(length)[places]
    found = np.minimum(np.searchsorted(own[order], others), len(order) - 1)
    same = np.flatnonzero(own[order][found] == others)
    for n in same:
        here, there = int(order[found[n]]), int(places[n])
        if (text[here : here + length] == original[there : there + length]).all():
            return Copy(length, here, there), places[same]
    return None
