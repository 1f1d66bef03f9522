"""Every call to the disk of every operation, failed once: nothing is lost, nothing stays, and it goes on by itself."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from tests.faults.all_operations import OPERATIONS
from tests.faults.disk import SHORT, Disk
from tests.helpers import until
from tests.servers import ServerProcess

FAULTS = {"full": errno.ENOSPC, "failing": errno.EIO, "short": SHORT}
CODES = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS}
# Operations to try, by name; all if none is named.
ONLY = os.environ.get("OPERATIONS", "").split() or list(OPERATIONS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_that_can_fail(tmp_path: Path, fault: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(tmp_path, root)
    done = []
    tried = refused = 0
    with ServerProcess(root, env=disk.env) as server:
        for name in ONLY:
            call = 0
            while True:
                call += 1
                tried += 1
                tag = f"{name}{call}"
                run, is_done = OPERATIONS[name](server.client, tag)
                assert not is_done(), f"{tag} is done before it is"
                disk.arm(call, FAULTS[fault])
                try:
                    run()
                except grpc.RpcError as error:
                    told = f"{tag}: {error.code().name} {error.details()}"
                    assert error.code() in CODES, told
                    assert "nothing was changed" in (error.details() or ""), told
                    refused += 1
                    disk.heal()
                    assert not is_done(), f"{told}, and it is done"
                    run()
                is_over = disk.calls < call
                disk.heal()
                assert is_done(), f"{tag} is acknowledged, and not done"
                done.append((tag, is_done))
                if is_over:
                    break
        # What was finishing is finished, without a restart.
        commits = [info for repo in server.client.list_repo() for info in server.client.list_commit(repo.repo.name)]
        for info in commits:
            if info.HasField("finishing"):
                server.client.wait_commit(info.commit)
        until(lambda: not list((root / "work").iterdir()))
        assert not list((root / "tmp").iterdir())
        client = server.client
        server.kill()
        server.start()
        # What the operations hold of the old one.
        vars(client).update(vars(server.client))
        for tag, is_done in done:
            assert is_done(), f"{tag} is lost"
    command = [sys.executable, "-m", "localpach", "fsck", "--root", str(root), "--read-data"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    print(f"{fault}: {tried} calls failed, {refused} operations refused, {len(done)} done")
