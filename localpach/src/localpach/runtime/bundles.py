"""Bundles: images for the process runtime, built from a Dockerfile.

A bundle holds the files that the Dockerfile adds, and an environment of its own with what its RUN lines install by pip
or uv; the other programs are this machine's.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from localpach.directory import named_root
from localpach.errors import NotFound, Refused
from localpach.runtime import trees
from localpach.runtime.dockerfile import Build
from localpach.runtime.environments import Environments

SHAPE = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """A built bundle; `root` holds its files as they shall stand below `/`, `environment` is a Python environment."""

    digest: str
    root: Path
    env: dict[str, str]
    working_dir: str
    user: str
    environment: Path | None

    @property
    def top_level(self) -> list[str]:
        """The names below `/` that the bundle brings."""
        return sorted(item.name for item in self.root.iterdir())


class Bundles:
    """The bundles of one data directory, and their tags."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "images"
        self._tags = self._folder / "tags"
        self._environments = Environments(self._folder / "environments")

    def find(self, tag: str) -> Bundle | None:
        """The bundle of a tag."""
        try:
            digest = (self._tags / _file_name(tag)).read_text()
            shape = json.loads((self._folder / digest / SHAPE).read_text())
        except FileNotFoundError:
            return None
        # Bundles of earlier versions have neither user nor environment.
        made = shape.get("environment")
        environment = self._environments.place(made) if made else None
        files = self._folder / digest / "files"
        return Bundle(digest, files, shape["env"], shape["working_dir"], shape.get("user", ""), environment)

    def list(self) -> dict[str, str]:
        """Digests by tag."""
        if not self._tags.exists():
            return {}
        return {_tag(item.name): item.read_text() for item in sorted(self._tags.iterdir())}

    def remove(self, tag: str) -> None:
        """Forgets a tag, and the bundles and environments that no other tag needs."""
        if tag not in self.list():
            raise NotFound(f"there is no image {tag}; `localpach image list` names those that are there")
        with self._alone():
            (self._tags / _file_name(tag)).unlink(missing_ok=True)
            wanted, environments = set(self.list().values()), set()
            for file in list(self._folder.glob(f"*/{SHAPE}")):
                if file.parent.name in wanted:
                    environments.add(json.loads(file.read_text()).get("environment", ""))
                else:
                    shutil.rmtree(file.parent)
            self._environments.remove_but(environments)

    def build(
        self,
        context: Path,
        tag: str,
        dockerfile: Path | None = None,
        arguments: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> str:
        """Builds a bundle from a folder with a Dockerfile and gives it a tag; gives the digest of what was built. `say`
        is told of each instruction that is left out; `arguments` are values of ARGs.

        Raises:
            Refused: the Dockerfile is missing, asks for what a bundle can't be, or what it installs can't be.
        """
        dockerfile = dockerfile or context / "Dockerfile"
        if not dockerfile.is_file():
            raise Refused(f"{dockerfile} does not exist: an image is built from a Dockerfile")
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tags.mkdir(parents=True, exist_ok=True)
        with self._alone():
            # What a killed build has left.
            for left in self._folder.glob("build-*"):
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(prefix="build-", dir=self._folder) as aside:
                digest = self._perform(context.resolve(), dockerfile, arguments or {}, say, Path(aside))
                fresh = Path(aside) / "tag"
                fresh.write_text(digest)
                fresh.replace(self._tags / _file_name(tag))
        return digest

    def _perform(
        self, context: Path, dockerfile: Path, given: Mapping[str, str], say: Callable[[str], None], aside: Path
    ) -> str:
        bundle = aside / "bundle"
        bundle.mkdir()
        build = Build(context, bundle / "files", aside / "installs", given, say)
        build.perform(dockerfile)
        shape = {
            "env": build.env,
            "working_dir": build.working_dir,
            "user": build.user,
            "environment": self._environments.make(build.asked) if build.asked else "",
        }
        (bundle / SHAPE).write_text(json.dumps(shape, sort_keys=True))
        digest = trees.digest(bundle)
        if not (self._folder / digest).exists():
            bundle.replace(self._folder / digest)
        return digest

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else builds or removes meanwhile; what is made is everybody's to read, whatever this user's umask."""
        umask = os.umask(0o022)
        try:
            with (self._folder / "lock").open("w") as lock:
                # Also what a killed build has started, which has it still open.
                os.set_inheritable(lock.fileno(), True)
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        finally:
            os.umask(umask)


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
        verb.add_argument("--root", type=named_root, default=root, help=f"the data directory (default {root})")


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
