"""How far this kernel lets commands be kept apart, and what of this machine they are shown."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localpach.runtime import bubblewrap

# As root, commands are nobody that this machine knows.
NOBODY = 2_000_000_000


@dataclass(frozen=True)
class Isolation:
    """What keeps a command from all that is not its own. `problem` is a sentence on what is missing, empty where nothing
    is; with `overlay` its changes to its inputs go elsewhere."""

    namespaces: bool
    users: bool
    overlay: bool
    problem: str


_NO_USERS = (
    "the sandbox is weaker than it should be: this kernel gives commands no user namespace (see user.max_user_namespaces"
    " and AppArmor's restrictions); what they can't reach is as with one"
)
_NONE = (
    "there is NO sandbox: this kernel gives commands no namespaces, or bubblewrap is missing. They have a filter of system"
    " calls, limits, no privileges and no network, but read and write all that is yours. Allow user namespaces, use Docker,"
    " or serve with --sandbox require"
)


def job_user() -> tuple[int, int] | None:
    """Whom commands run as: as root nobody, where there is that number; None is whoever we are."""
    if os.geteuid() != 0:
        return None
    for name in ("uid_map", "gid_map"):
        ranges = [
            [int(number) for number in line.split()] for line in Path("/proc/self", name).read_text().splitlines()
        ]
        if not any(first <= NOBODY < first + count for first, _, count in ranges):
            return None
    return NOBODY, NOBODY


def candidates() -> Iterator[Isolation]:
    """What there could be, the strongest first."""
    if bubblewrap.find():
        for overlay in (True, False):
            yield Isolation(True, True, overlay, "")
        if job_user() and shutil.which("setpriv"):
            for overlay in (True, False):
                yield Isolation(True, False, overlay, _NO_USERS)
    yield Isolation(False, False, False, _NONE)


def homes() -> list[str]:
    """Where the files of who serves are."""
    found = {os.environ.get("HOME", "")}
    with suppress(KeyError):
        found.add(pwd.getpwuid(os.getuid()).pw_dir)
    return sorted(found - {""})


def hidden(root: Path) -> list[str]:
    """The data directory and homes, where they lie within what commands are shown."""
    shown = [os.path.realpath(f"/{name}") for name in bubblewrap.SYSTEM]
    inside = [os.path.realpath(folder) for folder in (str(root), *homes())]
    return sorted({folder for folder in inside if any(folder.startswith(f"{top}/") for top in shown)})


def stage(paths: Iterable[Path]) -> list[str]:
    """A command to run another in, in which everybody may pass to some paths, and sees nothing else of the folders in
    their way that are not open to all."""
    needed = sorted({path.resolve() for path in paths})
    closed = {folder for path in needed for folder in _closed(path)}
    words = [bubblewrap.find(), "--dev-bind", "/", "/"]
    for cover in sorted(closed):
        words += ["--perms", "0755", "--tmpfs", str(cover)]
        below = [path for path in needed if path.is_relative_to(cover)]
        between = {folder for path in below for folder in path.parents if folder.is_relative_to(cover)} - {cover}
        for folder in sorted(between):
            words += ["--perms", "0755", "--dir", str(folder)]
        for path in below:
            words += ["--bind", str(path), str(path)]
    return [*words, "--"]


def _closed(path: Path) -> list[Path]:
    """The outermost folder above a path that is not everybody's to pass, if there is one."""
    return [folder for folder in path.parents if not folder.stat().st_mode & stat.S_IXOTH][-1:]


def pythons() -> list[str]:
    """Where this Python, and what is installed beside it, is."""
    return list(dict.fromkeys((sys.prefix, sys.base_prefix)))
