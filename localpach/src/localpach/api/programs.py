"""Programs that clients send: templates in jsonnet, and the filters of lists in jq."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from localpach.errors import Refused

PROGRAM = Path(__file__).with_name("evaluator.py")
SECONDS = 10  # of CPU
BYTES = 1 << 30


class Evaluator:
    """A process that evaluates what is in one language, with nothing of ours in its environment: programs may ask for
    it."""

    def __init__(self, language: str, refusal: str) -> None:
        """`refusal` begins the sentence when it can't."""
        self._refusal = refusal
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), language, str(SECONDS), str(BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Programs may write there as much as they like.
            stderr=subprocess.DEVNULL,
            # Each further thread of Go's takes of the memory that there is.
            env={"GOMAXPROCS": "1"},
            cwd="/",
            # A signal to the server's group, such as Ctrl-C in a terminal, is the server's to answer.
            start_new_session=True,
        )

    def ask(self, line: object) -> Any:
        """The answer to a line.

        Raises:
            Refused: The program is wrong, or has no end.
        """
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
        text = self._process.stdout.readline()
        answer = json.loads(text) if text else {"error": f"it takes more than {SECONDS} s or {BYTES >> 20} MiB"}
        if isinstance(answer, dict):
            raise Refused(f"{self._refusal}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()


def render(template: str, arguments: dict[str, str]) -> str:
    """The JSON that a jsonnet function gives, called with arguments, all of them strings.

    Raises:
        Refused: It is wrong, or has no end.
    """
    with closing(Evaluator("jsonnet", "template err")) as evaluator:
        return str(evaluator.ask({"template": template, "args": arguments}))


@contextmanager
def jq_filter(program: str) -> Iterator[Callable[[Any], bool]]:
    """A predicate of a jq filter, which keeps what its first result is for: anything but `false` and `null`.

    Raises:
        Refused: It is wrong, or has no end.
    """
    if not program:
        yield lambda info: True
        return
    with closing(Evaluator("jq", "jqFilter")) as evaluator:
        evaluator.ask(program)
        yield lambda info: bool(evaluator.ask(json_format.MessageToDict(info, preserving_proto_field_name=True)))
