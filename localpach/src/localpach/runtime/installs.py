"""RUN lines that install with pip or uv: what they ask for, in words that both programs understand."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from localpach.errors import Refused
from localpach.runtime import trees

FILES = {"-r": "--requirement", "--requirement": "--requirement", "-c": "--constraint", "--constraint": "--constraint"}
VALUES = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--only-binary": "--only-binary",
    "--no-binary": "--no-binary",
}
FLAGS = {"-U": "--upgrade"} | {
    name: name for name in ("--upgrade", "--require-hashes", "--no-deps", "--no-index", "--no-build-isolation", "--pre")
}
# What an environment of its own has no use for, without a value and with one.
IDLE = {
    "-q",
    "--quiet",
    "--no-cache",
    "--no-cache-dir",
    "--system",
    "--break-system-packages",
    "--disable-pip-version-check",
    "--no-input",
    "--no-warn-script-location",
    "--no-compile",
    "--compile-bytecode",
}
IDLE_VALUES = {"--root-user-action", "--progress-bar"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_NESTED = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)")
Expand = Callable[[str], str]
_ARCHIVES = (".whl", ".tar.gz", ".zip")


@dataclass(frozen=True)
class Install:
    """One command. `arguments` each come with whether they are the path of a file or folder of the bundle; `env` are
    its variables."""

    said: str
    arguments: tuple[tuple[str, bool], ...]
    env: tuple[tuple[str, str], ...]

    def take(self, files: Path, place: Path) -> None:
        """Copies what the command names, and what that names, from a bundle's files to a folder of the same shape.

        Raises:
            Refused: the bundle does not have it yet.
        """
        for path, is_path in self.arguments:
            if is_path:
                self._take(files, path, place)

    def _take(self, files: Path, path: str, place: Path) -> None:
        source, target = files / path.strip("/"), place / path.strip("/")
        if not source.exists():
            raise Refused(f"RUN {self.said}: {path} is not in the bundle at this line; COPY it before")
        if target.exists():
            return
        trees.copy(source, target)
        if source.is_dir():
            for item in sorted(source.rglob("*")):
                trees.copy(item, target / item.relative_to(source))
            return
        if path.endswith(_ARCHIVES):
            return
        for line in source.read_text(errors="replace").splitlines():
            nested = _NESTED.match(line)
            name = nested[1] if nested else line.split("#")[0].strip()
            if nested or _is_path(name):
                self._take(files, posixpath.normpath(posixpath.join(posixpath.dirname(path), name)), place)


def read(value: str, working_dir: str, variables: Mapping[str, str], expand: Expand) -> list[Install] | None:
    """The commands of a RUN line; None where it does anything else, or asks pip for what no bundle can have.
    `variables` are the Dockerfile's so far, of which those for pip and uv count."""
    settings = {name: text for name, text in variables.items() if name.startswith(("PIP_", "UV_"))}
    words = _words(value)
    while words and re.match(r"--(mount|network|security)=", words[0]):
        words.pop(0)
    installs = []
    for command in _split(words):
        install = _read_command(command, working_dir, settings, expand)
        if install is None:
            return None
        installs.append(install)
    return installs


def _words(value: str) -> list[str]:
    if "`" in value and not value.startswith("["):
        return []
    lexer = shlex.shlex(value, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return [str(word) for word in (json.loads(value) if value.startswith("[") else lexer)]
    except (ValueError, RecursionError):
        return []


def _split(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def _read_command(words: list[str], working_dir: str, settings: Mapping[str, str], expand: Expand) -> Install | None:
    said = " ".join(words)
    env = dict(settings)
    while words and _ASSIGNMENT.match(words[0]):
        name, _, text = words[0].partition("=")
        env[name] = expand(text)
        words = words[1:]
    rest = _behind_program(words)
    if rest is None or any(set(word) <= set("();<>|&") for word in rest):
        return None
    arguments: list[tuple[str, bool]] = []
    while rest:
        name, has_value, value = _option(rest.pop(0))
        if name in FILES or name in VALUES or name in IDLE_VALUES:
            if not has_value and not rest:
                return None
            value = expand(value if has_value else rest.pop(0))
        if name in FILES:
            arguments += [(FILES[name], False), (posixpath.normpath(posixpath.join(working_dir, value)), True)]
        elif name in VALUES:
            is_folder = VALUES[name] == "--find-links" and "://" not in value
            value = posixpath.normpath(posixpath.join(working_dir, value)) if is_folder else value
            arguments += [(VALUES[name], False), (value, is_folder)]
        elif name in FLAGS:
            arguments.append((FLAGS[name], False))
        elif not name.startswith("-"):
            package = expand(name)
            path = posixpath.normpath(posixpath.join(working_dir, package))
            arguments.append((path, True) if _is_path(package) else (package, False))
        elif name not in IDLE | IDLE_VALUES:
            return None
    return Install(said, tuple(arguments), tuple(sorted(env.items())))


def _behind_program(words: list[str]) -> list[str] | None:
    """What follows `pip install` in one of its spellings."""
    if not words:
        return None
    program = re.sub(r"[\d.]+$", "", posixpath.basename(words[0]))
    for spelling in (["pip", "install"], ["uv", "pip", "install"], ["python", "-m", "pip", "install"]):
        if [program, *words[1 : len(spelling)]] == spelling:
            return words[len(spelling) :]
    return None


def _option(word: str) -> tuple[str, bool, str]:
    """Name, whether a value is part of the word, and that value."""
    if word.startswith("--"):
        name, has_value, value = word.partition("=")
        return name, bool(has_value), value
    if word[:2] in FILES.keys() | VALUES.keys() and len(word) > 2:
        return word[:2], True, word[2:]
    return word, False, ""


def _is_path(package: str) -> bool:
    if "://" in package or "@" in package or package.startswith("-"):
        return False
    return package.startswith((".", "/")) or package.endswith(("/", *_ARCHIVES))
