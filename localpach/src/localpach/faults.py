"""What an error of the disk, or of SQLite on it, means for who asked."""

from __future__ import annotations

import errno
import sqlite3

from localpach.errors import Corrupt, Exhausted, LocalpachError, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FAILING = (errno.EIO, errno.EROFS)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FAILING_IN_SQLITE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)


def fault_of_disk(error: BaseException) -> LocalpachError | None:
    """The sentence for an error that the disk is to blame for; None for any other."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0
    number = error.errno if isinstance(error, OSError) else 0
    if code == sqlite3.SQLITE_FULL or number in _FULL:
        return Exhausted(f"the disk is full, nothing was changed: {error}; free some space, and try again")
    if code in _FAILING_IN_SQLITE or number in _FAILING:
        return Unavailable(f"the disk fails, nothing was changed: {error}; see what the system's log says of it")
    if code in _DAMAGED:
        return Corrupt(f"the database is damaged: {error}; stop the server, and run `localpach fsck --repair`")
    return None


def may_pass(error: BaseException) -> bool:
    """Whether the disk may be well again by the next time."""
    return isinstance(fault_of_disk(error), (Exhausted, Unavailable))
