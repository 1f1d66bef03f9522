"""Named states of a data directory, which are copies that share big contents with it."""

from __future__ import annotations

import argparse
import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from localpach.copies import DATABASE, copy, tell
from localpach.directory import named_root
from localpach.disk import remove_if_possible, remove_tree, sync, write_atomically
from localpach.errors import AlreadyExists, NotFound, Refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class States:
    """Named states of a data directory, below it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "states"

    def folder(self, name: str) -> Path:
        """Where a state is, if there is one of that name."""
        return self._folder / name

    def list(self) -> list[tuple[str, datetime]]:
        """Names, and when each was saved, in that order."""
        found = [each for each in self._folder.glob("*") if _NAME.fullmatch(each.name)]
        saved = []
        for each in found:
            # One may be deleted meanwhile.
            with suppress(FileNotFoundError):
                saved.append((each.name, datetime.fromtimestamp((each / DATABASE).stat().st_mtime)))
        return sorted(saved, key=lambda state: state[1])

    def remove_leftovers(self) -> None:
        """Deletes what a kill or the disk has left of a state, unless somebody saves or deletes one just now."""
        if self._folder.exists():
            with suppress(BlockingIOError), self._alone(fcntl.LOCK_NB):
                pass

    def save(self, name: str, files: Mapping[str, str] | None = None) -> Path:
        """Keeps what is there now, with these files (name → text) beside it; the directory may be served meanwhile."""
        if not _NAME.fullmatch(name):
            raise Refused(f"a state can't be called {name!r}: use letters, digits, dots, dashes and underscores")
        if not (self._root / DATABASE).exists():
            raise NotFound(f"{self._root} is not a data directory of localpach")
        folder, fresh = self._folder / name, self._folder / f".{name}.new"
        with self._alone():
            if folder.exists():
                raise AlreadyExists(f"there is a state {name} of {self._root}; choose another name")
            try:
                fresh.mkdir()
                copy(self._root, fresh, share=True)
                for file, text in (files or {}).items():
                    write_atomically(fresh / file, text)
                remove_tree(fresh / "tmp")
                fresh.rename(folder)
                sync(self._folder)
            except BaseException:
                for half in (fresh, folder):
                    remove_if_possible(half)
                raise
        return folder

    def delete(self, name: str) -> None:
        """Forgets a state, if it is there; what it shares stays."""
        folder, gone = self._folder / name, self._folder / f".{name}.gone"
        with self._alone():
            if not folder.exists():
                return
            folder.rename(gone)
            try:
                sync(self._folder)
            except OSError:
                gone.rename(folder)
                raise
            remove_if_possible(gone)

    @contextmanager
    def _alone(self, how: int = 0) -> Iterator[None]:
        """While nobody else saves or deletes a state, so that what is half done is what a kill or the disk has left."""
        if not self._folder.exists():
            self._folder.mkdir(exist_ok=True)
            sync(self._root)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | how)
            for left in self._folder.glob(".*"):
                if left.name != ".lock":
                    remove_if_possible(left)
            yield

    def load(self, name: str) -> None:
        """Puts a state in the place of what is there now, which nobody may serve."""
        folder = self._folder / name
        if not _NAME.fullmatch(name) or not folder.exists():
            raise NotFound(f"there is no state {name} of {self._root}; see `localpach state list`")
        copy(folder, self._root, share=True)


def add_cli(commands: argparse._SubParsersAction[argparse.ArgumentParser], root: Path) -> None:
    """Adds `localpach state save|load|list`; `root` is the default data directory."""
    state = commands.add_parser("state", help="save, load and list named states of the data")
    verbs = state.add_subparsers(required=True, metavar="VERB")
    save = verbs.add_parser("save", help="keep what is there now under a name, while it is served or not")
    save.set_defaults(run=_save)
    load = verbs.add_parser("load", help="put a state in the place of what is there now; the server must be stopped")
    load.set_defaults(run=_load)
    for verb in (save, load):
        verb.add_argument("name", metavar="NAME")
    listing = verbs.add_parser("list", help="list the states, the newest last")
    listing.set_defaults(run=_list)
    for verb in (save, load, listing):
        verb.add_argument("--root", type=named_root, default=root, help=f"the data directory (default {root})")


def _save(options: argparse.Namespace) -> int:
    return tell(States(options.root).save(options.name), f"saved as {options.name}")


def _load(options: argparse.Namespace) -> int:
    States(options.root).load(options.name)
    return tell(options.root, f"{options.name} is loaded")


def _list(options: argparse.Namespace) -> int:
    for name, saved in States(options.root).list():
        print(f"{name}\t{saved:%Y-%m-%d %H:%M:%S}")
    return 0
