"""Whether localpach stays as it is under load: `python -m benchmarks.localpach_load [ROW ...]`, all rows by default.

Each row has a server of its own. Seconds are the clock's; where what is compared is the server's own work, its processor time.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from benchmarks.localpach_speed import MIB, Server, peak, row, serving, took, wait

COMMITS, AROUND = 2000, 10
DATUMS = 20_000
FILES, BYTES = 100_000, 2 << 30
LINES = 1_000_000
READERS, WRITERS, SECONDS = 64, 4, 20
WAITING = 500
FEW, PIPELINES = 10, 1000
TICK = os.sysconf("SC_CLK_TCK")


def resident(server: Server) -> float:
    """The memory that the server holds now, MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def processor(server: Server) -> float:
    """Seconds of the processor that the server itself has taken."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def put(client: Client, repo: str, files: dict[str, bytes]) -> None:
    """One commit of these files."""
    with client.commit(repo, "master") as commit, client.modify_file_client(commit) as modify:
        for path, data in files.items():
            modify.put_file_from_bytes(path, data)


def pipeline(client: Client, name: str, source: str, glob: str, script: str) -> None:
    pfs = pps_proto.PFSInput(repo=source, name="in", glob=glob)
    transform = pps_proto.Transform(cmd=["sh"], stdin=[script], image="host")
    client.create_pipeline(name, transform=transform, input=pps_proto.Input(pfs=pfs), datum_tries=1)


def jobs(server: Server) -> None:
    """Commits and jobs on a repo of many files, of which one changes."""
    client = server.client
    client.create_repo("large")
    put(client, "large", {f"/kept/{n // 1000:03}/{n:06}": b"kept" for n in range(FILES)} | {"/new/f": b"first"})
    pipeline(client, "copy", "large", "/new/*", "cp /pfs/in/new/f /pfs/out/")
    wait(client, "copy")
    seconds, of_server, memory = [], [], []

    def one(number: int) -> None:
        commit = client.start_commit("large", "master")
        client.put_file_bytes(commit, "/new/f", str(number).encode())
        client.finish_commit(commit)
        wait(client, "copy")

    for number in range(COMMITS):
        before = processor(server)
        seconds.append(took(partial(one, number)))
        of_server.append(processor(server) - before)
        memory.append(resident(server))
    row(f"job {COMMITS:,} beside the 20th, on {FILES:,} files", compared(seconds, statistics.median), "1.3 ×")
    row("the same in the server's processor time", compared(of_server, statistics.mean), "1.3 ×")
    row("memory from the 20th to the last", f"{memory[20]:.0f} to {memory[-1]:.0f} MiB", "+20 MiB")


def compared(times: list[float], average: Callable[[list[float]], float]) -> str:
    early, late = average(times[20 - AROUND : 20 + AROUND]), average(times[-2 * AROUND :])
    return f"{late * 1000:.0f} ms to {early * 1000:.0f} ms: {late / early:.2f} ×"


def datums(server: Server) -> None:
    """One job of many datums."""
    client = server.client
    client.create_repo("each")
    put(client, "each", {f"/{number:05}": b"datum" for number in range(DATUMS)})
    before = resident(server)
    pipeline(client, "copy", "each", "/*", "cp /pfs/in/* /pfs/out/")
    seconds = took(lambda: wait(client, "copy"))
    row(f"each of {DATUMS:,} datums of a job", f"{seconds / DATUMS * 1000:.0f} ms", "-")
    row("server memory before and at its peak", f"{before:.0f} and {peak(server.process):.0f} MiB", "200 MiB")
    seconds = took(lambda: list(client.list_file(("copy", "master"), "/")))
    row("list the files that came of it", f"{seconds:.1f} s", "-")


def files(server: Server) -> None:
    """Many files in one commit."""
    client, size = server.client, BYTES // FILES
    client.create_repo("many")

    def put_all() -> None:
        with client.commit("many", "master") as commit, client.modify_file_client(commit) as modify:
            for number in range(FILES):
                modify.put_file_from_bytes(f"/{number // 1000:03}/{number:06}", os.urandom(size))
        client.wait_commit(commit)

    row(f"{FILES:,} files, {BYTES / MIB:,.0f} MiB, in one commit", f"{took(put_all):.0f} s", "-")
    row("server memory at its peak", f"{peak(server.process):.0f} MiB", "200 MiB")


def logs(server: Server) -> None:
    """One job that says very much."""
    client = server.client
    client.create_repo("in")
    put(client, "in", {"/f": b"x"})
    pipeline(client, "talk", "in", "/", f"seq {LINES}")
    row(f"a job that says {LINES:,} lines", f"{took(lambda: wait(client, 'talk')):.0f} s", "-")
    id = client.inspect_branch("talk", "master").head.id
    begin = time.monotonic()
    said = [each.message for each in client.get_job_logs("talk", id) if each.user]
    seconds = time.monotonic() - begin
    assert said == [str(number + 1) for number in range(LINES)]
    row("read them back, in order and once", f"{seconds:.0f} s", "in order")
    row("server memory at its peak", f"{peak(server.process):.0f} MiB", "200 MiB")


def readers(server: Server) -> None:
    """Readers, each of whom sees one commit or another and never half of one, and writers on branches of their own."""
    client = server.client
    client.create_repo("shared")
    end = time.monotonic() + SECONDS
    for writer in range(WRITERS):
        write(client, f"w{writer}", 0)

    def reading(number: int) -> list[float]:
        branch, times = f"w{number % WRITERS}", []
        while time.monotonic() < end:
            times.append(took(lambda: read(client, branch)))
        return times

    def writing(number: int) -> list[float]:
        times: list[float] = []
        while time.monotonic() < end:
            times.append(took(lambda: write(client, f"w{number}", len(times))))
        return times

    with ThreadPoolExecutor(READERS + WRITERS) as pool:
        reads, writes = pool.map(reading, range(READERS)), pool.map(writing, range(WRITERS))
        for name, calls in (("reads", [*reads]), ("commits", [*writes])):
            times = sorted(time for each in calls for time in each)
            value = f"{len(times) / SECONDS:.0f}/s, half of them in {statistics.median(times) * 1000:.0f} ms, the slowest in"
            row(f"{name}: {READERS} readers, {WRITERS} writers", f"{value} {times[-1]:.2f} s", "none fails")


def write(client: Client, branch: str, number: int) -> None:
    with client.commit("shared", branch) as commit, client.modify_file_client(commit) as modify:
        for name in ("/a", "/b"):
            modify.put_file_from_bytes(name, str(number).encode())


def read(client: Client, branch: str) -> None:
    head = client.inspect_branch("shared", branch).head
    client.wait_commit(head)
    first, second = (client.get_file(head, path).read() for path in ("/a", "/b"))
    assert first == second, (first, second)


def waiting(server: Server) -> None:
    """A call while many others wait."""
    client = server.client

    def call() -> float:
        return statistics.median(took(lambda: list(client.list_repo())) for _ in range(50))

    alone = call()
    client.create_repo("open")
    commit = client.start_commit("open", "master")
    with ThreadPoolExecutor(WAITING) as pool:
        calls = [pool.submit(client.wait_commit, commit) for _ in range(WAITING)]
        time.sleep(2)
        row(f"a call while {WAITING} wait", f"{call() * 1000:.1f} ms, alone {alone * 1000:.1f} ms", "responsive")
        client.finish_commit(commit)
        row("until all of them know", f"{took(lambda: [each.result() for each in calls]):.2f} s", "-")


def pipelines(server: Server) -> None:
    """Many pipelines, each on the first one's repo or on what the one before makes, ten in a row; and their jobs."""
    client = server.client
    client.create_repo("in")

    def create(number: int) -> None:
        source = f"p{number - 1}" if number % 10 else "in"
        pipeline(client, f"p{number}", source, "/", "true")

    seconds_each, of_server = [], []
    for number in range(PIPELINES):
        before = processor(server)
        seconds_each.append(took(partial(create, number)))
        of_server.append(processor(server) - before)
        if number + 1 in (FEW, PIPELINES):
            a_job_of_each(server, number + 1)
    row(f"pipeline {PIPELINES:,} beside the 20th", compared(seconds_each, statistics.median), "30 ms")
    row("the same in the server's processor time", compared(of_server, statistics.mean), "flat")
    listing(server, "list_pipeline", client.list_pipeline)
    listing(server, "list_repo", client.list_repo)
    listing(server, "list_job", client.list_job)
    before = processor(server)
    seconds = took(client.delete_all)
    row("delete_all", f"{seconds:.1f} s, {processor(server) - before:.1f} s the server's", "10 s")


