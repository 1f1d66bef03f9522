"""Text as tokens: the words and marks of any language.

Tokens are those of the classic Game of Thrones example: `<boname> NAME <eoname>` around a speaker, `<open-exp> …
<close-exp>` around a stage direction, `<eos>`, `<question>`, `<exclamation>` and `<ellipsis>` for the marks that end
sentences; other marks and words, in lower case, stand for themselves. Ours beside those: `<open-scene> … <close-scene>`
around a scene's heading, and `<eol>` where a line of verse ends inside of a speech.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

import regex

from model.languages import ABBREVIATIONS

BONAME, EONAME = "<boname>", "<eoname>"
OPEN_EXP, CLOSE_EXP = "<open-exp>", "<close-exp>"
OPEN_SCENE, CLOSE_SCENE = "<open-scene>", "<close-scene>"
EOL = "<eol>"
EOS, QUESTION, EXCLAMATION, ELLIPSIS, UNKNOWN = "<eos>", "<question>", "<exclamation>", "<ellipsis>", "<unk>"
ENDS = {EOS: ".", QUESTION: "?", EXCLAMATION: "!", ELLIPSIS: "..."}
SENTENCE_ENDS = frozenset(ENDS) | frozenset("。！？।؟۔።")
_MARKS = {**{mark: token for token, mark in ENDS.items()}, "…": ELLIPSIS}

# Scripts that set no blanks between words: each character is a token.
BLANKLESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{BLANKLESS}]]"
_TOKEN = regex.compile(
    rf"""(?V1)
    {UNKNOWN}                                          # of a corpus that has been tokenised
    | [{BLANKLESS}][\p{{M}}ー]*
    | \p{{Sc}}?\d+(?:[.,:]\d+)+(?!{LETTER})           # 3.14, 10:30, $5.00
    | \p{{Sc}}\d+(?!{LETTER})                          # $5
    | (?:{LETTER}\.){{2,}}(?!{LETTER})                 # a.m.
    | '?{LETTER}+(?:['’‐‑-]{LETTER}+)*'?               # 'tis, don't, well-to-do, lords'
    | \.{{2,}} | …+ | --+ | [^\s\w]
    """,
    regex.VERBOSE,
)
_ABBREVIATION = regex.compile(r"(?V1)\b(?=\p{Lu})(?i:\L<short>)\.(?!\w)", short=ABBREVIATIONS)


def tokenise(text: str) -> list[str]:
    """The words and marks of a text as tokens, each in the case that it has."""
    return list(chain.from_iterable(map(split_chunk, text.split())))


@lru_cache(1 << 18)
def split_chunk(chunk: str) -> tuple[str, ...]:
    """The tokens of what stands between two blanks."""
    if chunk.isascii() and chunk.isalnum():
        return (chunk,)
    if "." not in chunk:
        return tuple(map(_name_mark, _TOKEN.findall(chunk)))
    found: list[str] = []
    place = 0
    for short in _ABBREVIATION.finditer(chunk):
        found += [*_TOKEN.findall(chunk[place : short.start()]), short[0]]
        place = short.end()
    found += _TOKEN.findall(chunk[place:])
    return tuple(map(_name_mark, found))


def _name_mark(token: str) -> str:
    if token.startswith((".", "…")):
        return EOS if token == "." else ELLIPSIS
    if token.startswith("--"):
        return "--"
    return _MARKS.get(token) or (token.replace("’", "'") if len(token) > 1 else token)


@lru_cache(1 << 18)
def lower_chunk(chunk: str) -> tuple[str, ...]:
    """The tokens of what stands between two blanks, in lower case."""
    return tuple(map(str.lower, split_chunk(chunk)))


def lower_tokens(text: str) -> tuple[str, ...]:
    """The tokens of a text in lower case."""
    return tuple(chain.from_iterable(map(lower_chunk, text.split())))


_BLANKLESS_WORD = regex.compile(rf"[{BLANKLESS}][\p{{M}}ー]*")


@lru_cache(1 << 16)
def is_blankless(token: str) -> bool:
    """Whether a token is a character of a script without blanks between words."""
    return _BLANKLESS_WORD.fullmatch(token) is not None


@lru_cache(1 << 18)
def is_word(token: str) -> bool:
    """Whether a token is a word or a number; others are marks."""
    return any(map(str.isalnum, token)) and not (token.startswith("<") and token.endswith(">"))
