"""Limits and choices that the program and those who call it share."""

from __future__ import annotations

LONGEST = 50_000  # tokens of a script
HIGHEST_SEED = 2**32 - 1
LEAST_MINUTES, MOST_MINUTES = 0.5, 10_000  # of a training
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
