"""A file's text, made even before it is read: one normal form, one kind of line end, apostrophes told from quotes."""

from __future__ import annotations

import html
import unicodedata
from collections import Counter

import regex

from model.readers.parts import count_words

_LINE_ENDS = regex.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_UNSEEN = regex.compile(r"[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_LIGATURE = regex.compile(r"[\ufb00-\ufb06]")
_PAIRED = regex.compile(r"(?<![\p{L}\p{N}])‘([^‘’\n]*(?:(?:(?<=\w)’(?=\w)|\n(?!\s*\n))[^‘’\n]*)*)’(?!\p{L})")
_STRAIGHT_PAIRED = regex.compile(
    r"(?<![\p{L}\p{N}'])'(?=\p{L})((?:[^'\n]|(?<=\w)'(?=\w)|\n(?!\s*\n)){1,600}[.,!?…])'(?![\p{L}\p{N}'])"
)
_TAG = regex.compile(
    r"</?(?:html|head|body|title|pre|b|i|u|em|strong|p|br|div|span|font|center|a|table|tr|td|h\d)\b[^<>]*>", regex.I
)
_SCRIPT = regex.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->|<!doctype[^>]*>", regex.I | regex.S)
_LICENCE = regex.compile(r"\*\*\* ?(START|END) OF (?:THE|THIS) PROJECT GUTENBERG.*", regex.IGNORECASE)


def normalise(text: str) -> str:
    """The text as all readers want it."""
    text = _LINE_ENDS.sub("\n", text) if _LINE_ENDS.search(text) else text
    text = _LIGATURE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), unicodedata.normalize("NFC", text))
    return pair_quotes(_UNSEEN.sub("", text))


def strip_markup(text: str) -> str:
    """Rows of text without the tags of HTML, tabs and what makes words bold."""
    if len(_TAG.findall(text)) > 20:
        text = html.unescape(_TAG.sub("", _SCRIPT.sub("", text)))
    return text.expandtabs().replace("**", "").replace("__", "")


def pair_quotes(text: str) -> str:
    """Single quotes around something are ‘ and ’; every other one is an apostrophe, and becomes '."""
    if "'" in text:
        text = _STRAIGHT_PAIRED.sub("‘\\1’", text)
    if "‘" not in text:
        return text.replace("’", "'")
    text = _PAIRED.sub("\ue000\\1\ue001", text).replace("’", "'")
    return regex.sub(r"‘(?=\p{L})", "'", text).replace("\ue000", "‘").replace("\ue001", "’")


def strip_licence(text: str, left_out: Counter[str]) -> str:
    """What stands between the marks of a publisher's licence, if it has them."""
    for mark in _LICENCE.finditer(text):
        if mark[1].upper() == "START":
            left_out["licence"] += count_words(text[: mark.end()])
            text = text[mark.end() :]
            break
    end = next((mark for mark in _LICENCE.finditer(text) if mark[1].upper() == "END"), None)
    if end:
        left_out["licence"] += count_words(text[end.start() :])
        text = text[: end.start()]
    return text
