"""What is installed, and from where: the rules that locks and the recipes that install from them have to keep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?)==(?P<version>[^\s;*]+)(?P<marker>\s*;[^#]*?)?"
    r"(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)
RECIPES = ("Makefile", "Dockerfile", ".ci/run")
DEFINITION = re.compile(r"^(?:ARG )?(\w+) ?:?= ?(.*)$", re.MULTILINE)
VARIABLE = re.compile(r"\$[({](\w+)[)}]")
INSTALL = re.compile(r"\bpip[\d.]*\s(?:[^&|;]*\s)?install\b")
OTHER_SOURCE = re.compile(
    r"\b(?:curl|wget|npm|npx|pipx|uvx)\b|\b(?:git clone|uv (?:add|run|sync|tool))\b|--(?:extra-)?index-url|--find-links"
)
FROM = re.compile(r"^FROM (?:--\S+ )*(\S+)")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


class Pin(NamedTuple):
    """A version and the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


def locks(root: Path) -> list[Path]:
    """All locks of the project."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if re.fullmatch(r"requirements.*\.txt", name)]
    return sorted(found)


def read_lock(path: Path) -> Iterator[Pin | str]:
    """Its pins; a line that is none as it stands."""
    for line in _whole_lines(path):
        pin = PIN.fullmatch(line)
        yield Pin(pin["name"], pin["version"], tuple(re.findall("[0-9a-f]{64}", pin["hashes"]))) if pin else line


def problems(root: Path) -> Iterator[str]:
    """A sentence for each breach of a rule."""
    renewed = (root / "Makefile").read_text()
    for path in locks(root):
        name = path.relative_to(root).as_posix()
        for line in read_lock(path):
            if isinstance(line, str):
                yield f"{name}: {line!r} is no version with the SHA-256 of its files: run `make lock`."
        if f"-o {name}\n" not in renewed:
            yield f"{name}: `make lock` does not renew it."
    for name in RECIPES:
        yield from (f"{name}: {problem}" for problem in _of_recipe(root, root / name))


def _of_recipe(root: Path, path: Path) -> Iterator[str]:
    values = dict(DEFINITION.findall(path.read_text()))
    for line in _whole_lines(path):
        command = _expand(line, values)
        base = FROM.match(command)
        if base and not DIGEST.search(base[1]):
            yield f"the base image {base[1]} has no digest: a tag may name another one tomorrow."
        if DEFINITION.match(line):
            continue
        if OTHER_SOURCE.search(command):
            yield f"{line.strip()!r} takes from elsewhere what no lock names."
        if INSTALL.search(command):
            yield from _of_install(root, line.strip(), command)


def _of_install(root: Path, line: str, command: str) -> Iterator[str]:
    """Either from locks alone, or this project's own code and nothing that it depends on."""
    if "--require-hashes" in command:
        for lock in re.findall(r"(?:-r|--requirement) (?:/code/)?(\S+)", command):
            if root / lock not in locks(root):
                yield f"{line!r} installs from {lock}, which is no lock of the project."
    elif not {"--no-deps", "--no-build-isolation"} <= set(command.split()):
        yield f"{line!r} installs what no hash holds: say --require-hashes, and from which lock."


def _expand(line: str, values: dict[str, str]) -> str:
    while (expanded := VARIABLE.sub(lambda name: values.get(name[1], name[0]), line)) != line:
        line = expanded
    return line


def _whole_lines(path: Path) -> Iterator[str]:
    """Lines without comments, those that are continued as one."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if line.strip():
            yield line
