"""A prompt in a reader's words, as a model's tokens."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from model.scripts import BONAME, EONAME, UNKNOWN, tokenise
from model.typeset import LONGEST_NAME


class Prompt(NamedTuple):
    """How a script begins: what is shown, what the model reads in its place, and what was not understood."""

    shown: list[str]
    read: list[str]
    notes: list[str]


def read_prompt(text: str, vocabulary: Sequence[str]) -> Prompt:
    """Reads `SPEAKER: first line`, or a text without a speaker. A word that the model does not know is shown as it is;
    the model reads the word most like it, or `<unk>`, or nothing."""
    words = set(vocabulary)
    prompt = Prompt([], [], [])
    name, colon, line = text.partition(":")
    if not colon or len(name.split()) > LONGEST_NAME or "\n" in name:
        name, line = "", text
    elif BONAME not in words:
        prompt.notes.append(f'This model knows no speakers: "{name}" is read as spoken.')
        name, line = "", text
    if name:
        joined = next((form for form in _list_forms("_".join(name.split())) if form in words), None)
        prompt.shown.append(BONAME)
        prompt.read.append(BONAME)
        _read([joined] if joined else tokenise(name), vocabulary, words, prompt)
        prompt.shown.append(EONAME)
        prompt.read.append(EONAME)
    _read(tokenise(line), vocabulary, words, prompt)
    return prompt


def _read(text: Iterator[str] | list[str], vocabulary: Sequence[str], words: set[str], prompt: Prompt) -> None:
    for word in text:
        found = _find(word, words)
        if found:
            prompt.shown.extend(found)
            prompt.read.extend(found)
            continue
        plain = [other for other in vocabulary if not other.startswith("<")]
        instead = difflib.get_close_matches(word.lower(), plain, 1, 0.75) or [UNKNOWN] * (UNKNOWN in words)
        prompt.shown.append(word)
        prompt.read.extend(instead)
        reading = f'read as "{instead[0]}"' if instead else "left out"
        prompt.notes.append(f'"{word}" is not in the vocabulary: {reading}.')


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
