"""What a message costs localpach: `python benchmarks/localpach_messages.py [PROGRAM ...]`.

Each PROGRAM is a `localpach` to start (this project's by default; name another checkout's, too, to compare). Two clients ask the
same of each in turn: one on python-pachyderm's messages, in this environment, and one on localpach's own, in localpach's. Given
is the server's processor time for each message, and the time that the client had to wait.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

ROOT = Path(__file__).parents[1]
CLIENTS = {"python-pachyderm": ROOT / ".venv/bin/python", "own messages": ROOT / "localpach/.venv/bin/python"}
FILES, MANY_FILES, DATUMS = 5_000, 100_000, 20_000
TICK = os.sysconf("SC_CLK_TCK")


def messages() -> tuple[Any, Any]:
    """The modules of PFS's and PPS's messages that this environment has."""
    try:
        from localpach.proto import pfs_pb2, pps_pb2  # noqa: PLC0415
    except ImportError:
        from python_pachyderm.service import pfs_proto, pps_proto  # noqa: PLC0415

        return pfs_proto, pps_proto
    return pfs_pb2, pps_pb2


class Client:
    """Calls by name, with the messages of this environment."""

    def __init__(self, address: str, pid: int) -> None:
        self.pfs, self.pps = messages()
        self._channel = grpc.insecure_channel(address)
        self._stat = Path(f"/proc/{pid}/stat")

    def call(self, kind: str, method: str, request: Any) -> Any:
        """The answer, or the answers, of one RPC."""
        module = self.pps if method.startswith("/pps") else self.pfs
        name = method.rpartition("/")[2]
        shape = module.DESCRIPTOR.services_by_name["API"].methods_by_name[name]
        answer = shape.output_type._concrete_class
        multi = getattr(self._channel, kind)(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return multi(request)

    def processor_time(self) -> float:
        """Seconds of the server so far."""
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def measure(self, name: str, run: Callable[[], int]) -> tuple[str, int, float, float]:
        """Row, messages, the server's and the client's seconds."""
        before, start = self.processor_time(), time.monotonic()
        count = run()
        return name, count, self.processor_time() - before, time.monotonic() - start


def rows(client: Client) -> Iterator[tuple[str, int, float, float]]:
    """What is asked, in the repos that `prepare` has made."""
    pfs, pps = client.pfs, client.pps

    def branch(repo: str) -> Any:
        return pfs.Branch(repo=pfs.Repo(name=repo, type="user"), name="master")

    def file(repo: str, path: str) -> Any:
        return pfs.File(commit=pfs.Commit(branch=branch(repo)), path=path)

    def put(repo: str, count: int) -> int:
        def changes() -> Iterator[Any]:
            yield pfs.ModifyFileRequest(set_commit=pfs.Commit(branch=branch(repo)))
            for number in range(count):
                add = pfs.AddFile(path=f"/d{number % 50}/f{number:06}")
                add.raw.value = b"%06d" % number * 170
                yield pfs.ModifyFileRequest(add_file=add)

        client.call("stream_unary", "/pfs_v2.API/ModifyFile", changes())
        return count

    def listed(repo: str, count: int) -> int:
        request = pfs.WalkFileRequest(file=file(repo, "/"))
        assert sum(1 for _ in client.call("unary_stream", "/pfs_v2.API/WalkFile", request)) >= count
        return count

    def got() -> int:
        for number in range(FILES):
            request = pfs.GetFileRequest(file=file("few", f"/d{number % 50}/f{number:06}"))
            assert list(client.call("unary_stream", "/pfs_v2.API/GetFile", request))
        return FILES

    def datums() -> int:
        leaf = pps.PFSInput(repo="many", glob="/*/*")
        request = pps.ListDatumRequest(input=pps.Input(pfs=leaf), number=DATUMS)
        return sum(1 for _ in client.call("unary_stream", "/pps_v2.API/ListDatum", request))

    yield client.measure(f"put {FILES:,} files of 1 KiB", lambda: put("scratch", FILES))
    yield client.measure(f"list {FILES:,} files", lambda: listed("few", FILES))
    yield client.measure(f"list {MANY_FILES:,} files", lambda: listed("many", MANY_FILES))
    yield client.measure(f"get {FILES:,} files", got)
    yield client.measure(f"list {DATUMS:,} datums", datums)


def prepare(client: Client) -> None:
    """Repos of few, many and no files."""
    pfs = client.pfs
    for name, count in (("few", FILES), ("many", MANY_FILES), ("scratch", 0)):
        repo = pfs.Repo(name=name, type="user")
        client.call("unary_unary", "/pfs_v2.API/CreateRepo", pfs.CreateRepoRequest(repo=repo))

        def changes(repo: Any = repo, count: int = count) -> Iterator[Any]:
            yield pfs.ModifyFileRequest(set_commit=pfs.Commit(branch=pfs.Branch(repo=repo, name="master")))
            for number in range(count):
                add = pfs.AddFile(path=f"/d{number % 50}/f{number:06}")
                add.raw.value = b"%06d" % number * 170
                yield pfs.ModifyFileRequest(add_file=add)

        if count:
            client.call("stream_unary", "/pfs_v2.API/ModifyFile", changes())


def main(programs: list[str]) -> None:
    """A table: for each row and program, microseconds of the server for each message, by client."""
    print("| asked | server | client | server, µs a message | waited, s |\n| --- | --- | --- | --- | --- |")
    for program in programs:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            server = subprocess.Popen(
                [program, "serve", "--root", str(root), "--port", "0", "--no-auth"], stderr=subprocess.DEVNULL
            )
            while not (root / "address").exists():
                time.sleep(0.05)
            address = json.loads((root / "address").read_text())["address"]
            for number, (name, python) in enumerate(CLIENTS.items()):
                command = [str(python), __file__, "--client", address, str(server.pid), *["prepare"] * (not number)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                for row, count, seconds, waited in json.loads(done.stdout):
                    print(f"| {row} | {program} | {name} | {seconds / count * 1e6:.1f} | {waited:.2f} |", flush=True)
            server.terminate()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        asking = Client(sys.argv[2], int(sys.argv[3]))
        if sys.argv[4:] == ["prepare"]:
            prepare(asking)
        print(json.dumps(list(rows(asking))))
    else:
        main(sys.argv[1:] or [str(ROOT / "localpach/.venv/bin/localpach")])
