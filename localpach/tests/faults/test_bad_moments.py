"""A disk that is full, or fails, for a while: writes are refused with a sentence, reads go on, and so does all else after."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from localpach.proto import pps_pb2
from tests.faults.disk import FOR_EVER, Disk
from tests.helpers import content, pfs, pipeline, put, refused, tell, until
from tests.servers import ServerProcess

BIG = bytes(200_000)


@pytest.mark.slow
@pytest.mark.parametrize(("error", "code"), [(errno.ENOSPC, "RESOURCE_EXHAUSTED"), (errno.EIO, "UNAVAILABLE")])
def test_all_goes_on_once_the_disk_is_well_again(tmp_path: Path, error: int, code: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(tmp_path, root)
    with ServerProcess(root, env=disk.env) as server:
        client = server.client
        client.create_repo("in")
        put(client, "in", {"/a": b"1"})
        script = "until test -e /tmp/go; do sleep 0.05; done; cp /pfs/in/* /pfs/out/"
        pipeline(client, "slow", script, pfs("in"))
        until(lambda: client.list_job("slow")[0].state == pps_pb2.JOB_RUNNING)
        waiting = client.start_commit("in", "other")
        disk.arm(1, error, FOR_EVER)
        for _ in range(3):
            assert refused(lambda: client.put_file_bytes(("in", "master"), "/b", BIG))[0] == code
            assert refused(lambda: client.finish_commit(waiting))[0] == code
            assert client.get_file(("in", "master"), "/a") == b"1"
        # The job ends into the full disk.
        for folder in root.glob("work/*/tmp"):
            (folder / "go").touch()
        time.sleep(0.5)
        disk.heal()
        client.finish_commit(waiting)
        client.wait_commit(waiting)
        put(client, "in", {"/b": BIG})

        def is_done() -> bool:
            tell(root, "go")
            return all(job.state in (pps_pb2.JOB_SUCCESS, pps_pb2.JOB_FAILURE) for job in client.list_job("slow"))

        until(is_done, 30)
        assert client.list_job("slow")[0].state == pps_pb2.JOB_SUCCESS
        assert (content(client, "slow", "/a"), content(client, "slow", "/b")) == (b"1", BIG)
        until(lambda: not list((root / "work").iterdir()))
        assert not list((root / "tmp").iterdir())
