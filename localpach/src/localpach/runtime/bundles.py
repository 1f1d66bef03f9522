"""Bundles: images for the process runtime, built from a Dockerfile's COPY, ENV, WORKDIR and ARG.

A bundle holds the files that the Dockerfile adds; the programs are this machine's, those of the server's own Python
environment first. What a Dockerfile RUNs is thus expected to be installed here, and is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dockerfile_parse import DockerfileParser

from localpach.errors import NotFound, Refused

# What a bundle leaves out, and what takes its place.
LEFT_OUT = {
    "RUN": "what it installs is expected on this machine",
    "USER": "commands run as the server's user, or as the spec's transform.user",
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


@dataclass(frozen=True)
class Bundle:
    """A built bundle; `root` holds its files as they shall stand below `/`."""

    digest: str
    root: Path
    env: dict[str, str]
    working_dir: str

    @property
    def top_level(self) -> list[str]:
        """The names below `/` that the bundle brings."""
        return sorted(item.name for item in self.root.iterdir())


class Bundles:
    """The bundles of one data directory, and their tags."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "images"
        self._tags = self._folder / "tags"

    def find(self, tag: str) -> Bundle | None:
        """The bundle of a tag."""
        try:
            digest = (self._tags / _file_name(tag)).read_text()
            shape = json.loads((self._folder / digest / "bundle.json").read_text())
        except FileNotFoundError:
            return None
        return Bundle(digest, self._folder / digest / "files", shape["env"], shape["working_dir"])

    def list(self) -> dict[str, str]:
        """Digests by tag."""
        if not self._tags.exists():
            return {}
        return {_tag(item.name): item.read_text() for item in sorted(self._tags.iterdir())}

    def remove(self, tag: str) -> None:
        """Forgets a tag, and its bundle unless another tag names it."""
        bundle = self.find(tag)
        if bundle is None:
            raise NotFound(f"there is no image {tag}; `localpach image list` names those that are there")
        (self._tags / _file_name(tag)).unlink()
        if bundle.digest not in self.list().values():
            shutil.rmtree(self._folder / bundle.digest)

    def build(
        self,
        context: Path,
        tag: str,
        dockerfile: Path | None = None,
        arguments: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> str:
        """Builds a bundle from a folder with a Dockerfile and gives it a tag; gives the digest. `say` is told of each
        instruction that is left out; `arguments` are values of ARGs.

        Raises:
            Refused: the Dockerfile is missing, or asks for what a bundle can't be.
        """
        dockerfile = dockerfile or context / "Dockerfile"
        if not dockerfile.is_file():
            raise Refused(f"{dockerfile} does not exist: an image is built from a Dockerfile")
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tags.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            builder = _Builder(context.resolve(), aside / "files", arguments or {}, say)
            builder.perform(dockerfile)
            (aside / "bundle.json").write_text(json.dumps({"env": builder.env, "working_dir": builder.working_dir}))
            digest = _digest(aside)
            place = self._folder / digest
            if not place.exists():
                aside.chmod(0o755)
                aside.replace(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        fresh = self._folder / f".{_file_name(tag)}.new"
        fresh.write_text(digest)
        fresh.replace(self._tags / _file_name(tag))
        return digest


class _Builder:
    """Performs the instructions of a Dockerfile that bring files or settings."""

    def __init__(self, context: Path, files: Path, given: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._context = context
        self._given = given
        self._say = say
        self._files = files
        self._args: dict[str, str] = {}
        self._patterns = _read_dockerignore(context)
        self.env: dict[str, str] = {}
        self.working_dir = "/"
        files.mkdir()

    def perform(self, dockerfile: Path) -> None:
        with dockerfile.open("rb") as stream:
            steps = DockerfileParser(fileobj=stream, env_replace=False).structure
        if sum(step["instruction"] == "FROM" for step in steps) > 1:
            raise Refused(f"{dockerfile} has more than one FROM: a bundle has one stage")
        for step in steps:
            kind, value, line = step["instruction"], step["value"], step["startline"] + 1
            if kind == "ARG":
                name, _, default = value.partition("=")
                self._args[name] = self._given.get(name, self._expand(default))
            elif kind == "ENV":
                self.env.update((key, self._expand(text)) for key, text in _pairs(value))
            elif kind == "WORKDIR":
                self.working_dir = posixpath.normpath(posixpath.join(self.working_dir, self._expand(value)))
            elif kind in ("COPY", "ADD"):
                self._copy(value, kind)
            elif kind in LEFT_OUT:
                self._say(f"line {line}: {kind} is left out: {LEFT_OUT[kind]}")
            elif kind not in ("FROM", "LABEL", "MAINTAINER", "COMMENT"):
                raise Refused(f"{dockerfile}, line {line}: {kind} is no instruction of a Dockerfile")

    def _expand(self, text: str) -> str:
        known = {**self._args, **self.env}
        return _VARIABLE.sub(lambda m: known.get(m[1] or m[3], m[2] or ""), text).strip().strip("\"'")

    def _copy(self, value: str, kind: str) -> None:
        words = json.loads(value) if value.startswith("[") else value.split()
        if any(word.startswith("--from") for word in words):
            raise Refused(f"{kind} {value}: a bundle can't copy from other images; copy from the build context")
        *sources, target = [self._expand(word) for word in words if not word.startswith("--")]
        place = posixpath.normpath(posixpath.join(self.working_dir, target))
        top = Path("/") / place.split("/")[1]
        if place == "/" or (top.exists() and top.name not in {item.name for item in self._files.iterdir()}):
            raise Refused(f"{kind} {value}: {top} exists on this machine; copy into a top-level folder of its own")
        for source in sources:
            matches = sorted(self._context.glob(source.strip("/") or "."))
            if not matches:
                raise Refused(f"{kind} {value}: {source} is not in {self._context}")
            for match in matches:
                if not match.resolve().is_relative_to(self._context):
                    raise Refused(f"{kind} {value}: {source} leads out of {self._context}")
                is_folder = target.endswith("/") or len(sources) > 1 or len(matches) > 1
                self._lay(match, self._files / place.strip("/"), is_folder)

    def _lay(self, source: Path, place: Path, into: bool) -> None:
        if source.is_dir():
            shutil.copytree(source, place, ignore=self._skip, dirs_exist_ok=True)
            return
        target = place / source.name if into else place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)

    def _skip(self, folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).resolve().relative_to(self._context)
        return {name for name in names if (Path(folder) / name).is_file() and self._is_ignored(inside / name)}

    def _is_ignored(self, path: Path) -> bool:
        """Whether `.dockerignore` leaves a file out: the last pattern that matches it or a folder above it counts."""
        ignored = False
        for pattern, out in self._patterns:
            if any(pattern.fullmatch(part.as_posix()) for part in (path, *path.parents) if part.name):
                ignored = out
        return ignored


def _read_dockerignore(context: Path) -> list[tuple[re.Pattern[str], bool]]:
    """Patterns in order, each with whether it leaves out or takes in again."""
    file = context / ".dockerignore"
    patterns = []
    for line in file.read_text().splitlines() if file.exists() else []:
        text = line.strip()
        if text and not text.startswith("#"):
            pattern = text.removeprefix("!").strip("/")
            regex = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
            regex = regex.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
            patterns.append((re.compile(regex), not text.startswith("!")))
    return patterns


def _pairs(value: str) -> list[tuple[str, str]]:
    if "=" not in value.split(maxsplit=1)[0]:
        key, _, text = value.partition(" ")
        return [(key, text)]
    return re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S*)", value)


def _digest(folder: Path) -> str:
    hasher = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            hasher.update(f"{file.relative_to(folder)}\0{file.stat().st_mode & 0o111}\0".encode())
            hasher.update(hashlib.sha256(file.read_bytes()).digest())
    return hasher.hexdigest()


def _file_name(tag: str) -> str:
    return tag.replace("%", "%25").replace("/", "%2F")


def _tag(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")


def add_cli(commands: argparse._SubParsersAction[argparse.ArgumentParser], root: Path) -> None:
    """Adds `localpach image build|list|rm`; `root` is the default data directory."""
    image = commands.add_parser("image", help="build, list and remove images for the process runtime")
    verbs = image.add_subparsers(required=True, metavar="VERB")
    build = verbs.add_parser("build", help="build an image from a folder with a Dockerfile")
    build.add_argument("--tag", required=True, help="the name that specs use")
    build.add_argument("--file", type=Path, help="the Dockerfile (default CONTEXT/Dockerfile)")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="the value of an ARG")
    build.add_argument("context", type=Path, metavar="CONTEXT", help="the folder")
    build.set_defaults(run=_build)
    listing = verbs.add_parser("list", help="list the images")
    listing.set_defaults(run=_list)
    remove = verbs.add_parser("rm", help="remove an image")
    remove.add_argument("tag", metavar="TAG")
    remove.set_defaults(run=_remove)
    for verb in (build, listing, remove):
        verb.add_argument("--root", type=Path, default=root, help=f"the data directory (default {root})")


def _build(options: argparse.Namespace) -> int:
    arguments = dict(item.partition("=")[::2] for item in options.build_arg)
    bundles = Bundles(options.root.absolute())
    print(bundles.build(options.context, options.tag, options.file, arguments, partial(print, file=sys.stderr)))
    return 0


def _list(options: argparse.Namespace) -> int:
    for tag, digest in Bundles(options.root).list().items():
        print(f"{tag}\t{digest[:12]}")
    return 0


def _remove(options: argparse.Namespace) -> int:
    Bundles(options.root).remove(options.tag)
    return 0
