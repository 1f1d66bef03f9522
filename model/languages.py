"""What `languages.toml` says, put together for all languages."""

from __future__ import annotations

import tomllib
from pathlib import Path

_TABLES: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("languages.toml").read_text(encoding="utf-8")
)


def _all(key: str) -> list[str]:
    """The words of all languages, the longest first, as an alternation of regular expressions needs them."""
    return sorted({word for table in _TABLES.values() for word in table[key]}, key=lambda word: (-len(word), word))


ACTS, SCENES, CHAPTERS, ALONE, SLUGS, NUMERALS, ABBREVIATIONS = (
    _all(key) for key in ("act", "scene", "chapter", "alone", "slug", "numerals", "abbreviations")
)
