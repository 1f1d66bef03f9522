"""The model's environment, made once for all tests of a run: each data directory gets it by links, in a second."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from prefect_pachyderm.embedded import run_localpach

ROOT = Path(__file__).parents[1]


def lend(data: Path, shared: Path) -> None:
    """Puts the environments of the project's image into a data directory; `shared` is a folder that all tests know."""
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "images").exists():
            run_localpach("image", "build", "--root", str(shared), "--tag", "shared", str(ROOT))
    place = data / "images" / "environments"
    shutil.copytree(shared / "images" / "environments", place, symlinks=True, copy_function=os.link)
