"""Copies of a data directory, each one itself: backups elsewhere, and named states that share big contents with it.

A copy is consistent while its source is served: the database is taken first, as of one moment, and what it names is never
changed. Images are left out; their Dockerfiles make them again.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from localpach.directory import Directory, named_root
from localpach.disk import remove_tree, sync
from localpach.errors import AlreadyExists, Corrupt, NotFound, Refused
from localpach.pfs.service import Pfs
from localpach.pps.fsck import PpsFsck
from localpach.storage.big import BigContents
from localpach.storage.store import Store
from localpach.waiting import Bulletin

DATABASE = "metadata.sqlite"
# What clients know a server by goes to another place with it.
IDENTITY = ("token", "cluster-id")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def copy(source: Path, target: Path, share: bool = False) -> int:
    """Makes a data directory what another one is now; gives how many big contents it did not have before. With `share` they
    get a second name on the same disk instead of being written again.

    Raises:
        NotFound: there is no data directory at `source`.
        Refused: `target` is something else than a data directory.
    """
    if not (source / DATABASE).exists():
        raise NotFound(f"{source} is not a data directory of localpach")
    if target.exists() and any(target.iterdir()) and not (target / "lock").exists():
        raise Refused(f"{target} holds something else than a data directory of localpach; name an empty folder")
    directory = Directory(target)
    directory.create()
    with _locked(directory):
        fresh = target / f".{DATABASE}.new"
        try:
            _copy_database(source / DATABASE, fresh)
            count = _copy_objects(source, target, share)
            _copy_logs(source / "logs", target / "logs")
            for name in IDENTITY:
                if (source / name).exists() and not (target / name).exists():
                    shutil.copy(source / name, target / name)
            for suffix in ("-wal", "-shm"):
                (target / (DATABASE + suffix)).unlink(missing_ok=True)
            fresh.replace(target / DATABASE)
            sync(target)
        finally:
            fresh.unlink(missing_ok=True)
    return count


@contextmanager
def _locked(directory: Directory) -> Iterator[None]:
    handle = directory.lock()
    try:
        yield
    finally:
        os.close(handle)


def _copy_database(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    with closing(sqlite3.connect(source, timeout=60)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        # One file, for what is beside it belongs to the one that it replaces.
        new.execute("PRAGMA journal_mode = DELETE")
    sync(target)


def _copy_objects(source: Path, target: Path, share: bool) -> int:
    """Copies the big contents that are not there yet, each compared with its hash."""
    there = BigContents(source / "objects", source / "quarantine")
    here = BigContents(target / "objects", target / "quarantine")
    aside = target / "tmp"
    aside.mkdir(exist_ok=True)
    count = 0
    for ref in there.stored():
        place = here.path(ref)
        if place.exists() and place.stat().st_size == ref.size:
            continue
        # A damaged one, or one that is freed meanwhile, is left out: fsck says if it is missed.
        with suppress(Corrupt, FileNotFoundError):
            if share:
                place.parent.mkdir(exist_ok=True)
                os.link(there.path(ref), place)
                sync(place.parent)
            else:
                _write(there.read(ref, 0), aside / ref.hash)
                here.settle(aside / ref.hash, ref)
            count += 1
    sync(target / "objects")
    return count


def _write(chunks: Iterator[bytes], file: Path) -> None:
    try:
        with file.open("wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _copy_logs(source: Path, target: Path) -> None:
    """Copies the logs that have changed, and forgets those that are gone."""
    found = {file.relative_to(source): file.stat() for file in source.glob("*/*")}
    for old in target.glob("*/*"):
        if old.relative_to(target) not in found:
            old.unlink()
    for name, status in found.items():
        copied = target / name
        if copied.exists() and (copied.stat().st_size, copied.stat().st_mtime_ns) == (
            status.st_size,
            status.st_mtime_ns,
        ):
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.copy2(source / name, copied)


def problems(root: Path, read_data: bool = False) -> Iterator[str]:
    """A sentence for each thing that is wrong with a data directory; with `read_data` every content is read and hashed, too."""
    with closing(Store(root)) as store:
        pfs = Pfs(store, Bulletin(store.after_commit))
        yield from pfs.fsck.check(read_data)
        yield from PpsFsck(store, pfs).check()


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
        saved = [(each.name, datetime.fromtimestamp((each / DATABASE).stat().st_mtime)) for each in found]
        return sorted(saved, key=lambda state: state[1])

    def save(self, name: str) -> Path:
        """Keeps what is there now; the directory may be served meanwhile."""
        if not _NAME.fullmatch(name):
            raise Refused(f"a state can't be called {name!r}: use letters, digits, dots, dashes and underscores")
        folder = self._folder / name
        if folder.exists():
            raise AlreadyExists(f"there is a state {name} of {self._root}; choose another name")
        fresh = self._folder / f".{name}.new"
        if fresh.exists():
            remove_tree(fresh)
        fresh.mkdir(parents=True)
        copy(self._root, fresh, share=True)
        fresh.rename(folder)
        sync(self._folder)
        return folder

    def delete(self, name: str) -> None:
        """Forgets a state; what it shares stays."""
        gone = self._folder / f".{name}.gone"
        self.folder(name).rename(gone)
        remove_tree(gone)

    def load(self, name: str) -> None:
        """Puts a state in the place of what is there now, which nobody may serve."""
        folder = self._folder / name
        if not _NAME.fullmatch(name) or not folder.exists():
            raise NotFound(f"there is no state {name} of {self._root}; see `localpach state list`")
        copy(folder, self._root, share=True)


def add_cli(commands: argparse._SubParsersAction[argparse.ArgumentParser], root: Path) -> None:
    """Adds `localpach backup`, `restore` and `state save|load|list`; `root` is the default data directory."""
    backup = commands.add_parser(
        "backup", help="copy all data to a folder, while it is served or not; big contents that are there already stay"
    )
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="make a data directory of a backup")
    restore.set_defaults(run=_restore)
    for verb in (backup, restore):
        verb.add_argument("folder", type=Path, metavar="DIR", help="the folder of the backup")
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
    for verb in (backup, restore, save, load, listing):
        verb.add_argument("--root", type=named_root, default=root, help=f"the data directory (default {root})")


def _backup(options: argparse.Namespace) -> int:
    count = copy(options.root, options.folder)
    return _verified(options.folder, f"backed up to {options.folder}: {count} big contents are new")


def _restore(options: argparse.Namespace) -> int:
    if (options.root / DATABASE).exists():
        raise Refused(f"{options.root} has data already; name another --root")
    copy(options.folder, options.root)
    return _verified(options.root, f"restored to {options.root}")


def _save(options: argparse.Namespace) -> int:
    return _verified(States(options.root).save(options.name), f"saved as {options.name}")


def _load(options: argparse.Namespace) -> int:
    States(options.root).load(options.name)
    return _verified(options.root, f"{options.name} is loaded")


def _list(options: argparse.Namespace) -> int:
    for name, saved in States(options.root).list():
        print(f"{name}\t{saved:%Y-%m-%d %H:%M:%S}")
    return 0


def _verified(root: Path, done: str) -> int:
    found = list(problems(root))
    print("\n".join([done, *found]))
    return 1 if found else 0
