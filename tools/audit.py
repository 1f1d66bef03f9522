"""Checks all that is installed: `make audit`.

Each version of each lock is held by the SHA-256 of its files, and nothing is installed otherwise (`tools/locks.py`). Where the
network allows, pip-audit asks the package index which of them have known vulnerabilities; what is known and does no harm here
stands in `tools/known-vulnerabilities.toml` with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.locks import Pin, locks, problems, read_lock

HERE = Path(__file__).parent
ROOT = HERE.parent
KNOWN = HERE / "known-vulnerabilities.toml"
PIP_AUDIT = HERE / ".venv" / "bin" / "pip-audit"
OPTIONS = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")


def outdated(known: dict[str, Any], root: Path) -> Iterator[str]:
    """A sentence for each known vulnerability of a version that no lock has."""
    locked = {f"{pin.name} {pin.version}" for lock in locks(root) for pin in read_lock(lock) if isinstance(pin, Pin)}
    for name, entry in known.items():
        if entry["package"] not in locked:
            yield f"{KNOWN.name}: {name} is of {entry['package']}, which is no longer installed: take it out."


def vulnerabilities(report: dict[str, Any], known: dict[str, Any]) -> Iterator[str]:
    """A sentence for each vulnerability in a report of pip-audit that is not known."""
    for package in report["dependencies"]:
        for found in package.get("vulns", ()):
            if known.keys().isdisjoint([found["id"], *found["aliases"]]):
                fixed = " or ".join(found["fix_versions"]) or "no version yet"
                yield f"{package['name']} {package['version']} has {found['id']}; without it: {fixed}."


def look_up(lock: Path) -> dict[str, Any] | None:
    """What pip-audit says of a lock; None where the index does not tell it."""
    command = [str(PIP_AUDIT), *OPTIONS, "--requirement", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return None
    # An index that knows none of them is a mirror without such data.
    return None if all("skip_reason" in package for package in report["dependencies"]) else report


def main() -> None:
    """Prints what is wrong and ends with 1 if anything is."""
    known = tomllib.loads(KNOWN.read_text())
    wrong = [*problems(ROOT), *outdated(known, ROOT)]
    for lock in locks(ROOT):
        report = look_up(lock)
        if report is None:
            print("The package index tells nothing of vulnerabilities here: they were not looked up.")
            break
        wrong += [f"{lock.relative_to(ROOT)}: {sentence}" for sentence in vulnerabilities(report, known)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(locks(ROOT))} locks, {len(wrong)} problems")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
