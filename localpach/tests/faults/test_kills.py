"""A server that is killed again and again loses nothing that it has said is done."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import last_job, pfs, pipeline
from tests.servers import ServerProcess

KILLS = int(os.environ.get("KILLS", "200"))


class Load:
    """Commits and jobs, and what of it was acknowledged."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.files: dict[tuple[str, str], bytes] = {}
        self.number = 0

    def run(self, client: Client) -> None:
        """Works until the server is gone."""
        try:
            while True:
                self.number += 1
                time.sleep(0.05)
                path = f"/f{self.number % 40}"
                data = self._random.randbytes(self._random.choice((10, 1000, 100_000)))
                with client.commit("in", "master") as commit:
                    client.put_file_bytes(commit, path, data)
                self.files[(commit.id, path)] = data
        except grpc.RpcError:
            return


def prepare(client: Client) -> None:
    client.create_repo("in")
    pipeline(client, "copy", "cp /pfs/in/* /pfs/out/", pfs("in"))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    load, moments = Load(1), random.Random(2)
    with ServerProcess(tmp_path) as server:
        prepare(server.client)
        slowest = 0.0
        for kill in range(KILLS):
            worker = threading.Thread(target=load.run, args=(server.client,))
            worker.start()
            time.sleep(moments.random() * 0.4)
            server.kill()
            worker.join(30)
            assert not worker.is_alive()
            begin = time.monotonic()
            server.start()
            slowest = max(slowest, time.monotonic() - begin)
            for (commit, path), data in list(load.files.items())[-3:]:
                assert server.client.get_file(("in", commit), path) == data, f"after kill {kill}"
            head = server.client.inspect_commit(("in", "master"))
            if not head.HasField("finishing"):
                server.client.finish_commit(head.commit)
        client = server.client
        for (commit, path), data in load.files.items():
            assert client.get_file(("in", commit), path) == data
        assert last_job(client, "copy").state == pps_pb2.JOB_SUCCESS
        over = (pps_pb2.JOB_SUCCESS, pps_pb2.JOB_KILLED)
        assert all(info.state in over for info in client.list_job("copy"))
    command = [sys.executable, "-m", "localpach", "fsck", "--root", str(tmp_path), "--read-data"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert not list(tmp_path.glob("work/*"))
    print(f"{KILLS} kills, {len(load.files)} commits kept, slowest start {slowest:.2f} s")
