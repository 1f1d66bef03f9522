"""Evaluates programs that clients send; a program of its own, for one of theirs may have no end.

usage: python evaluator.py LANGUAGE SECONDS BYTES, with limits on its CPU time and memory; in the language
  jsonnet    it reads {"template": …, "args": {…}}; answers with the value, as a string
  jq         it reads a line with the filter, then a line for each document; answers `true` for the filter, and `true` or
             `false` for each document

Each line and answer is JSON; {"error": …} says why there is no other, and is the last.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import NoReturn


def _no_imports(folder: str, name: str) -> NoReturn:
    """A template must not read this machine's files."""
    raise RuntimeError(f"import of {name}: a template can't import; put all of it into one file")


def answer(value: object) -> None:
    """Writes one line."""
    print(json.dumps(value), flush=True)


def render() -> None:
    """Calls a template, a jsonnet function, with its arguments, all of them strings."""
    # What one language is evaluated by must not take of the other's memory.
    import _gojsonnet  # noqa: PLC0415

    request = json.loads(sys.stdin.readline())
    value = _gojsonnet.evaluate_snippet(
        "main", request["template"], tla_vars=request["args"], import_callback=_no_imports
    )
    answer(value)


def select() -> None:
    """Keeps the documents for which a filter's first result is neither `false` nor `null`."""
    import jq  # noqa: PLC0415

    program = jq.compile(json.loads(sys.stdin.readline()))
    answer(True)
    for line in sys.stdin:
        first = next(iter(program.input_text(line)), None)
        answer(first is not None and first is not False)


if __name__ == "__main__":
    language, seconds, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        {"jsonnet": render, "jq": select}[language]()
    except (ImportError, RuntimeError, ValueError) as error:
        answer({"error": str(error)})
