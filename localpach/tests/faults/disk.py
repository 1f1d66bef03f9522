"""A disk that fails when it is told to, for a server in a process of its own."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fault.c")
# Instead of an error: a write takes half of what it is given.
SHORT = 0
# The process is killed.
KILL = -1
FOR_EVER = 2**31 - 1


class Disk:
    """Counts the calls that change files below a folder, and fails those that it is told to."""

    def __init__(self, folder: Path, root: Path) -> None:
        """`folder` is where what it needs is made."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no compiler of C, which the layer between server and disk is written in")
        library, control = folder / "fault.so", folder / "control"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        control.write_bytes(bytes(16))
        with control.open("r+b") as stream:
            self._numbers = memoryview(mmap.mmap(stream.fileno(), 16)).cast("i")
        self.env = {"LD_PRELOAD": str(library), "FAULT_CONTROL": str(control), "FAULT_ROOT": f"{root}{os.sep}"}

    @property
    def calls(self) -> int:
        """How many there were since `arm` or `heal`."""
        return self._numbers[0]

    def arm(self, call: int, error: int, last: int | None = None) -> None:
        """Fails a call, counted from now on, and those up to `last`."""
        self.heal()
        self._numbers[2], self._numbers[3] = last or call, error
        self._numbers[1] = call

    def heal(self) -> None:
        """All calls go well."""
        self._numbers[1] = 0
        self._numbers[0] = 0
