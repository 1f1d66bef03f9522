"""Copies of a data directory, each one itself; as backups elsewhere, with the commands for them and for named states.

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
from localpach.disk import remove_if_possible, remove_tree, sync, write_atomically
from localpach.errors import Corrupt, NotFound, Refused
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
        aside = target / "tmp" / "copy"
        remove_tree(aside)
        try:
            aside.mkdir(parents=True)
            _copy_database(source / DATABASE, aside / DATABASE)
            count = _copy_objects(source, target, share)
            _copy_logs(source / "logs", target / "logs", aside / "logs")
            for name in IDENTITY:
                if (source / name).exists() and not (target / name).exists():
                    write_atomically(target / name, (source / name).read_text())
            _put_in_place(aside, target)
        finally:
            remove_if_possible(aside)
    return count


def _put_in_place(aside: Path, target: Path) -> None:
    """Puts a database and logs in the place of others: both or, on an error, neither. A kill may leave the old logs."""
    _close_database(target / DATABASE)
    before, logs_before = aside / "database-before", aside / "logs-before"
    if (target / DATABASE).exists():
        _name_again(target / DATABASE, before)
    (aside / DATABASE).replace(target / DATABASE)
    try:
        if (target / "logs").exists():
            (target / "logs").rename(logs_before)
        (aside / "logs").rename(target / "logs")
        sync(target)
    except OSError:
        if before.exists():
            before.replace(target / DATABASE)
        else:
            (target / DATABASE).unlink()
        if logs_before.exists():
            if (target / "logs").exists():
                (target / "logs").rename(aside / "logs")
            logs_before.rename(target / "logs")
        raise


def _close_database(file: Path) -> None:
    """Has all that is in a database in its one file: what is beside it would be taken for a part of the next of that name."""
    try:
        if file.exists():
            with closing(sqlite3.connect(file)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        # A damaged one is given up, but not one whose disk is full or fails.
        if may_pass(error):
            raise
    for suffix in BESIDE:
        file.with_name(file.name + suffix).unlink(missing_ok=True)


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


def _copy_logs(source: Path, before: Path, target: Path) -> None:
    """Copies the logs; one that an earlier copy has as it is gets a second name."""
    target.mkdir()
    for log in source.glob("*/*"):
        name = log.relative_to(source)
        copied, earlier = target / name, before / name
        copied.parent.mkdir(exist_ok=True)
        # One that is deleted meanwhile is left out.
        with suppress(FileNotFoundError):
            if earlier.exists() and _is_unchanged(log, earlier):
                _name_again(earlier, copied)
            else:
                shutil.copy2(log, copied)
                sync(copied)
    for folder in (*target.iterdir(), target):
        sync(folder)


def _name_again(file: Path, name: Path) -> None:
    """Gives a file a second name, or a copy of that name where the disk has no second names."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


def _is_unchanged(log: Path, copied: Path) -> bool:
    now, then = log.stat(), copied.stat()
    return (now.st_size, now.st_mtime_ns) == (then.st_size, then.st_mtime_ns)


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
