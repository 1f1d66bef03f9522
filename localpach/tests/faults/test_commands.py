"""Commands on a data directory, each of whose calls to the disk fails once, or is where it is killed: what is there stays whole."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.disk import KILL, Disk
from tests.helpers import last_job, pfs, pipeline, put
from tests.servers import serving

BIG = b"big" * 50_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", [errno.ENOSPC, KILL], ids=["full", "killed"])
def test_every_call_of_a_command_that_can_fail(tmp_path: Path, fault: int) -> None:
    # As kills would leave them: each with its last commits beside its database.
    live, old, new = (tmp_path / name for name in ("live", "old", "new"))
    with serving(live) as server:
        server.client.create_repo("in")
        put(server.client, "in", {"/small": b"1", "/big": BIG})
        pipeline(server.client, "copy", "echo copied; cp -r /pfs/in/. /pfs/out/", pfs("in"))
        last_job(server.client, "copy")
        shutil.copytree(live, old)
        put(server.client, "in", {"/big": BIG[1:], "/more": BIG[2:]})
        last_job(server.client, "copy")
        shutil.copytree(live, new)
    assert (new / "metadata.sqlite-wal").stat().st_size
    disk = Disk(tmp_path, tmp_path / "work")
    command = [sys.executable, "-m", "tests.faults.commands", str(tmp_path), str(fault)]
    done = subprocess.run(command, env={**os.environ, **disk.env}, capture_output=True, text=True, check=False)
    print(fault, done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
