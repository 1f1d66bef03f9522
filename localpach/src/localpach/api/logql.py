"""The simple forms of LogQL: a selector of labels, and filters of lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import re2

from localpach.errors import Refused

Matches = Callable[[Mapping[str, str], str], bool]

_STRING = r"(\"(?:[^\"\\]|\\.)*\"|`[^`]*`)"
# Loki's regular expressions are those of RE2, which no text takes long to be searched for.
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPEN = re.compile(r"\s*\{")
_LABEL = re.compile(rf"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*{_STRING}\s*(,|\}}\s*)")
_FILTER = re.compile(rf"\s*(\|=|!=|\|~|!~)\s*{_STRING}\s*")


def parse(query: str) -> Matches:
    """What tells of a line with its labels whether a query finds it."""
    labels, place = _labels(query)
    filters = []
    while place < len(query):
        found = _FILTER.match(query, place)
        if found is None:
            raise _not_understood(query, place)
        filters.append(_test(found[1].replace("|", ""), _text(found[2]), whole=False))
        place = found.end()

    def matches(given: Mapping[str, str], line: str) -> bool:
        return all(test(given.get(name, "")) for name, test in labels) and all(test(line) for test in filters)

    return matches


def _labels(query: str) -> tuple[list[tuple[str, Callable[[str], bool]]], int]:
    """The tests of labels, and where the selector ends."""
    start = _OPEN.match(query)
    if start is None:
        raise _not_understood(query, 0)
    labels, place, mark = [], start.end(), ","
    while mark == ",":
        found = _LABEL.match(query, place)
        if found is None:
            raise _not_understood(query, place)
        labels.append((found[1], _test(found[2], _text(found[3]), whole=True)))
        place, mark = found.end(), found[4]
    return labels, place


def _test(sign: str, text: str, whole: bool) -> Callable[[str], bool]:
    """A test of a label, which is compared as a whole, or of a line, which is searched."""
    if sign in ("=", "!="):
        return lambda value: (value == text if whole else text in value) == (sign == "=")
    try:
        pattern = re2.compile(text, _OPTIONS)
    except re2.error as error:
        raise Refused(f"logql: {text!r} is no regular expression: {error.args[0].decode()}") from error
    find = pattern.fullmatch if whole else pattern.search
    return lambda value: (find(value) is not None) == (sign in ("=~", "~"))


def _text(quoted: str) -> str:
    """What stands between quotes or backquotes."""
    if quoted.startswith("`"):
        return quoted[1:-1]
    try:
        text: str = json.loads(quoted)
    except ValueError as error:
        raise Refused(f"logql: {quoted} is no text: {error}") from error
    return text


def _not_understood(query: str, place: int) -> Refused:
    return Refused(
        f"logql: {query[place : place + 40]!r} is not understood; localpach knows selectors of labels and filters of lines,"
        ' as {pipelineName="edges"} |= "text"'
    )
