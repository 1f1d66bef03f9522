"""Matching in linear time: an automaton that reads a path from its end.

What can still match depends, read backwards, on nothing but the rest of the path: so a state is the set of nodes from which
that rest matches, made when it is first come to, and a negative lookahead is a node whose body is not in the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Transitions that are remembered; about 2 MiB.
REMEMBERED = 20_000


class Chars(NamedTuple):
    """One character: any of some, or any but these."""

    chars: frozenset[str]
    negated: bool = False

    def match(self, char: str) -> bool:
        return (char in self.chars) != self.negated


class Star(NamedTuple):
    """Any number of characters, as many as can be."""

    of: Chars


class Group(NamedTuple):
    """One of several sequences; `kind` is how often (`@ ? * +`), `!` for anything that begins with none of them and has no
    slash, or `{` where nothing is captured."""

    kind: str
    options: list[Sequence_]
    number: int = 0


Sequence_ = list["Chars | Star | Group"]

SEGMENT = Chars(frozenset("/"), negated=True)


class _Node(NamedTuple):
    """What must hold from here on; `stage` numbers the lookahead that the node belongs to."""

    kind: str
    stage: int
    chars: Chars | None = None
    nexts: tuple[int, ...] = ()
    body: int = -1
    slot: int = -1


class _State(dict[str, "_State"]):
    """The nodes from which the rest of a path matches; the states before it by the character that leads there."""

    def __init__(self, automaton: Automaton, alive: frozenset[int]) -> None:
        self._automaton = automaton
        self.alive = alive

    def __missing__(self, char: str) -> _State:
        state = self[char] = self._automaton.before(self, char)
        return state


class Automaton:
    """A pattern, ready to match. `whole` says that a lookahead forbids whole rests, not what rests begin with."""

    def __init__(self, pattern: Sequence_, groups: int, whole: bool) -> None:
        self._nodes: list[_Node] = []
        self._groups = groups
        self._whole = whole
        # Lookaheads count from 1, inner ones before those around them; the pattern itself comes last.
        self._stages = 0
        end = self._add(_Node("end", 0))
        self._start = self._sequence(pattern, end, 0)
        self._link()
        self._states: dict[frozenset[int], _State] = {}
        self._remembered = 0

    def _add(self, node: _Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _sequence(self, items: Sequence[Chars | Star | Group], following: int, stage: int) -> int:
        for item in reversed(items):
            if isinstance(item, Chars):
                following = self._add(_Node("char", stage, item, (following,)))
            elif isinstance(item, Star):
                following = self._star(item.of, following, stage)
            else:
                following = self._group(item, following, stage)
        return following

    def _star(self, chars: Chars, following: int, stage: int) -> int:
        return self._loop(Group("*", [[chars]]), following, stage)

    def _loop(self, group: Group, following: int, stage: int) -> int:
        loop = self._add(_Node("split", stage))
        body = self._options(group, loop, stage)
        self._nodes[loop] = _Node("split", stage, nexts=(body, following))
        return loop

    def _group(self, group: Group, following: int, stage: int) -> int:
        if group.kind == "{":
            return self._options(group, following, stage)
        following = self._add(_Node("save", stage, nexts=(following,), slot=2 * group.number + 1))
        if group.kind == "@":
            start = self._options(group, following, stage)
        elif group.kind == "?":
            start = self._add(_Node("split", stage, nexts=(self._options(group, following, stage), following)))
        elif group.kind == "!":
            start = self._negation(group, following, stage)
        else:
            start = self._loop(group, following, stage)
            if group.kind == "+":
                start = self._nodes[start].nexts[0]
        return self._add(_Node("save", stage, nexts=(start,), slot=2 * group.number))

    def _options(self, group: Group, following: int, stage: int) -> int:
        starts = tuple(self._sequence(option, following, stage) for option in group.options)
        return starts[0] if len(starts) == 1 else self._add(_Node("split", stage, nexts=starts))

    def _negation(self, group: Group, following: int, stage: int) -> int:
        mark = len(self._nodes)
        end = self._add(_Node("end" if self._whole else "anywhere", -1))
        body = self._options(group, end, -1)
        self._stages += 1
        self._nodes[mark:] = [
            node._replace(stage=self._stages) if node.stage == -1 else node for node in self._nodes[mark:]
        ]
        rest = self._star(SEGMENT, following, stage)
        return self._add(_Node("not", stage, nexts=(rest,), body=body))

    def _link(self) -> None:
        """Notes for each node which others go on with it."""
        self._ends = [number for number, node in enumerate(self._nodes) if node.kind == "end"]
        self._anywhere = [number for number, node in enumerate(self._nodes) if node.kind == "anywhere"]
        self._by_char: list[list[int]] = [[] for _ in self._nodes]
        self._by_nothing: list[list[int]] = [[] for _ in self._nodes]
        for number, node in enumerate(self._nodes):
            for each in node.nexts:
                (self._by_char if node.kind == "char" else self._by_nothing)[each].append(number)

    def _closed(self, seeds: list[int]) -> frozenset[int]:
        """Some nodes and all that lead to them without a character, lookaheads first."""
        alive: set[int] = set()
        for stage in (*range(1, self._stages + 1), 0):
            frontier = [each for each in seeds if self._nodes[each].stage == stage]
            while frontier:
                number = frontier.pop()
                if number not in alive:
                    alive.add(number)
                    frontier += [each for each in self._by_nothing[number] if self._nodes[each].body not in alive]
        return frozenset(alive)

    def _state(self, alive: frozenset[int]) -> _State:
        found = self._states.get(alive)
        if found is None:
            found = self._states[alive] = _State(self, alive)
        return found

    def _last(self) -> _State:
        """The state at the end of a path."""
        return self._state(self._closed(self._ends + self._anywhere))

    def before(self, state: _State, char: str) -> _State:
        """The state one character earlier in the path."""
        self._remembered += 1
        if self._remembered > REMEMBERED:
            for known in list(self._states.values()):
                known.clear()
            self._states.clear()
            self._remembered = 0
        seeds = list(self._anywhere)
        for number in state.alive:
            for each in self._by_char[number]:
                chars = self._nodes[each].chars
                if chars is not None and chars.match(char):
                    seeds.append(each)
        return self._state(self._closed(seeds))

    def matches(self, path: str) -> bool:
        """Whether the whole path matches."""
        state = self._last()
        for char in reversed(path):
            state = state[char]
        return self._start in state.alive

    def captures(self, path: str) -> list[str] | None:
        """What the groups hold when each choice is the first that can succeed, or None where the path does not match."""
        state = self._last()
        alive = [state.alive]
        for char in reversed(path):
            state = state[char]
            alive.append(state.alive)
        alive.reverse()
        if self._start not in alive[0]:
            return None
        marks = [0] * (2 * self._groups)
        number = self._start
        for place, here in enumerate(alive):
            *passed, number = self._way(number, here, set())
            for each in passed:
                if self._nodes[each].kind == "save":
                    marks[self._nodes[each].slot] = place
            number = (*self._nodes[number].nexts, number)[0]
        return [path[marks[n] : marks[n + 1]] for n in range(0, len(marks), 2)]

    def _way(self, number: int, alive: frozenset[int], seen: set[int]) -> list[int]:
        """The nodes to the next one that takes a character, or the end, by the first choices that can succeed; none where
        all ways go round in a loop."""
        if number not in alive or number in seen:
            return []
        seen.add(number)
        node = self._nodes[number]
        if node.kind in ("char", "end"):
            return [number]
        ways = (self._way(each, alive, seen) for each in node.nexts)
        way = next(filter(None, ways), [])
        return [number, *way] if way else []
