"""How fast localpach is, with python-pachyderm as client: `python benchmarks/localpach_speed.py`.

In brackets stands what a real Pachyderm 2.7.6 with local storage took on a machine of this kind under some load.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
from python_pachyderm import Client
from python_pachyderm.service import pfs_proto, pps_proto

MIB = 1 << 20
BIG = 256 * MIB
MANY = 5000
DATUMS = 500


class Server(NamedTuple):
    """A localpach of the benchmark's own."""

    process: subprocess.Popen[bytes]
    root: Path
    client: Client
    seconds: float  # to its first answer


@contextmanager
def serving() -> Iterator[Server]:
    """A server until the end of the block; what an RPC is refused for ends the benchmark in a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        begin, root = time.monotonic(), Path(folder)
        program = Path(sys.executable).with_name("localpach")
        command = [program, "serve", "--root", root, "--port", "0", "--missing-image", "host"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while not (root / "address").exists():
                time.sleep(0.005)
            host, port = json.loads((root / "address").read_text())["address"].split(":")
            client = Client(host, int(port), auth_token=(root / "token").read_text())
            list(client.list_repo())
            yield Server(process, root, client, time.monotonic() - begin)
        except grpc.RpcError as error:
            sys.exit(f"Error: {error.details()}")  # type: ignore[attr-defined]
        finally:
            process.terminate()
            process.wait()


def took(action: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def peak(process: subprocess.Popen[bytes]) -> float:
    """The most memory that the server has held, MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def row(name: str, value: str, reference: str) -> None:
    print(f"| {name} | {value} | ({reference}) |", flush=True)


def pipeline(client: Client, name: str, source: str) -> None:
    pfs = pps_proto.PFSInput(repo=source, glob="/*")
    transform = pps_proto.Transform(cmd=["sh"], stdin=[f"cp /pfs/{source}/* /pfs/out/"], image="host")
    client.create_pipeline(name, transform=transform, input=pps_proto.Input(pfs=pfs))


def wait(client: Client, name: str) -> None:
    # Not by list_job: the server would begin to send the whole history.
    job = client.inspect_branch(name, "master").head.id
    info = next(iter(client.inspect_job(job, name, wait=True)))
    assert info.state == pps_proto.JOB_SUCCESS, info.reason


def small_commit(client: Client, repo: str, number: int) -> pfs_proto.Commit:
    commit = client.start_commit(repo, "master")
    client.put_file_bytes(commit, f"/f{number}", b"small")
    client.finish_commit(commit)
    return commit


def big_file(client: Client, process: subprocess.Popen[bytes]) -> None:
    client.create_repo("big")
    data = os.urandom(BIG)

    def put() -> None:
        with client.commit("big", "master") as commit:
            client.put_file_bytes(commit, "/f", io.BytesIO(data))

    def get() -> None:
        stream = client.get_file(("big", "master"), "/f")
        size = 0
        while chunk := stream.read(MIB):
            size += len(chunk)
        assert size == BIG

    row("put one 256 MiB file", f"{BIG / MIB / took(put):.0f} MiB/s", "40")
    row("get it", f"{BIG / MIB / took(get):.0f} MiB/s", "91")
    row("server memory at its peak", f"{peak(process):.0f} MiB", "1,500")


def many_files(client: Client) -> None:
    """The client's own share is its processor time, in all its threads: with no server at all it would be no faster."""
    client.create_repo("many")

    def put() -> None:
        with client.commit("many", "master") as commit, client.modify_file_client(commit) as modify:
            for number in range(MANY):
                modify.put_file_from_bytes(f"/f{number:05}", b"x" * 1024)

    start = time.process_time()
    row("5,000 files of 1 KiB in a commit", f"{MANY / took(put):.0f} files/s", "1,392")
    row("with the client's processor time alone", f"{MANY / (time.process_time() - start):.0f} files/s", "-")
    start = time.process_time()
    row("list them", f"{took(lambda: list(client.list_file(('many', 'master'), '/'))):.2f} s", "0.93")
    row("with the client's processor time alone", f"{time.process_time() - start:.2f} s", "-")


def datums(client: Client) -> None:
    """Many small datums, each a process of its own."""
    client.create_repo("each")
    with client.commit("each", "master") as commit, client.modify_file_client(commit) as modify:
        for number in range(DATUMS):
            modify.put_file_from_bytes(f"/f{number:05}", b"x" * 1024)
    client.wait_commit(commit)
    begin = time.monotonic()
    pipeline(client, "copy", "each")
    wait(client, "copy")
    row(f"each of {DATUMS} datums in a job", f"{(time.monotonic() - begin) / DATUMS * 1000:.0f} ms", "-")


def commits_and_jobs(client: Client) -> None:
    client.create_repo("in")
    finished, whole = [], []
    for number in range(20):
        begin = time.monotonic()
        commit = small_commit(client, "in", number)
        middle = time.monotonic()
        client.wait_commit(commit)
        whole.append(middle - begin)
        finished.append(time.monotonic() - middle)
    row("start, put and finish a small commit", f"{statistics.median(whole) * 1000:.0f} ms", "36")
    row("finish_commit to FINISHED", f"{statistics.median(finished) * 1000:.0f} ms", "249")
    client.create_repo("one")
    small_commit(client, "one", 0)
    begin = time.monotonic()
    pipeline(client, "first", "one")
    wait(client, "first")
    row("create_pipeline to the first job's success", f"{time.monotonic() - begin:.2f} s", "2.6")
    times = []
    for number in range(1, 8):
        small_commit(client, "one", number)
        times.append(took(lambda: wait(client, "first")))
    row("finish_commit to job success", f"{statistics.median(times):.2f} s", "2.6")
    pipeline(client, "second", "first")
    pipeline(client, "third", "second")
    wait(client, "third")
    small_commit(client, "one", 100)
    row("a chain of three pipelines", f"{took(lambda: wait(client, 'third')):.2f} s", "7-9.6")


def main() -> None:
    with serving() as server:
        print("| measured | localpach | Pachyderm 2.7.6 |\n| --- | --- | --- |")
        row("start to first answer", f"{server.seconds:.2f} s", "-")
        commits_and_jobs(server.client)
        datums(server.client)
        many_files(server.client)
        big_file(server.client, server.process)


if __name__ == "__main__":
    main()
