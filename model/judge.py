"""A judge of scripts: what can be measured of one beside perplexity, and the same of the corpus's own held-out text.

Most of it depends on a text's length. What a script is held against is therefore the mean over passages of its length from
the corpus's test split.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from model.corpus import Ids
from model.ngram import Floats, KneserNey
from model.tokens import (
    BONAME,
    CLOSE_EXP,
    CLOSE_SCENE,
    EOL,
    EONAME,
    OPEN_EXP,
    OPEN_SCENE,
    SENTENCE_ENDS,
    UNKNOWN,
)
from model.training_text import TrainingText, find_longest_copy
from model.typeset import LONGEST_NAME

MEASURES = {
    "distinct_1": "share of the words that are different ones",
    "distinct_2": "share of the pairs of words in a row that are different ones",
    "distinct_3": "share of the triples of words in a row that are different ones",
    "longest_copy": "tokens of the longest run that stands in the training text, too",
    "degenerate_lines": "share of the speeches likelier, word by word, than 95 of 100 of the corpus's own, to an n-gram "
    "model that knows what the script has said",
    "known_speakers": "share of the speeches whose speaker speaks in the training text",
    "same_cast": "share of the speeches whose speaker is of the play that most of the scene's speakers are of",
    "entered": "share of the speeches before which a direction of the scene has named the speaker",
    "known_places": "share of the scenes whose heading has only words of headings in the play that its speakers are of",
    "speech_lengths": "distance of the words per speech from the corpus's, 0 (the same) to 1 (Kolmogorov and Smirnov's)",
    "scene_lengths": "distance of the speeches per scene from the corpus's, 0 to 1",
}
ORDER = 3  # of the n-gram model: it is made anew for each script
COPIES = 4  # passages of the corpus, at most, in which a copy is looked for, which takes longest
LEAST_WORDS = 5  # of a speech that the n-gram model judges: "ay , my lord" is anybody's
USUAL = 0.95  # share of the corpus's own speeches that are less likely than a degenerate one
_CLOSES = {BONAME: EONAME, OPEN_EXP: CLOSE_EXP, OPEN_SCENE: CLOSE_SCENE}


class Speech(NamedTuple):
    """What is said in turn: the speaker's name, the places of its tokens, and whether the speaker was named before."""

    speaker: tuple[str, ...]
    places: list[int]
    entered: bool


class Scene(NamedTuple):
    """A scene's heading, empty where there is none, and its speeches."""

    heading: tuple[str, ...]
    speeches: list[Speech]


class Play(NamedTuple):
    """What a file of the training text has: speakers' names, and the words of its headings."""

    cast: set[tuple[str, ...]]
    places: set[str]


def judge(tokens: Sequence[str], original: TrainingText, words: Sequence[str]) -> list[dict[str, Any]]:
    """Each measure of a script, with its meaning, beside the corpus's."""
    model = Judge(original, words, len(tokens))
    own = model.measure(tokens)
    return [
        {"measure": name, "meaning": meaning, "script": own[name], "corpus": model.corpus[name]}
        for name, meaning in MEASURES.items()
    ]


