"""What this machine says of its users and of the memory that processes hold."""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from pathlib import Path

from localpach.errors import Refused


def ids_of(user: str) -> tuple[int, int]:
    """User and group id of `name`, `name:group` or numbers in their places."""
    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        ids = [entry.pw_uid, entry.pw_gid]
    except KeyError as error:
        if not name.isdecimal():
            raise Refused(
                f'transform.user: "{name}" is not a user of this machine; name one, or give a number'
            ) from error
        ids = [int(name), int(name)]
    if group:
        try:
            ids[1] = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise Refused(
                f'transform.user: "{group}" is not a group of this machine; name one, or give a number'
            ) from error
    return ids[0], ids[1]


def memory_of_machine() -> int:
    """Bytes that commands may hold where nothing else is said: the rest is for all others."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 10 * 9


def memory_below(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold."""
    total, left = 0, [pid]
    page = os.sysconf("SC_PAGE_SIZE")
    while left:
        each = Path(f"/proc/{left.pop()}")
        with suppress(OSError, IndexError):
            total += int((each / "statm").read_text().split()[1]) * page
            for thread in (each / "task").iterdir():
                left += [int(child) for child in (thread / "children").read_text().split()]
    return total