def a_job_of_each(server: Server, pipelines: int) -> None:
    before = processor(server)
    put(server.client, "in", {"/f": str(pipelines).encode()})
    seconds = took(lambda: server.client.wait_commit(server.client.inspect_branch("in", "master").head.id))
    value = f"{seconds:.1f} s, {(processor(server) - before) / pipelines * 1000:.0f} ms of the server's for each"
    row(f"a job of each of {pipelines:,} pipelines", value, "flat")


def many_sets(server: Server) -> None:
    """Many jobs of one pipeline, each of a set of its own."""
    client = server.client
    client.create_repo("in")
    pipeline(client, "one", "in", "/", "true")
    for number in range(PIPELINES):
        put(client, "in", {"/f": str(number).encode()})
        wait(client, "one")
    listing(server, f"list_job, {PIPELINES:,} sets", client.list_job)
    listing(server, f"list_job of the pipeline, {PIPELINES:,} jobs", partial(client.list_job, "one"))


def listing(server: Server, name: str, call: Callable[[], Iterable[object]]) -> None:
    before = processor(server)
    seconds = took(lambda: list(call()))
    row(name, f"{seconds:.2f} s, {processor(server) - before:.2f} s the server's", "1 s")


ROWS = (waiting, readers, jobs, many_sets, pipelines, logs, files, datums)


def main() -> None:
    chosen = [each for each in ROWS if each.__name__ in sys.argv[1:]] or ROWS
    print("| measured | localpach | goal |\n| --- | --- | --- |")
    for each in chosen:
        with serving() as server:
            each(server)


if __name__ == "__main__":
    main()
