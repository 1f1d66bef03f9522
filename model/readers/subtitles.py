"""Subtitles, SubRip's and WebVTT's: what is said, and for how long it is shown, but seldom who says it."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator

import pysubs2
import regex

from model.readers.parts import Cue, Direction, Part, Reading, Said, count_words

_TIME = regex.compile(r"^\s*(?:\d+:)?\d\d:\d\d[.,]\d{2,3}\s*-->\s*(?:\d+:)?\d\d:\d\d[.,]\d{2,3}", regex.MULTILINE)
_TAG = regex.compile(r"</?(?:[ibu]|font|c|ruby|rt|lang)\b[^<>]*>|\{\\[^{}]*\}|<\d[\d:.]*>", regex.IGNORECASE)
_VOICE = regex.compile(r"<v[.\w]*\s+([^<>]+)>|</v>")
_SOUND = regex.compile(r"\[([^\[\]]*)\]|\(([^()]*)\)")
_ENDS = regex.compile(r"[.!?…。！？♪][\"'”’»)]*$")
PAUSE = 4000  # milliseconds without a subtitle, after which a new paragraph begins


def score(text: str) -> float:
    """The share of paragraphs that begin with a time; all of WebVTT, which may have others, says what it is."""
    if _is_webvtt(text):
        return 1.0
    times = len(_TIME.findall(text))
    if not times:
        return 0.0
    return min(1.0, 1.2 * times / len(regex.findall(r"\S.*(?:\n.*\S.*)*", text)))


def _is_webvtt(text: str) -> bool:
    return text.lstrip("\ufeff \n").startswith("WEBVTT")


def read(text: str) -> Reading:
    """Sentences put together from the subtitles over which they run."""
    shown = sorted(_list_shown(text))
    parts: list[Part] = []
    waiting = ""
    ended = 0
    for start, end, said in shown:
        if waiting and start - ended > PAUSE:
            parts.append(Said(waiting))
            waiting = ""
        ended = end
        for piece in _read_shown(said):
            if isinstance(piece, Said):
                waiting = f"{waiting} {piece.text}".strip()
                if _ENDS.search(waiting):
                    parts.append(Said(waiting))
                    waiting = ""
            else:
                if waiting:
                    parts.append(Said(waiting))
                    waiting = ""
                parts.append(piece)
    if waiting:
        parts.append(Said(waiting))
    left_out = Counter({"times and numbers": max(0, count_words(text) - sum(count_words(part[0]) for part in parts))})
    return Reading(parts, left_out)


def _list_shown(text: str) -> Iterator[tuple[int, int, str]]:
    form = "vtt" if _is_webvtt(text) else "srt"
    for event in pysubs2.SSAFile.from_string(text, format_=form, keep_html_tags=True, keep_unknown_html_tags=True):
        yield event.start, event.end, event.text.replace("\\N", "\n")


def _read_shown(text: str) -> Iterator[Part]:
    """One subtitle: `- ` begins what another says, brackets hold what is heard, `NAME:` and WebVTT's `<v Name>` name who speaks."""
    text = html.unescape(_VOICE.sub(lambda voice: f"\n{voice[1]}: " if voice[1] else "\n", _TAG.sub("", text)))
    rows = regex.sub(r"\n(?![-–—]\s*\S|[\p{Lu}][\p{Lu} .'#\d]+:|[\p{L} .'#\d]{1,30}: )", " ", text.strip()).split("\n")
    for row in rows:
        said = row.strip()
        if len(rows) > 1 or said[:1] in ("-", "–", "—"):
            said = regex.sub(r"^[-–—]\s*(?=\S)", "", said)
        named = regex.match(r"([\p{Lu}][\p{L}\p{M} .'#\d]{0,30}):\s+(?=\S)", said)
        if named and (named[1].isupper() or len(named[1].split()) <= 2):
            yield Cue(named[1])
            said = said[named.end() :]
        yield from _said(said)


def _said(text: str) -> Iterator[Part]:
    place = 0
    for sound in _SOUND.finditer(text):
        if before := text[place : sound.start()].strip():
            yield Said(before)
        if heard := (sound[1] or sound[2] or "").strip():
            yield Direction(heard)
        place = sound.end()
    if rest := text[place:].strip("♪ ").strip():
        yield Said(rest)
