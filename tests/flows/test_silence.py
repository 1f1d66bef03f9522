"""Signs of life: as long as nothing is said, and anew after each line."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import flows
from flows.silence import SignsOfLife


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[str, int], None]:
    """Waits until lines with this end have been printed so often."""
    seen: list[str] = []

    def wait(end: str, times: int) -> None:
        deadline = time.monotonic() + 60
        while sum(line.endswith(end) for line in seen) < times:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            seen.extend(capsys.readouterr().out.splitlines())

    return wait


def test_silence_is_broken_as_long_as_it_lasts_and_from_the_last_line_on(printed: Callable[[str, int], None]) -> None:
    with SignsOfLife("the start", 0.05) as signs:
        printed("s since the start", 2)
        signs.say("now this")
        printed("now this", 1)
        printed("s since the last line", 1)


def test_what_prefect_logs_is_a_line(printed: Callable[[str, int], None]) -> None:
    with SignsOfLife("the start", 0.05):
        logging.getLogger("prefect.engine").warning("said")
        printed("s since the last line", 2)


def test_nothing_is_left_of_it() -> None:
    before = (list(logging.getLogger("prefect").handlers), threading.active_count())
    with SignsOfLife("the start"):
        assert len(logging.getLogger("prefect").handlers) == len(before[0]) + 1
    assert (logging.getLogger("prefect").handlers, threading.active_count()) == before


def test_a_run_whose_lines_nobody_takes_says_no_more() -> None:
    console = Console()
    child = os.fork()
    if not child:
        descriptors = Path("/proc/self/fd")
        opened = len([*descriptors.iterdir()])
        flows._print_no_more(console)
        places = {str((descriptors / number).readlink()) for number in "12"}
        os._exit(console.quiet and places == {os.devnull} and len([*descriptors.iterdir()]) == opened)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
