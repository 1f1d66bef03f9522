"""Commands that change a data directory, each call of theirs to the disk failed once: `python -m tests.faults.commands FOLDER ERROR`.

Runs below the layer of `fault.c`. FOLDER has `old` and `new`, two data directories of which the first was copied before the
second had its last commits. Prints a line for each command; what does not hold is an AssertionError.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from pathlib import Path

from localpach import __main__ as program
from localpach.copies import copy, problems
from tests.faults.disk import KILL

FOLDER, ERROR = Path(sys.argv[1]), int(sys.argv[2])
OLD, NEW, WORK = FOLDER / "old", FOLDER / "new", FOLDER / "work"
ROOT, COPY = WORK / "root", WORK / "copy"


def run(*command: object) -> tuple[int, str]:
    """Exit status of a command, and what it says."""
    sys.argv = ["localpach", *map(str, command), "--root", str(ROOT)]
    out = io.StringIO()
    try:
        with redirect_stdout(out):
            program.main()
    except SystemExit as end:
        return (end.code, out.getvalue()) if isinstance(end.code, int) else (1, str(end.code))
    raise AssertionError("it does not end")


Held = tuple[str, dict[str, bytes]]


def held(root: Path) -> Held | None:
    """What a data directory holds, if it holds anything: its records, and the logs of its jobs."""
    if not (root / "metadata.sqlite").exists():
        return None
    # In a copy: whoever opens a database that was not closed changes what lies beside it.
    look = FOLDER / "look"
    shutil.rmtree(look, ignore_errors=True)
    look.mkdir()
    for file in root.glob("metadata.sqlite*"):
        shutil.copy(file, look)
    with closing(sqlite3.connect(look / "metadata.sqlite")) as database:
        records = "\n".join(database.iterdump())
    logs = {str(log.relative_to(root)): log.read_bytes() for log in root.glob("logs/*/*")}
    return hashlib.sha256(records.encode()).hexdigest(), logs


def of(source: Path, target: Path = ROOT) -> None:
    shutil.copytree(source, target)


def copied(source: Path, target: Path) -> None:
    """As localpach copies it, which closes the source's database: one of its own."""
    of(source, WORK / "source")
    copy(WORK / "source", target)
    shutil.rmtree(WORK / "source")


Command = tuple[object, ...]
Prepared = Callable[[], tuple[Command, Path]]


def backup() -> tuple[Command, Path]:
    of(NEW)
    copied(OLD, COPY)
    return ("backup", COPY), COPY


def restore() -> tuple[Command, Path]:
    of(NEW, COPY)
    return ("restore", COPY), ROOT


def load() -> tuple[Command, Path]:
    of(OLD)
    copied(NEW, ROOT / "states" / "newer")
    return ("state", "load", "newer"), ROOT


def gc() -> tuple[Command, Path]:
    of(NEW)
    return ("gc",), ROOT


def repair() -> tuple[Command, Path]:
    of(NEW)
    return ("fsck", "--repair"), ROOT


def rebuild() -> tuple[Command, Path]:
    """Of a database of no known version."""
    of(NEW, WORK / "source")
    with closing(sqlite3.connect(WORK / "source" / "metadata.sqlite")) as database:
        database.execute("PRAGMA user_version = -1")
        of(WORK / "source")
    shutil.rmtree(WORK / "source")
    return ("fsck", "--repair"), ROOT


COMMANDS: tuple[Prepared, ...] = (
    backup,
    restore,
    load,
    gc,
    repair,
    rebuild,
)


def anew(prepare: Prepared) -> tuple[Command, Path]:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    return prepare()


def is_kept(found: Held | None, before: Held | None) -> bool:
    """Whether nothing is gone, though logs of jobs that are unknown may have come."""
    if found is None or before is None:
        return found is before
    return found[0] == before[0] and before[1].items() <= found[1].items()


def try_once(command: Command) -> tuple[int, str]:
    """As `run`, in a process that may be killed."""
    if ERROR != KILL:
        return run(*command)
    child = os.fork()
    if child == 0:
        os._exit(run(*command)[0])
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status, "killed" if status else ""


def once(prepare: Prepared, call: int, control: memoryview, wanted: Held | None) -> tuple[bool, bool]:
    """Whether a command was refused when this call failed, and whether it makes fewer calls."""
    command, result = anew(prepare)
    root, before = held(ROOT), held(result)
    control[0], control[2], control[3] = 0, call, ERROR
    control[1] = call
    status, told = try_once(command)
    is_over = control[0] < call
    control[1] = 0
    what = f"{command[0]}, call {call}: {told}"
    if status and "it could not be checked" not in told:
        found = held(result)
        # A commit of SQLite's whose sync fails is whole in its log, and found there when the file is opened anew.
        if prepare in (gc, repair, rebuild):
            assert found in (before, wanted), what
        elif status > 0 and "the logs of its jobs may be others" not in told:
            assert told.startswith("localpach: the disk "), what
            assert is_kept(found, before), what
        else:
            is_done = found is not None and wanted is not None and found[0] == wanted[0]
            assert is_done or is_kept(found, before), what
        assert result == ROOT or held(ROOT) == root, what
        again, more = run(*command)
        assert again == 0 or (status < 0 and "has data already" in more), f"{what}, and again: {more}"
        assert not list(WORK.glob("*/tmp/*")), what
    assert held(result) == wanted, what
    assert not list(problems(result, read_data=True)), what
    assert not list(WORK.glob("*/.metadata*")), what
    return bool(status), is_over


def main() -> None:
    with Path(os.environ["FAULT_CONTROL"]).open("r+b") as stream:
        control = memoryview(mmap.mmap(stream.fileno(), 16)).cast("i")
    for prepare in COMMANDS:
        command, result = anew(prepare)
        assert run(*command)[0] == 0
        wanted = held(result)
        call = refused = 0
        is_over = False
        while not is_over:
            call += 1
            was_refused, is_over = once(prepare, call, control, wanted)
            refused += was_refused
        print(f"{prepare.__name__}: {call} calls failed, {refused} times refused", flush=True)


if __name__ == "__main__":
    main()
