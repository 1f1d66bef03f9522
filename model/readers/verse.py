"""Verse and prose: where a row ends because the line does, and where only the page was full."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_FEW = 8  # row ends that say too little about a file's width
_WRAPPED = 0.8  # share of the rows that are full where all is prose


class Width:
    """How wide a file's rows are. Where there are few, those wider than `narrow` are taken for full."""

    def __init__(self, blocks: Sequence[Sequence[str]], narrow: int = 40) -> None:
        ends = [(len(row), _first_word(after)) for rows in blocks for row, after in itertools.pairwise(rows)]
        lengths = sorted(length for length, _ in ends)
        self._width = lengths[-1 - int(0.02 * len(lengths))] if lengths else 0
        full = sum(length + 1 + word > self._width for length, word in ends)
        self._prose = bool(ends) and full / len(ends) >= _WRAPPED and (len(ends) >= _FEW or self._width > narrow)

    def join(self, rows: Sequence[str]) -> str:
        """The rows of a block as one text: with line breaks if it is verse."""
        return ("\n" if self._is_verse(rows) else " ").join(row.strip() for row in rows)

    def _is_verse(self, rows: Sequence[str]) -> bool:
        if len(rows) < 2 or self._prose:
            return False
        ends = list(itertools.pairwise(rows))
        early = sum(len(row) + 1 + _first_word(after) <= self._width for row, after in ends)
        if early * 2 > len(ends):
            return True
        # Rows that are as long as any: verse begins its lines with capitals, or ends them with a mark.
        return all(
            after.lstrip("\"'“‘«„(")[:1].isupper() or after[0] == "[" or row[-1] in ",;:.!?" for row, after in ends
        )


def _first_word(row: str) -> int:
    """The length of a row's first word."""
    blank = row.find(" ")
    return blank if blank > 0 else len(row)
