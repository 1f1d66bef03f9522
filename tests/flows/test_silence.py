"""Signs of life: as long as nothing is said, and anew after each line."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.silence import SignsOfLife

ROOT = Path(__file__).parents[2]


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
    with SignsOfLife("the start", 0.05) as signs:
        printed("s since the start", 1)
        # As Prefect does when it is imported.
        logging.getLogger("prefect").removeHandler(signs)
        printed("s since the start", 2)
        logging.getLogger("prefect.engine").warning("said")
        printed("s since the last line", 2)


def test_nothing_is_left_of_it(printed: Callable[[str, int], None]) -> None:
    before = (list(logging.getLogger("prefect").handlers), threading.active_count())
    with SignsOfLife("the start", 0.05):
        printed("s since the start", 1)
        assert len(logging.getLogger("prefect").handlers) == len(before[0]) + 1
    assert (logging.getLogger("prefect").handlers, threading.active_count()) == before


def lines_of(command: list[str], folder: Path, **variables: str) -> Iterator[str]:
    """What a command prints, with a Prefect whose import does not end, for as long as somebody asks."""
    (folder / "prefect.py").write_text("import time\nwhile True: time.sleep(0.01)")
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", **variables}
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield from process.stdout
        finally:
            process.terminate()


@pytest.mark.parametrize(("module", "arguments"), [("flows", ["train"]), ("flows.up", [])])
def test_signs_of_life_come_while_prefect_is_being_imported(module: str, arguments: list[str], tmp_path: Path) -> None:
    """In what make starts."""
    code = (
        "import functools, runpy, sys, flows.silence as it;"
        "it.SignsOfLife = functools.partial(it.SignsOfLife, seconds=0.05);"
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    lines = lines_of([sys.executable, "-c", code, module, *arguments], tmp_path)
    assert any(line.endswith("s since the start\n") for line in lines)


def test_signs_of_life_come_in_a_run_of_make_up(tmp_path: Path) -> None:
    variables = {"PREFECT__FLOW_RUN_ID": "1", "SCRIPTWRIGHT_SIGN_OF_LIFE_SECONDS": "0.05"}
    lines = lines_of([sys.executable, "-c", "import flows.train"], tmp_path, **variables)
    assert any(line.endswith("s since the start\n") for line in lines)


@pytest.mark.slow
def test_signs_of_life_come_while_an_environment_is_being_made(tmp_path: Path) -> None:
    """By a Python that makes none, in a project with nothing of its own."""
    for name in ("Makefile", "requirements-uv.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" != -m ] || exec sleep 100\n')
    python.chmod(0o755)
    command = ["make", f"PYTHON={python}", ".venv/bin/uv"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as making:
        try:
            assert making.stdout
            assert next(making.stdout) == "Making the environments\n"
            assert next(making.stdout) == "… it goes on, 8 s\n"
        finally:
            os.killpg(making.pid, signal.SIGTERM)
