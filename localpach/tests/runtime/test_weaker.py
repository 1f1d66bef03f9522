"""Where the kernel refuses a sandbox, the best that is left runs, and it is said; networks that are asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from localpach.proto import pps_pb2
from tests.helpers import last_job, lines, pfs, pipeline, put
from tests.servers import Server, ServerProcess

# A kernel that gives no namespaces, for what is run under our own filter.
WITHOUT = """
import os, sys
from localpach.runtime import seccomp, starter
starter.run_under(seccomp.program())
os.execv(sys.argv[1], sys.argv[1:])
"""
PREFIX = [sys.executable, "-c", WITHOUT]


def test_it_is_said_where_there_is_no_sandbox(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, prefix=PREFIX) as server:
        client = server.client
        client.create_repo("in")
        put(client, "in", {"/a": b"1"})
        pipeline(client, "p", "grep Seccomp: /proc/self/status; echo x > /pfs/in/a; cp /pfs/in/a /pfs/out/", pfs("in"))
        job = last_job(client, "p")
        said = lines(client, "p", job)
        assert job.state == pps_pb2.JOB_SUCCESS
        assert said[0].startswith("there is NO sandbox: ")
        assert "Seccomp:\t2" in said
        assert client.get_file(("in", "master"), "/a") == b"1"
        assert client.get_file(("p", "master"), "/a") == b"x\n"
        command = [sys.executable, "-m", "localpach", "status", "--root", str(tmp_path)]
        status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "there is NO sandbox: " in status


def test_a_sandbox_that_is_required_is_had_or_nobody_serves(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localpach", "serve", "--root", str(tmp_path), "--port", "0"]
    done = subprocess.run([*PREFIX, *command, "--sandbox", "require"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("localpach: a sandbox is required, and there is NO sandbox: ")


@pytest.mark.parametrize("annotation", ["", "bridge"])
def test_a_network_leads_out_and_not_to_the_machine(server: Server, annotation: str) -> None:
    if shutil.which("slirp4netns") is None or not os.access("/dev/net/tun", os.R_OK):
        assert not os.environ.get("CI"), "CI must have slirp4netns and /dev/net/tun"
        pytest.skip("needs slirp4netns and /dev/net/tun")
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        client = server.client
        client.delete_all()
        client.create_repo("in")
        put(client, "in", {"/a": b"1"})
        port = web.server_address[1]
        script = "cut -d: -f1 /proc/net/dev | tail -n +3 > /pfs/out/devices\n" + "\n".join(
            f"python3 -c 'import socket; socket.create_connection((\"{host}\", {port}), 2)' && echo {host} >> /pfs/out/got"
            for host in ("127.0.0.1", "10.0.2.2")
        )
        metadata = pps_pb2.Metadata(annotations={"localpach/network": annotation} if annotation else {})
        pipeline(client, "p", f"{script}\ntrue", pfs("in"), metadata=metadata, datum_tries=1)
        job = last_job(client, "p")
        web.shutdown()
        thread.join()
    assert job.state == pps_pb2.JOB_SUCCESS, lines(client, "p", job)
    devices = client.get_file(("p", "master"), "/devices").decode().split()
    assert sorted(devices) == (["lo", "tap0"] if annotation else ["lo"])
    assert not client.glob_file(("p", "master"), "/got")
