"""What is parsed gives a result or a sentence, whatever it is: what is known to be odd, and what coverage leads to."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS

SEED = int(os.environ.get("FUZZ_SEED", random.randrange(1, 1 << 31)))
SECONDS = int(os.environ.get("FUZZ_SECONDS", "5"))
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


@pytest.mark.parametrize("name", PARSERS)
def test_what_a_parser_has_stumbled_over_once(name: str) -> None:
    for seed in PARSERS[name].seeds:
        PARSERS[name].parse(seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_gives_a_result_or_a_sentence(name: str, tmp_path: Path) -> None:
    if not HAS_ATHERIS and not os.environ.get("CI"):
        pytest.skip("there is no atheris for this Python on this machine")
    for number, seed in enumerate(PARSERS[name].seeds):
        (tmp_path / str(number)).write_bytes(seed)
    options = [f"-seed={SEED}", f"-max_total_time={SECONDS}", "-timeout=30", "-rss_limit_mb=2048"]
    aside = [f"-artifact_prefix={tmp_path}-", str(tmp_path), "-print_final_stats=1"]
    command = [sys.executable, "tests/fuzz/fuzz.py", "tests.fuzz.parsers", name, "localpach,cronsim", *options, *aside]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, f"FUZZ_SEED={SEED}\n{done.stderr[-5000:]}"
    print(f"{name}: FUZZ_SEED={SEED}", *[line for line in done.stderr.splitlines() if "DONE" in line])
