"""What this machine says of its users and of the memory that processes hold."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from localpach.errors import Refused


def ids_of(user: str) -> list[int]:
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
    return ids


def memory_below(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold."""
    parents: dict[int, list[int]] = {}
    held: dict[int, int] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
            held[int(folder.name)] = int(fields[21]) * page
    total, frontier = 0, [pid]
    while frontier:
        each = frontier.pop()
        total += held.get(each, 0)
        frontier += parents.get(each, [])
    return total
