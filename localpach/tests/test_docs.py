"""Generated pages are those that their generators make now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_of_rpcs_is_up_to_date() -> None:
    code = "import sys; sys.path.insert(0, 'docs'); import generate_rpcs; sys.stdout.write(generate_rpcs.table())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    message = "docs/rpcs.md is out of date: run `python docs/generate_rpcs.py`"
    assert done.stdout == (ROOT / "docs" / "rpcs.md").read_text(), message


def test_the_tests_that_the_page_on_reliability_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text())
    assert len(named) > 30
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file} has no {test}"
