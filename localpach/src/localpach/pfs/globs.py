"""Pachyderm's glob language: `* ** ? [a-z] {a,b} (a|b) @() ?() *() +() !()`; brackets `( )` capture for joins and groups.

It reads patterns as Pachyderm's library does, to the letter: groups that are never closed end with the pattern, and a text that
begins with one of `@ ! ^ +` goes on to the next of `? * [ { (`, over what would end a group.
"""

from __future__ import annotations

import re
import string
from functools import cached_property, lru_cache, partial

from localpach.errors import Refused
from localpach.pfs import paths
from localpach.pfs.automaton import SEGMENT, Automaton, Chars, Group, Sequence_, Star

MAX_LENGTH = 4096
MAX_DEPTH = 100

ANYTHING = Star(Chars(frozenset("\n"), negated=True))
_WILD = "?*[{("
_QUANTIFIERS = "@!^+"


class Glob:
    """A compiled pattern.

    Attributes:
        pattern: in absolute, clean form.
        literal: the one path that matches, where there are no wildcards.
        prefix: the deepest directory that all matches lie below.
        depth: how many path elements a match can have at most; None without bound.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_LENGTH:
            raise Refused(f"a glob of {len(pattern)} characters is longer than the {MAX_LENGTH} that are read")
        self.pattern = paths.clean(pattern)
        parser = _Parser(self.pattern)
        items = parser.parse()
        head = _literal_head(items)
        self.literal = head if len(head) == len(items) else None
        self.prefix = head[: head.rfind("/")] or "/"
        self.depth = _depth(items)
        self._make_automaton = partial(Automaton, items, parser.groups, parser.is_whole)

    @cached_property
    def _automaton(self) -> Automaton:
        """Made when it is first used: most globs are the path of one file, which is looked up."""
        return self._make_automaton()

    def matches(self, path: str) -> bool:
        """Whether a clean path matches as a whole."""
        return self._automaton.matches(path)

    def captures(self, path: str) -> list[str] | None:
        """What the capture groups hold, or None where `path` does not match."""
        return self._automaton.captures(path)

    def expand(self, template: str, path: str) -> str:
        """`template` with `$1`, `${1}` … replaced by what the groups captured in `path`."""
        groups = self.captures(path) or []

        def group(match: re.Match[str]) -> str:
            number = int(match[1] or match[2])
            return path if number == 0 else groups[number - 1] if number <= len(groups) else ""

        return re.sub(r"\$(?:(\d+)|\{(\d+)\})", group, template)


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> Glob:
    """The compiled form of `pattern`.

    Raises:
        Refused: it is not well-formed.
    """
    return Glob(pattern)


def _literal_head(items: Sequence_) -> str:
    head = ""
    for item in items:
        if not isinstance(item, Chars) or item.negated or len(item.chars) != 1:
            break
        head += next(iter(item.chars))
    return head


def _depth(items: Sequence_) -> int | None:
    """How many slashes a sequence can match at most; None without bound."""
    total = 0
    for item in items:
        if isinstance(item, Group):
            depths = [0] if item.kind == "!" else [_depth(option) for option in item.options]
            most = None if None in depths else max(each for each in depths if each is not None)
            if most is None or (most and item.kind in "*+"):
                return None
            total += most
        elif isinstance(item, Star):
            if item.of.match("/"):
                return None
        else:
            total += item.match("/")
    return total


class _Parser:
    """Reads a pattern from left to right.

    Attributes:
        groups: how many groups capture.
        is_whole: whether `!(…)` forbids whole rests of a path: nothing but `?` and classes follows the first of them.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._braces = 0
        self._brackets = 0
        self.groups = 0
        self.is_whole = True
        self._negation_closed = False

    def parse(self) -> Sequence_:
        root: Sequence_ = []
        # The open groups and the sequences that they stand in; the sequence that is being read is the last group's last.
        stack: list[tuple[Group, Sequence_]] = []
        here = root
        while self._at < len(self._text):
            char = self._next()
            kind = self._opening(char)
            if kind:
                group = self._open(kind, here)
                stack.append((group, here))
                if len(stack) > MAX_DEPTH:
                    raise Refused(f"groups stand in each other more than {MAX_DEPTH} deep")
                here = group.options[0]
            elif (char == "," and self._braces) or (char == "|" and self._brackets):
                here = []
                stack[-1][0].options.append(here)
            elif (char == "}" and self._braces) or (char == ")" and self._brackets):
                self._braces -= char == "}"
                self._brackets -= char == ")"
                group, here = stack.pop()
                self._negation_closed |= group.kind == "!"
            else:
                here += self._plain(char)
        return root

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _opening(self, char: str) -> str:
        """The kind of the group that begins here."""
        if char == "{":
            return char
        if char == "(":
            return "@"
        if char in "?*" + _QUANTIFIERS and self._peek() == "(":
            self._next()
            return char
        return ""

    def _open(self, kind: str, here: Sequence_) -> Group:
        if kind == "^":
            raise Refused("^( ) is no group: write !( ) for what must not match")
        captures = kind != "{"
        group = Group(kind, [[]], self.groups)
        self.groups += captures
        self._brackets += captures
        self._braces += not captures
        here.append(group)
        return group

    def _plain(self, char: str) -> Sequence_:
        if char == "?":
            return [SEGMENT]
        if char == "[":
            return [self._class()]
        if char == "*":
            self.is_whole &= not self._negation_closed
            # Of `**(` the second one belongs to the group.
            if self._peek() == "*" and self._text[self._at + 1 : self._at + 2] != "(":
                self._next()
                return [ANYTHING]
            return [Star(SEGMENT)]
        self._at -= 1
        text = self._literal(self._stops(char))
        self.is_whole &= not (text and self._negation_closed)
        return [Chars(frozenset(each)) for each in text]

    def _stops(self, first: str) -> str:
        if first in _QUANTIFIERS:
            return _WILD
        closing = "}," if self._braces else ")|" if self._brackets else ""
        return _WILD + _QUANTIFIERS + closing

    def _literal(self, stops: str) -> str:
        text = ""
        while self._at < len(self._text) and self._peek() not in stops:
            char = self._next()
            text += (self._next() if self._at < len(self._text) else "") if char == "\\" else char
        return text

    def _class(self) -> Chars:
        """A class up to its `]`; the first `!` or `^`, wherever it stands, negates it."""
        body, negated, is_named = "", False, False
        while True:
            if self._at >= len(self._text):
                raise Refused("unexpected end of input")
            char = self._next()
            if char == "\\" and self._at < len(self._text):
                body += self._next()
            elif char == "]" and not is_named:
                break
            elif char in "!^" and not negated:
                negated = True
            else:
                is_named = char == "[" or (is_named and char != "]")
                body += char
        if not body:
            raise Refused("could not parse range: a class of characters is empty")
        return Chars(_members(body), negated)


def _members(body: str) -> frozenset[str]:
    """The characters of a class: single ones, ranges, and POSIX's names."""
    members: set[str] = set()
    for name in re.findall(r"\[:(\w+):\]", body):
        if name not in _NAMED:
            raise Refused(f"[:{name}:] is no class of characters; known are {', '.join(_NAMED)}")
        members.update(_NAMED[name])
    rest = re.sub(r"\[:\w+:\]", "", body)
    place = 0
    while place < len(rest):
        low, high = rest[place], rest[place + 2 : place + 3]
        if high and rest[place + 1] == "-":
            if high < low:
                raise Refused(f"hi character '{high}' should be greater than lo '{low}'")
            members.update(map(chr, range(ord(low), ord(high) + 1)))
            place += 3
        else:
            members.add(low)
            place += 1
    return frozenset(members)


_NAMED = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "ascii": "".join(map(chr, range(128))),
    "blank": "\t ",
    "cntrl": "".join(map(chr, [*range(32), 127])),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "word": string.ascii_letters + string.digits + "_",
    "xdigit": string.hexdigits,
}
