"""What Prefect prints in `make up`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAIL = """
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
setup_logging()
get_logger("prefect.server").error("It goes on")
try:
    raise OSError("it is locked" + chr(10) + "[SQL: SELECT 1]")
except OSError:
    get_logger("prefect.server.services").exception("Saving %s has failed", "100%")
"""


def test_an_error_is_one_line() -> None:
    (setting,) = re.findall(r"^up: export (\w+_CONSOLE_CLASS \?= \S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    name, value = setting.split(" ?= ")
    done = subprocess.run(
        [sys.executable, "-c", FAIL],
        env=os.environ | {name: value},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    plain, line = done.stderr.splitlines()
    assert plain.endswith("| ERROR   | prefect.server - It goes on")
    assert line.endswith("| ERROR   | prefect.server.services - Saving 100% has failed: it is locked")
