"""Small changes to Python code, such as a slip of the pen makes: `<` for `<=`, a call left out, 1 for 0.

A change replaces a span of the source, so that the rest stays as it is written. What only says something to a reader or
the type checker is left alone: annotations, docstrings, f-strings, errors' messages, help texts, that two lists are as long
as each other, and that a dataclass is frozen.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SWAPS: dict[type[ast.AST], tuple[str, list[str]]] = {
    ast.Lt: ("<", ["<=", ">="]),
    ast.LtE: ("<=", ["<", ">"]),
    ast.Gt: (">", [">=", "<="]),
    ast.GtE: (">=", [">", "<"]),
    ast.Eq: ("==", ["!="]),
    ast.NotEq: ("!=", ["=="]),
    ast.Is: ("is", ["is not"]),
    ast.IsNot: ("is not", ["is"]),
    ast.In: ("in", ["not in"]),
    ast.NotIn: ("not in", ["in"]),
    ast.And: ("and", ["or"]),
    ast.Or: ("or", ["and"]),
    ast.Add: ("+", ["-"]),
    ast.Sub: ("-", ["+"]),
    ast.Mult: ("*", ["/"]),
    ast.Div: ("/", ["*"]),
    ast.FloorDiv: ("//", ["*"]),
    ast.Mod: ("%", ["*"]),
    ast.Pow: ("**", ["*"]),
    ast.BitAnd: ("&", ["|"]),
    ast.BitOr: ("|", ["&"]),
}
UNTOUCHED = ("description", "help", "strict", "frozen")
Change = tuple[int, int, bytes]  # a span of the source, in bytes, and what is put there instead


class Mutant(NamedTuple):
    """One changed source file, and its line before and after."""

    path: str  # from the root
    line: int
    before: str
    after: str
    source: bytes

    def __str__(self) -> str:
        return f"{self.path}\n- {self.before}\n+ {self.after}"


class Mutator:
    """The places of one source file that can be changed, and how."""

    def __init__(self, root: Path, path: str) -> None:
        self._path = path
        self._source = (root / path).read_bytes()
        self._lines = [0]
        for line in self._source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def places(self) -> list[list[Mutant]]:
        """The mutants of each place."""
        found = (
            [
                self._mutant(start, end, text)
                for start, end, text in self._changes(node)
                if self._source[start:end] != text
            ]
            for node in self._nodes(ast.parse(self._source))
        )
        return [mutants for mutants in found if mutants]

    def _nodes(self, node: ast.AST) -> Iterator[ast.AST]:
        """All nodes that say what is done; not the line that calls main()."""
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns") or (isinstance(node, ast.Raise) and name == "exc"):
                continue
            for child in value if isinstance(value, list) else [value]:
                match child:
                    case (
                        ast.JoinedStr()
                        | ast.Expr(value=ast.Constant())
                        | ast.keyword(arg="description" | "help" | "strict" | "frozen")
                    ):
                        pass
                    case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                        pass
                    case ast.AST():
                        yield from self._nodes(child)

    def _changes(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.Compare():
                for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    yield from self._swaps(left, op, right)
            case ast.BoolOp():
                for left, right in itertools.pairwise(node.values):
                    yield from self._swaps(left, node.op, right)
            case ast.BinOp():
                yield from self._swaps(node.left, node.op, node.right)
            case ast.AugAssign():
                yield from self._swaps(node.target, node.op, node.value)
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                start = self._span(node)[0]
                yield start, start + (3 if isinstance(node.op, ast.Not) else 1), b""
            case ast.Constant():
                yield from ((*self._span(node), repr(value).encode()) for value in _others(node.value))
            case ast.Call():
                yield from ((*self._span(part), b"") for part in node.keywords if part.arg not in (None, *UNTOUCHED))
                yield from (
                    (self._span(a)[1], self._span(b)[1], b"") for a, b in list(itertools.pairwise(node.args))[-1:]
                )
            case ast.If() | ast.While() | ast.IfExp():
                yield from ((*self._span(node.test), truth) for truth in (b"True", b"False"))
            case ast.Return(value=ast.expr()):
                yield *self._span(node), b"return None"
            case ast.Expr(value=ast.Call()) | ast.Raise():
                yield *self._span(node), b"pass"

    def _swaps(self, left: ast.AST, op: ast.AST, right: ast.AST) -> Iterator[Change]:
        old, fresh = SWAPS.get(type(op), ("", []))
        start = self._source.index(old.encode(), self._span(left)[1], self._span(right)[0])
        yield from ((start, start + len(old), new.encode()) for new in fresh)

    def _span(self, node: Any) -> tuple[int, int]:
        start = self._lines[node.lineno - 1] + node.col_offset
        end = self._lines[node.end_lineno - 1] + node.end_col_offset
        # A named argument goes with the comma behind it.
        return start, end + (isinstance(node, ast.keyword) and self._source[end : end + 1] == b",")

    def _mutant(self, start: int, end: int, text: bytes) -> Mutant:
        source = self._source[:start] + text + self._source[end:]
        texts = zip(self._source.decode().split("\n"), source.decode().split("\n"), strict=False)
        line, (before, after) = next((n, both) for n, both in enumerate(texts, 1) if both[0] != both[1])
        return Mutant(self._path, line, before.strip(), after.strip(), source)


def _others(value: object) -> list[object]:
    """What a constant is replaced by, one at a time."""
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value + 1, value - 1]
        case str() | bytes():
            return [value[:0]] if value else []
    return []