class Judge:
    """Measures scripts of a length in the words of a model; `corpus` holds what held-out passages of that length have."""

    def __init__(self, original: TrainingText, words: Sequence[str], length: int) -> None:
        self._words = words
        self._ids = {word: number for number, word in enumerate(words)}
        self._original = original.ids
        self._ngram = KneserNey(original.ids, len(words), ORDER)
        self._plays = list(self._list_plays(original))
        self._known = set[tuple[str, ...]]().union(*(play.cast for play in self._plays))
        held_out = [words[number] for number in original.held_out]
        self._lengths = _list_lengths(read_scenes(held_out))
        passages = [held_out[start : start + length] for start in range(0, max(1, len(held_out) - length + 1), length)]
        likelihoods = [each for passage in passages for each in self._list_likelihoods(passage, read_scenes(passage))]
        self._usual = float(np.quantile(likelihoods, USUAL)) if likelihoods else math.inf
        found = [self._measure(passage) for passage in passages]
        copies = [self._measure_copy(passage) for passage in passages[:: -(-len(passages) // COPIES)]]
        self.corpus = {
            "longest_copy": _mean(copies),
            **{name: _mean([each[name] for each in found]) for name in found[0]},
        }

    def measure(self, tokens: Sequence[str]) -> dict[str, float | None]:
        """Each measure of a script; None where there is nothing to measure."""
        return {"longest_copy": self._measure_copy(tokens), **self._measure(tokens)}

    def _measure_copy(self, tokens: Sequence[str]) -> float:
        ids = np.array([self._ids.get(token, -1) for token in tokens], np.int32)
        return float(find_longest_copy(ids, self._original).length)

    def _measure(self, tokens: Sequence[str]) -> dict[str, float | None]:
        scenes = read_scenes(tokens)
        named = [speech for scene in scenes for speech in scene.speeches if speech.speaker]
        plays = [(scene, self._find_play(scene)) for scene in scenes if scene.speeches and scene.speeches[0].speaker]
        likelihoods = self._list_likelihoods(tokens, scenes)
        lengths = _list_lengths(scenes)
        return {
            **{f"distinct_{n}": _count_distinct(tokens, n) for n in (1, 2, 3)},
            "degenerate_lines": _mean([likelihood > self._usual for likelihood in likelihoods]),
            "known_speakers": _mean([speech.speaker in self._known for speech in named]),
            "same_cast": _mean([speech.speaker in play.cast for scene, play in plays for speech in scene.speeches]),
            "entered": _mean([speech.entered for speech in named]),
            "known_places": _mean([play.places.issuperset(scene.heading) for scene, play in plays if scene.heading]),
            "speech_lengths": _distance(lengths[0], self._lengths[0]),
            "scene_lengths": _distance(lengths[1], self._lengths[1]),
        }

    def _list_plays(self, original: TrainingText) -> Iterator[Play]:
        start = 0
        for _, size in original.sources:
            ids = original.ids[start : start + size]
            start += size
            headings = self._list_marked(ids, OPEN_SCENE)
            yield Play(set(self._list_marked(ids, BONAME)), {word for heading in headings for word in heading})

    def _list_marked(self, ids: Ids, mark: str) -> Iterator[tuple[str, ...]]:
        """What stands between marks."""
        begins, ends = (np.flatnonzero(ids == self._ids.get(each, -1)) for each in (mark, _CLOSES[mark]))
        for begin, place in zip(begins, np.searchsorted(ends, begins), strict=True):
            if place < len(ends):
                yield tuple(self._words[number] for number in ids[begin + 1 : ends[place]])

    def _find_play(self, scene: Scene) -> Play:
        """The play that most of a scene's speeches could be of."""
        spoken = Counter(speech.speaker for speech in scene.speeches)
        return max(self._plays, key=lambda play: sum(spoken[name] for name in spoken.keys() & play.cast))

    def _list_likelihoods(self, tokens: Sequence[str], scenes: Sequence[Scene]) -> list[float]:
        """Of each speech: the mean of log p of its tokens, where half of p is the n-gram model's, and half what has followed
        the two tokens before it in this text so far, if they have stood there."""
        unknown = self._ids.get(UNKNOWN, 0)
        chances = self._ngram.probabilities(np.array([self._ids.get(token, unknown) for token in tokens], np.int32))
        logs = np.log(_mix_with_repeats(tokens, chances))
        spoken = (speech.places for scene in scenes for speech in scene.speeches)
        return [float(logs[places].mean()) for places in spoken if len(places) >= LEAST_WORDS]


def read_scenes(tokens: Sequence[str]) -> list[Scene]:
    """The scenes of a text, and of each the speeches; a sentence is one where nobody is named."""
    scenes = [Scene((), [])]
    named = BONAME in tokens
    held, present = list[str](), set[str]()
    kind = ""
    for place, token in enumerate(tokens):
        speeches = scenes[-1].speeches
        if token in _CLOSES:
            kind, held = token, []
        elif kind and token == _CLOSES[kind]:
            if kind == OPEN_SCENE:
                scenes.append(Scene(tuple(held), []))
                present = set()
            elif kind == OPEN_EXP:
                present.update(held)
            elif held and len(held) <= LONGEST_NAME:
                speeches.append(Speech(tuple(held), [], held[-1] in present))
            kind = ""
        elif kind:
            held.append(token)
        elif token != EOL:
            if not named and (not speeches or tokens[speeches[-1].places[-1]] in SENTENCE_ENDS):
                speeches.append(Speech((), [], False))
            if speeches:
                speeches[-1].places.append(place)
    return [scene for scene in scenes if scene.heading or scene.speeches]


def _mix_with_repeats(tokens: Sequence[str], chances: Floats) -> Floats:
    """The chances of tokens, half of them what the text itself says, where it does."""
    mixed = chances.copy()
    followed: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for place in range(2, len(tokens)):
        counts = followed[tokens[place - 2], tokens[place - 1]]
        if counts:
            mixed[place] = (chances[place] + counts[tokens[place]] / counts.total()) / 2
        counts[tokens[place]] += 1
    return mixed


def _count_distinct(tokens: Sequence[str], n: int) -> float | None:
    """The share of different runs of `n` among all (Li et al. 2016); those with unknown words are not counted."""
    runs = [run for run in zip(*(tokens[start:] for start in range(n)), strict=False) if UNKNOWN not in run]
    return round(len(set(runs)) / len(runs), 4) if runs else None


def _list_lengths(scenes: Sequence[Scene]) -> tuple[list[int], list[int]]:
    """Words per speech, and speeches per scene."""
    return [len(speech.places) for scene in scenes for speech in scene.speeches], [len(s.speeches) for s in scenes]


def _distance(some: Sequence[int], others: Sequence[int]) -> float | None:
    """The largest difference between the shares that two samples have up to any value."""
    if not some or not others:
        return None
    values = np.union1d(some, others)
    up_to = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (some, others)]
    return round(float(np.abs(up_to[0] - up_to[1]).max()), 4)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None
