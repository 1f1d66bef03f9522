"""Copies of a data directory, each one itself, and backups, which are copies elsewhere.

A copy is consistent while its source is served: the database is taken first, as of one moment, and what it names is never
changed. Images are left out; their Dockerfiles make them again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from localpach.directory import Directory, named_root
from localpach.disk import name_again, remove_tree, sync, write_atomically
from localpach.errors import Corrupt, NotFound, Precondition, Refused, Unavailable
from localpach.faults import may_pass
from localpach.pfs.service import Pfs
from localpach.pps.fsck import PpsFsck
from localpach.storage.big import BigContents
from localpach.storage.store import Store
from localpach.waiting import Bulletin

DATABASE = "metadata.sqlite"
# What SQLite has beside a database.
BESIDE = ("-journal", "-wal", "-shm")
# What clients know a server by goes to another place with it.
IDENTITY = ("token", "cluster-id")


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
    with directory.locked():
        # What a kill, or the disk, has left of an earlier one.
        for left in (target / "tmp").glob("*"):
            remove_tree(left)
        fresh = target / f".{DATABASE}.new"
        _remove_database(fresh)
        is_first = not (target / DATABASE).exists()
        try:
            _copy_database(source / DATABASE, fresh)
            count = _copy_objects(source, target, share)
            _add_logs(source / "logs", target / "logs")
            for name in IDENTITY:
                if (source / name).exists() and not (target / name).exists():
                    write_atomically(target / name, (source / name).read_text())
            _close_database(target / DATABASE)
            fresh.replace(target / DATABASE)
        finally:
            # What stays goes with the next copy.
            with suppress(OSError):
                _remove_database(fresh)
        try:
            sync(target)
            _match_logs(source / "logs", target / "logs")
        except OSError as error:
            if is_first:
                (target / DATABASE).unlink()
                raise
            raise Unavailable(
                f"{target} has the data of {source} now, but the logs of its jobs may be others: {error}; give the command again"
            ) from error
    return count


def _remove_database(file: Path) -> None:
    file.unlink(missing_ok=True)
    _remove_beside(file)


def _remove_beside(file: Path) -> None:
    for suffix in BESIDE:
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _close_database(file: Path) -> None:
    """Has all that is in a database in its one file: what is beside it would be taken for a part of the next of that name."""
    try:
        if file.exists():
            with closing(sqlite3.connect(file)) as database:
                is_read_by_others = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if is_read_by_others:
                    raise Precondition(f"another program reads {file}; try again when it has ended")
    except sqlite3.DatabaseError as error:
        # A damaged one is given up, but not one whose disk is full or fails.
        if may_pass(error):
            raise
    _remove_beside(file)


def _copy_database(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    with closing(_open(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        # One file, for what is beside it belongs to the one that it replaces.
        new.execute("PRAGMA journal_mode = DELETE")
    sync(target)


def _open(database: Path) -> sqlite3.Connection:
    """A database to read, which may be served, or on a medium that can't be written."""
    log = database.with_name(f"{database.name}-wal")
    if os.access(database.parent, os.W_OK) or (log.exists() and log.stat().st_size):
        return sqlite3.connect(database, timeout=60)
    return sqlite3.connect(f"{database.absolute().as_uri()}?immutable=1", uri=True)


def _copy_objects(source: Path, target: Path, share: bool) -> int:
    """Copies the big contents that are not there yet, each compared with its hash, or gives them second names."""
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
                name_again(there.path(ref), place)
            else:
                _write(there.read(ref, 0), aside / ref.hash)
                here.settle(aside / ref.hash, ref)
            count += 1
    # An earlier attempt may have failed here.
    for folder in (*(target / "objects").iterdir(), target / "objects"):
        sync(folder)
    return count


def _write(chunks: Iterator[bytes], file: Path) -> None:
    try:
        with file.open("wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _add_logs(source: Path, target: Path) -> None:
    """Copies the logs that are not there, which whatever stands there now takes no notice of."""
    target.mkdir(exist_ok=True)
    for log in source.glob("*/*"):
        copied = target / log.relative_to(source)
        if not copied.exists():
            copied.parent.mkdir(exist_ok=True)
            _copy_log(log, copied)


def _match_logs(source: Path, target: Path) -> None:
    """Copies the logs that have changed, and forgets those that are gone."""
    for copied in target.glob("*/*"):
        log = source / copied.relative_to(target)
        if not log.exists():
            copied.unlink()
        elif _size_and_time(log) != _size_and_time(copied):
            _copy_log(log, copied)


def _copy_log(log: Path, copied: Path) -> None:
    # One that is deleted meanwhile is left out.
    with suppress(FileNotFoundError):
        shutil.copy2(log, copied)


def _size_and_time(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def problems(root: Path, read_data: bool = False) -> Iterator[str]:
    """A sentence for each thing that is wrong with a data directory; with `read_data` every content is read and hashed, too."""
    with closing(Store(root)) as store:
        pfs = Pfs(store, Bulletin(store.after_commit))
        yield from pfs.fsck.check(read_data)
        yield from PpsFsck(store, pfs).check()


def add_cli(commands: argparse._SubParsersAction[argparse.ArgumentParser], root: Path) -> None:
    """Adds `localpach backup` and `restore`; `root` is the default data directory."""
    backup = commands.add_parser(
        "backup", help="copy all data to a folder, while it is served or not; big contents that are there already stay"
    )
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="make a data directory of a backup")
    restore.set_defaults(run=_restore)
    for verb in (backup, restore):
        verb.add_argument("folder", type=Path, metavar="DIR", help="the folder of the backup")
        verb.add_argument("--root", type=named_root, default=root, help=f"the data directory (default {root})")


def _backup(options: argparse.Namespace) -> int:
    count = copy(options.root, options.folder)
    return tell(options.folder, f"backed up to {options.folder}: {count} big contents are new")


def _restore(options: argparse.Namespace) -> int:
    if (options.root / DATABASE).exists():
        raise Refused(f"{options.root} has data already; name another --root")
    copy(options.folder, options.root)
    return tell(options.root, f"restored to {options.root}")


def tell(root: Path, done: str) -> int:
    """Prints what was done, and what is wrong with the data directory that came of it; the exit status."""
    print(done)
    try:
        found = list(problems(root))
    except (OSError, sqlite3.Error) as error:
        if not may_pass(error):
            raise
        found = [f"it could not be checked ({error}); run `localpach fsck --root {root}`"]
    print("".join(f"{problem}\n" for problem in found), end="")
    return 1 if found else 0
