"""What comes from elsewhere is read, or refused by a sentence, whatever it is: what is known to be odd, and what coverage leads to."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS

ROOT = Path(__file__).parents[2]
FUZZ = ROOT / "localpach" / "tests" / "fuzz" / "fuzz.py"
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SECONDS = int(os.environ.get("FUZZ_SECONDS", "4"))
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
    aside = [f"-artifact_prefix={tmp_path}-", str(tmp_path)]
    options = [f"-seed={SEED}", f"-max_total_time={SECONDS}", "-timeout=30", "-rss_limit_mb=2048", *aside]
    command = [sys.executable, str(FUZZ), "tests.fuzz.parsers", name, "tasks,prefect_pachyderm", *options]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=ROOT)
    said = f"FUZZ_SEED={SEED}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    print(name, said[-200:])
