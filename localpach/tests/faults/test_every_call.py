"""Every call to the disk of every operation, failed once: nothing is lost, nothing stays, and it goes on by itself."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from botocore.exceptions import ClientError

from localpach.proto import snapshot_pb2
from tests.faults.all_operations import OPERATIONS
from tests.faults.disk import SHORT, Disk
from tests.faults.s3_operations import S3Operations
from tests.helpers import until
from tests.s3.conftest import connect
from tests.servers import ServerProcess, token

FAULTS = {"full": errno.ENOSPC, "failing": errno.EIO, "short": SHORT}
CODES = {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "DATA_LOSS", "InsufficientStorage", "ServiceUnavailable"}
# Operations to try, by name; all if none is named.
ONLY = os.environ.get("OPERATIONS", "").split()


def refusal(error: grpc.RpcError | ClientError) -> tuple[str, str]:
    """Code and sentence."""
    if isinstance(error, grpc.RpcError):
        return error.code().name, error.details() or ""
    return error.response["Error"]["Code"], error.response["Error"]["Message"]


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
        operations = OPERATIONS | S3Operations(connect(server, token(root))).operations
        for name in ONLY or operations:
            call = 0
            while True:
                call += 1
                tried += 1
                tag = f"{name}{call}"
                run, is_done = operations[name](server.client, tag)
                assert not is_done(), f"{tag} is done before it is"
                disk.arm(call, FAULTS[fault])
                try:
                    run()
                except (grpc.RpcError, ClientError) as error:
                    code, sentence = refusal(error)
                    told = f"{tag}: {code} {sentence}"
                    assert code in CODES, told
                    assert "nothing was changed" in sentence, told
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
        # What is left of a state whose deletion failed on the way goes when the next one is saved.
        server.client.snapshot.CreateSnapshot(snapshot_pb2.CreateSnapshotRequest())
        # What was finishing is finished, without a restart.
        commits = [info for repo in server.client.list_repo() for info in server.client.list_commit(repo.repo.name)]
        for info in commits:
            if info.HasField("finishing"):
                server.client.wait_commit(info.commit)
        until(lambda: not list((root / "work").iterdir()))
        assert not list((root / "tmp").iterdir())
        assert [file.name for file in (root / "states").glob(".*")] in ([], [".lock"])
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
