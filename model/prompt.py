"""A prompt in a reader's words, as a model's tokens."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import regex

from model.readers.cues import LONGEST_NAME
from model.readers.pages import normalise
from model.tokens import BONAME, ENDS, EONAME, UNKNOWN, tokenise

MANY = 20  # unknown words that are told one by one
_NAMED = regex.compile(r"([^:：\n]+)[:：](.*)", regex.DOTALL)


class Prompt(NamedTuple):
    """How a script begins: what is shown, what the model reads in its place, and what was not understood."""

    shown: list[str]
    read: list[str]
    notes: list[str]


def read_prompt(text: str, vocabulary: Sequence[str]) -> Prompt:
    """Reads `SPEAKER: first line`, or a text without a speaker. A word that the model does not know is shown as it is;
    the model reads the word most like it, or `<unk>`, or nothing."""
    reader = _Reader(vocabulary)
    text = normalise(text)
    named = _NAMED.fullmatch(text)
    name, line = (named[1], named[2]) if named and len(named[1].split()) <= LONGEST_NAME else ("", text)
    if name and BONAME not in reader.words:
        reader.notes.append(f'This model knows no speakers: "{name}" is read as spoken.')
        name, line = "", text
    if name:
        joined = next((form for form in _list_forms("_".join(name.split())) if form in reader.words), None)
        reader.add(BONAME, [BONAME])
        reader.read([joined] if joined else tokenise(name))
        reader.add(EONAME, [EONAME])
    reader.read(tokenise(line))
    return reader.prompt()


class _Reader:
    """Looks words up in a vocabulary, each once."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.words = set(vocabulary)
        self.notes: list[str] = []
        self._shown: list[str] = []
        self._read: list[str] = []
        self._unknown: dict[str, list[str]] = {}
        self._by_first: dict[str, list[str]] = defaultdict(list)
        for word in vocabulary:
            if not word.startswith("<"):
                self._by_first[word[0].lower()].append(word)

    def add(self, shown: str, read: Iterable[str]) -> None:
        """Shows a token and reads others."""
        self._shown.append(shown)
        self._read.extend(read)

    def read(self, tokens: Iterable[str]) -> None:
        """Reads tokens of a prompt."""
        for word in tokens:
            if found := _find(word, self.words):
                self._shown.extend(found)
                self._read.extend(found)
            else:
                self.add(word, self._read_instead(word))

    def _read_instead(self, word: str) -> list[str]:
        """The word most like one that is unknown. The first few are looked for among all that begin with the same letter;
        where there are many, nobody reads the notes, and looking takes longer than writing the script."""
        if word not in self._unknown:
            unknown = [UNKNOWN] * (UNKNOWN in self.words)
            if len(self._unknown) < MANY:
                likely = self._by_first[word[0].lower()]
                instead = difflib.get_close_matches(word.lower(), likely, 1, 0.75) or unknown
                reading = "left out" if not instead else f'read as "{instead[0]}"'
                if instead == [UNKNOWN]:
                    reading = "read as an unknown word"
                self.notes.append(f'"{ENDS.get(word, word)}" is not in the vocabulary: {reading}.')
            else:
                instead = unknown
            self._unknown[word] = instead
        return self._unknown[word]

    def prompt(self) -> Prompt:
        """What was read so far."""
        more = len(self._unknown) - MANY
        notes = [*self.notes, f"{more} more words are not in the vocabulary."] if more > 0 else self.notes
        return Prompt(self._shown, self._read, notes)


def _list_forms(word: str) -> tuple[str, ...]:
    return word, word.lower(), word.capitalize(), word.upper(), word.title()


def _find(word: str, words: set[str]) -> list[str]:
    """The word in a case that the model knows; in the classic tokens "don't" is two words, "don" and "'t"."""
    for form in _list_forms(word):
        if form in words:
            return [form]
    head, apostrophe, tail = word.rpartition("'")
    if head and apostrophe:
        first, second = _find(head, words), _find(f"'{tail}", words)
        return [*first, *second] if first and second else []
    return []
