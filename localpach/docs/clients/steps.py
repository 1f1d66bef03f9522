"""A day's work in steps, each told by a line: `ok NAME`, or `failed NAME: WHY`. It runs in the environment of a client."""

from __future__ import annotations

from collections.abc import Callable

Steps = dict[str, Callable[[], object]]


def run(steps: Steps) -> None:
    """Takes all steps, the later ones even after one that failed; a step fails, too, when it gives False."""
    for name, step in steps.items():
        try:
            if step() is False:
                raise ValueError("the answer is not what was to be expected")
        except Exception as error:
            reason = " ".join(str(error).split())
            print(f"failed {name}: {type(error).__name__}: {reason[:200]}")
        else:
            print(f"ok {name}")
