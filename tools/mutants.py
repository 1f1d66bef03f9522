"""Changes the code in small ways and asks its tests whether they notice: `python -m tools.mutants [GROUP ...] --seed 1 --sample 60`.

`tools/mutants.toml` has the groups: source files, and the command that runs the tests that belong to them. Of all places in
a group's sources a seeded sample is drawn; each is changed alone, in a copy of the tree, and the command has to fail. One
that runs much longer than with nothing changed counts as failed. What survives is printed as `tools/mutants-equivalent.txt`
keeps it: put it there with a reason if nothing that is promised depends on it, else write a test.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import NamedTuple

from tools.mutations import Mutant, Mutator

HERE = Path(__file__).parent
ROOT = HERE.parent
EQUIVALENT = HERE / "mutants-equivalent.txt"
TOGETHER = 2  # copies of the tree in which tests run at once
LEAST = 0.8  # share of a group's mutants that has to be killed
PATIENCE, GRACE = 4, 15  # time limit: so many times the unchanged run, and so many seconds more
KINDS = ("killed", "timed out", "survived", "equivalent")
MEMORY = 16 << 20  # KiB of addresses: a mutant may ask for more and more
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".cache", ".localpach", "output", "__pycache__", "*_cache", ".hypothesis"
)


class Group(NamedTuple):
    """Sources, and the shell command, run in the root, that tests them and fails fast."""

    sources: list[str]
    tests: str


def sample(sources: list[str], seed: int, size: int) -> list[Mutant]:
    """Mutants of so many places, in the order of the sources."""
    random = Random(seed)
    paths = sorted(path.relative_to(ROOT).as_posix() for pattern in sources for path in ROOT.glob(pattern))
    places = [place for path in paths for place in Mutator(ROOT, path).places()]
    chosen = sorted(random.sample(range(len(places)), min(size, len(places))))
    return [random.choice(places[number]) for number in chosen]


def copy_tree(folder: Path) -> Path:
    """A copy of the tree whose environments are links to ours."""
    copy = folder / "tree"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_OUT)
    for environment in (*ROOT.glob(".venv"), *ROOT.glob("*/.venv")):
        (copy / environment.relative_to(ROOT)).symlink_to(environment)
    (folder / "tmp").mkdir()
    return copy


def run_tests(group: Group, copy: Path, limit: float) -> str:
    """What came of the group's tests in a copy of the tree: "survived", "killed" or "timed out"."""
    own = {"TMPDIR": str(copy.with_name("tmp")), "PYTHONDONTWRITEBYTECODE": "1"}
    command = f"ulimit -v {MEMORY}; {group.tests}"
    with subprocess.Popen(
        ["nice", "bash", "-c", command],
        cwd=copy,
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return "killed" if process.wait(limit) else "survived"
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing was left behind
                os.killpg(process.pid, signal.SIGKILL)


def try_group(group: Group, mutants: list[Mutant], known: set[str], copies: SimpleQueue[Path]) -> Counter[str]:
    """How many mutants were killed, survived, timed out or are known to be equivalent; says each that survived."""
    copy = copies.get()
    start = time.monotonic()
    if run_tests(group, copy, 3600) != "survived":
        sys.exit(f"Error: the tests fail with nothing changed; run them and mend them first: {group.tests}")
    limit = PATIENCE * (time.monotonic() - start) + GRACE
    copies.put(copy)

    def kill(mutant: Mutant) -> str:
        copy = copies.get()
        target = copy / mutant.path
        target.write_bytes(mutant.source)
        outcome = run_tests(group, copy, limit)
        shutil.copy(ROOT / mutant.path, target)
        copies.put(copy)
        if outcome == "survived":
            print(f"# line {mutant.line} survived\n{mutant}\n", flush=True)
        return outcome

    fresh = [mutant for mutant in mutants if str(mutant) not in known]
    with ThreadPoolExecutor(TOGETHER) as pool:
        return Counter(pool.map(kill, fresh)) + Counter(equivalent=len(mutants) - len(fresh))


def killed(found: Counter[str]) -> float:
    """The share of the mutants that were killed, of those that can be."""
    return 1 - found["survived"] / max(1, found.total() - found["equivalent"])


def main() -> None:
    """The command line."""
    groups = {name: Group(**entry) for name, entry in tomllib.loads((HERE / "mutants.toml").read_text()).items()}
    parser = argparse.ArgumentParser(description="Changes the code in small ways and asks its tests if they notice.")
    parser.add_argument("groups", nargs="*", choices=[*groups, []], help=f"of {', '.join(groups)} (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default 1)")
    parser.add_argument("--sample", type=int, default=60, help="mutants of each group (default 60)")
    options = parser.parse_args()
    entries = EQUIVALENT.read_text().split("\n\n") if EQUIVALENT.exists() else []
    known = {"\n".join(entry.strip().split("\n")[:3]) for entry in entries}
    rows: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(TOGETHER):
            (Path(folder) / str(number)).mkdir()
            copies.put(copy_tree(Path(folder) / str(number)))
        for name in options.groups or groups:
            mutants = sample(groups[name].sources, options.seed, options.sample)
            rows[name] = try_group(groups[name], mutants, known, copies)
    print(f"{'group':12}" + "".join(f"{kind:>12}" for kind in KINDS) + f"{'share':>8}")
    for name, found in rows.items():
        print(f"{name:12}" + "".join(f"{found[kind]:12}" for kind in KINDS) + f"{killed(found):8.0%}")
    if any(killed(found) < LEAST for found in rows.values()):
        sys.exit(f"Error: fewer than {LEAST:.0%} were killed: write tests that notice the survivors above")


if __name__ == "__main__":
    main()
