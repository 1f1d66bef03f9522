"""Limits and choices that the program and those who call it share."""

from __future__ import annotations

LONGEST = 50_000  # tokens of a script
HIGHEST_SEED = 2**32 - 1
# What scripts may be in.
FORMATS = (
    "play",
    "transcript",
    "screenplay",
    "fountain",
    "final-draft",
    "subtitles",
    "table",
    "tokens",
    "prose",
)
