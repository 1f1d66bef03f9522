"""Generated pages are those that their generators make now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_of_rpcs_is_up_to_date() -> None:
    code = "import sys; sys.path.insert(0, 'docs'); import generate_rpcs; sys.stdout.write(generate_rpcs.table())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    message = "docs/rpcs.md is out of date: run `python docs/generate_rpcs.py`"
    assert done.stdout == (ROOT / "docs" / "rpcs.md").read_text(), message
