"""Performs a Dockerfile for a bundle: its files, its settings, and what shall be installed in its environment."""

from __future__ import annotations

import io
import json
import posixpath
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dockerfile_parse import DockerfileParser

from localpach.errors import Refused
from localpach.runtime import installs, trees
from localpach.runtime.dockerignore import DockerIgnore
from localpach.runtime.installs import Install

# What `PATH` is in a Dockerfile until it says otherwise, and for commands.
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a bundle leaves out, and what takes its place.
LEFT_OUT = {
    "ENTRYPOINT": "the spec gives the command",
    "CMD": "the spec gives the command",
    "SHELL": "the spec gives the command",
    "VOLUME": "commands can write to /pfs/out",
    "EXPOSE": "commands share this machine's network",
    "HEALTHCHECK": "nobody asks",
    "STOPSIGNAL": "commands are stopped by SIGKILL",
    "ONBUILD": "nothing is built on a bundle",
}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")


class Build:
    """One build: `files` fills with what shall stand below `/`, `asked` are the commands that install, each with a
    folder of the files that it names, as they were at that line."""

    def __init__(
        self, context: Path, files: Path, aside: Path, given: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._context = context
        self._files = files
        self._aside = aside
        self._given = given
        self._say = say
        self._args: dict[str, str] = {}
        self._ignore = DockerIgnore.of(context)
        self.env: dict[str, str] = {}
        self.working_dir = "/"
        self.user = ""
        self.asked: list[tuple[Install, Path]] = []
        files.mkdir()

    def perform(self, dockerfile: Path) -> None:
        """Performs all instructions.

        Raises:
            Refused: one of them asks for what a bundle can't be.
        """
        steps = _steps(dockerfile)
        if sum(step["instruction"] == "FROM" for step in steps) > 1:
            raise Refused(f"{dockerfile} has more than one FROM: a bundle has one stage")
        for step in steps:
            kind, value, line = step["instruction"], step["value"], step["startline"] + 1
            try:
                self._step(kind, value, line)
            except OSError as error:
                raise Refused(f"line {line}: {kind} {value}: {error.strerror}") from error

    def _step(self, kind: str, value: str, line: int) -> None:
        if kind == "ARG":
            name, _, default = value.partition("=")
            self._args[name] = self._given.get(name, self._expand(default))
        elif kind == "ENV":
            self.env.update((key, self._expand(text)) for key, text in _pairs(value))
        elif kind == "WORKDIR":
            self._enter(self._expand(value))
        elif kind == "USER":
            self._become(self._expand(value), line)
        elif kind == "RUN":
            self._install(value, line)
        elif kind in ("COPY", "ADD"):
            self._copy(value, kind, line)
        elif kind in LEFT_OUT:
            self._say(f"line {line}: {kind} is left out: {LEFT_OUT[kind]}")
        elif kind not in ("FROM", "LABEL", "MAINTAINER", "COMMENT"):
            raise Refused(f"line {line}: {kind} is no instruction of a Dockerfile")

    def _expand(self, text: str) -> str:
        known = {"PATH": USUAL_PATH, **self._args, **self.env}
        return _VARIABLE.sub(lambda m: known.get(m[1] or m[3], m[2] or ""), text).strip().strip("\"'")

    def _enter(self, folder: str) -> None:
        self.working_dir = posixpath.normpath(posixpath.join(self.working_dir, folder))
        if not self._is_on_machine(self.working_dir):
            (self._files / self.working_dir.strip("/")).mkdir(parents=True, exist_ok=True)

    def _become(self, user: str, line: int) -> None:
        numbers = re.sub(r"\broot\b", "0", user)
        if re.fullmatch(r"\d+(:\d+)?", numbers):
            self.user = numbers
        else:
            self._say(f"line {line}: USER is left out: a bundle has no user named {user}; give a number")

    def _install(self, value: str, line: int) -> None:
        found = installs.read(value, self.working_dir, {**self._args, **self.env}, self._expand)
        if found is None:
            self._say(f"line {line}: RUN is left out: a bundle only installs with pip or uv; this machine has the rest")
            return
        for install in found:
            place = self._aside / str(len(self.asked))
            place.mkdir(parents=True)
            install.take(self._files, place)
            self.asked.append((install, place))

    def _copy(self, value: str, kind: str, line: int) -> None:
        words = _words(value)
        flags = [word for word in words if word.startswith("--")]
        if any(flag.startswith("--from") for flag in flags):
            raise Refused(f"{kind} {value}: a bundle can't copy from other images; copy from the build context")
        for flag in flags:
            self._say(f"line {line}: {flag} is left out: a bundle's files are everybody's to read, as in the context")
        sources = [self._expand(word) for word in words if word not in flags]
        if len(sources) < 2:
            raise Refused(f"{kind} {value}: name what to copy, and where to")
        target = sources.pop()
        place = posixpath.normpath(posixpath.join(self.working_dir, target))
        if self._is_on_machine(place):
            top = "/" + place.split("/")[1]
            raise Refused(f"{kind} {value}: {top} exists on this machine; copy into a top-level folder of its own")
        found = [match for source in sources for match in self._find(source, f"{kind} {value}")]
        is_folder = len(found) > 1 or target.endswith("/") or posixpath.basename(target) in (".", "..")
        for match in found:
            if kind == "ADD" and (self._context / match).is_file() and tarfile.is_tarfile(self._context / match):
                self._say(f"line {line}: ADD copies {match} as it is: a bundle unpacks nothing")
            self._lay(match, PurePosixPath(place), is_folder)

    def _is_on_machine(self, place: str) -> bool:
        """Whether a place is, or lies in, a top-level folder of this machine's own."""
        top = place.split("/")[1]
        return not top or (not (self._files / top).exists() and (Path("/") / top).exists())

    def _find(self, source: str, instruction: str) -> list[PurePosixPath]:
        """What a source names in the build's folder, without what `.dockerignore` leaves out."""
        pattern = posixpath.normpath(source.lstrip("/"))
        try:
            matches = [self._context] if pattern == "." else sorted(self._context.glob(pattern))
        except ValueError as error:
            raise Refused(f"{instruction}: {error}") from error
        for match in matches:
            if not match.resolve().is_relative_to(self._context):
                raise Refused(f"{instruction}: {source} leads out of {self._context}")
        paths = [PurePosixPath(match.relative_to(self._context)) for match in matches]
        found = [path for path in paths if any(self._ignore.walk(self._context, path))]
        if not found:
            where = ", or .dockerignore leaves it out" if paths else ""
            raise Refused(f"{instruction}: {source} is not in {self._context}{where}")
        return found

    def _lay(self, source: PurePosixPath, place: PurePosixPath, into: bool) -> None:
        target = self._files / place.relative_to("/")
        here = self._context / source
        if here.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            real = PurePosixPath(here.resolve().relative_to(self._context))
            for path in self._ignore.walk(self._context, real):
                trees.copy(self._context / path, target / path.relative_to(real))
        else:
            trees.copy(here.resolve(), target / source.name if into or target.is_dir() else target)


def _steps(dockerfile: Path) -> list[dict[str, Any]]:
    """The instructions of a Dockerfile, in order."""
    data = dockerfile.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{dockerfile} is not UTF-8: {error}") from error
    if "\0" in text:
        raise Refused(f"{dockerfile} has a NUL in it")
    found: list[dict[str, Any]] = DockerfileParser(fileobj=io.BytesIO(data), env_replace=False).structure
    return found


def _words(value: str) -> list[str]:
    """What is copied, and where to; in JSON, where it begins as a list."""
    if not value.startswith("["):
        return value.split()
    try:
        return [str(word) for word in json.loads(value)]
    except (ValueError, RecursionError) as error:
        raise Refused(f"{value} is no list in JSON: {error}") from error


def _pairs(value: str) -> list[tuple[str, str]]:
    if "=" not in value.partition(" ")[0]:
        key, _, text = value.partition(" ")
        return [(key, text)]
    return re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S*)", value)
