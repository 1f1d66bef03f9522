"""Options of the command lines."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any


def number(kind: type, least: float, most: float = math.inf) -> Callable[[str], Any]:
    """An argparse type for numbers from `least` to `most`."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            wanted = f"from {least:.10g} to {most:.10g}" if most < math.inf else f"of {least:g} or more"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {'a number' if kind is float else 'a whole number'} {wanted}"
            )
        return value

    return read


def make_folder(path: Path) -> str | None:
    """Makes a folder and those above it; why not, where that can't be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return f"{path} can't be written to ({error.strerror}): name another place"
    return None
