"""Train, valid and test: which scenes, or which blocks of a long scene's lines, are held out.

Units are put into an order by a hash of their text and the seed. Test is taken from its beginning and valid from its
end, so that a unit keeps its split when others are added, but for the few next to where a split ends. Where scenes are
small against the corpus, units are scenes; a longer one is cut into blocks of lines, and what stands next to a block that
is held out is left out of all splits. Units with the same text are one.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from model.scripts import Line, Scene
from model.tokens import OPEN_EXP, OPEN_SCENE

HELD_OUT = 0.05  # share of the tokens in each of valid and test
_BIG = 0.02  # a scene with more than this share of the tokens is cut
_SMALL = 128  # tokens of a block, where that makes few of them
_GAP = 30  # tokens, at most, left out on the side of a block
_FEW = 100  # lines; in so small a corpus a gap would cost too much
TRAIN, VALID, TEST = range(3)


class Unit(NamedTuple):
    """Some lines of a scene."""

    scene: int
    start: int
    stop: int


def split_scenes(scenes: Sequence[Scene], seed: int) -> list[list[Scene]]:
    """Of each scene, the lines in train, in valid and in test."""
    chosen = _draw(scenes, seed)
    parts: list[list[Scene]] = [[[] for _ in scenes] for _ in range(3)]
    gaps = sum(map(len, scenes)) >= _FEW
    for number, scene in enumerate(scenes):
        places = chosen[number]
        kept = _leave_gaps(scene, places) if gaps and len(set(places)) > 1 else places
        for place, line in _tell_apart(scene, kept):
            parts[place][number].append(line)
    return parts


def drop_seen(parts: Sequence[Sequence[Scene]]) -> list[list[Scene]]:
    """The splits without lines of valid and test that stand in train, and lines of test that stand in valid, so that no line
    of them has been seen before; a speaker's name goes on with what is left of the speech.
    """
    seen: set[tuple[str, ...]] = set()
    unseen: list[list[Scene]] = []
    for scenes in parts:
        unseen.append([_drop_seen(scene, seen) if unseen else scene for scene in scenes])
        seen.update(line.tokens for scene in unseen[-1] for line in scene)
    return unseen


def _tell_apart(scene: Scene, places: Sequence[int | None]) -> Iterator[tuple[int, Line]]:
    """The lines and their splits; where a speech begins in another split, its rest has the speaker's name."""
    speaker: tuple[str, ...] = ()
    named: int | None = None  # the split that has the name
    for line, place in zip(scene, places, strict=True):
        if line.speaker or line.tokens[0] == OPEN_SCENE:
            speaker, named = line.speaker, place
        if place is None:
            continue
        if speaker and place != named and line.tokens[0] != OPEN_EXP:
            named = place
            yield place, line._replace(speaker=speaker)
        else:
            yield place, line


def count_tokens(lines: Iterable[Line]) -> int:
    """How many tokens `flatten` makes of some lines."""
    return sum(len(line.tokens) + (len(line.speaker) + 2 if line.speaker else 0) + line.verse for line in lines)


def _draw(scenes: Sequence[Scene], seed: int) -> list[list[int | None]]:
    """The split of each line of each scene."""
    sizes = [[count_tokens([line]) for line in scene] for scene in scenes]
    total = sum(map(sum, sizes))
    quota = HELD_OUT * total
    most = 1 << max(0, int(_BIG * total).bit_length() - 1)
    block = max(float(most), quota / max(1, round(quota / _SMALL)))
    units = [
        unit
        for n, row in enumerate(sizes)
        for unit in (_cut(n, row, block) if sum(row) > most else [Unit(n, 0, len(row))])
    ]
    twins: dict[bytes, list[Unit]] = defaultdict(list)
    for unit in units:
        twins[_hash(scenes[unit.scene][unit.start : unit.stop], seed)].append(unit)
    order = [twins[digest] for digest in sorted(twins)]
    owners = Counter[tuple[str, ...]]()
    for same in order:
        owners.update({line.tokens for line in _lines(scenes, same[0])})
    places: list[list[int | None]] = [[TRAIN] * len(scene) for scene in scenes]
    for place, candidates in ((TEST, iter(order)), (VALID, reversed(order))):
        held = 0.0
        for same in candidates:
            # What stands elsewhere, too, will be dropped.
            new = sum(
                sizes[u.scene][n]
                for u in same[:1]
                for n in range(u.start, u.stop)
                if owners[scenes[u.scene][n].tokens] == 1
            )
            size = sum(sum(sizes[unit.scene][unit.start : unit.stop]) for unit in same)
            taken = places[same[0].scene][same[0].start] != TRAIN
            if taken or (held and held + new / 2 > quota) or len(order) < 3:
                break
            if new and size <= max(2 * quota, block):
                held += new
                for unit in same:
                    places[unit.scene][unit.start : unit.stop] = [place] * (unit.stop - unit.start)
    return places


def _cut(scene: int, sizes: Sequence[int], block: float) -> list[Unit]:
    """Blocks of about equal size, each of whole lines."""
    units = []
    start = size = 0
    total = sum(sizes)
    block = total / max(1, round(total / block))
    for number, tokens in enumerate(sizes):
        if size and size + tokens / 2 > block:
            units.append(Unit(scene, start, number))
            start, size = number, 0
        size += tokens
    return [*units, Unit(scene, start, len(sizes))]


def _lines(scenes: Sequence[Scene], unit: Unit) -> Scene:
    return scenes[unit.scene][unit.start : unit.stop]


def _hash(lines: Scene, seed: int) -> bytes:
    return hashlib.sha256(repr((seed, [line.tokens for line in lines])).encode()).digest()


def _leave_gaps(scene: Scene, places: Sequence[int | None]) -> list[int | None]:
    """No split for the lines of train next to a block of another split, or of the later one of two such blocks."""
    kept = list(places)
    for edge in range(1, len(scene)):
        before, after = places[edge - 1], places[edge]
        if before == after:
            continue
        step = -1 if before == TRAIN else 1
        number = edge - 1 if step < 0 else edge
        place, left = places[number], _GAP
        while 0 <= number < len(scene) and places[number] == place and left > 0:
            kept[number] = None
            left -= count_tokens([scene[number]])
            if scene[number].speaker and step < 0:
                break
            number += step
            if step > 0 and number < len(scene) and scene[number].speaker:
                break
    return kept


def _drop_seen(lines: Iterable[Line], seen: set[tuple[str, ...]]) -> Scene:
    kept = []
    speaker: tuple[str, ...] = ()
    for line in lines:
        speaker = line.speaker or speaker
        if line.tokens not in seen:
            kept.append(line._replace(speaker=speaker))
            speaker = ()
    return kept
