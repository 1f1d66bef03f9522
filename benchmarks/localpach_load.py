"""Whether localpach stays as fast as it was: `python -m benchmarks.localpach_scale [FILES [COMMITS]]`.

The last of COMMITS (2,000) commits and jobs on a repo of FILES (100,000) files beside the 20th, and the time of a call
while 500 others wait.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from benchmarks.localpach_speed import row, serving, took, wait

AROUND = 10
WAITING = 500


def fill(client: Client, files: int) -> None:
    """A repo of many files, and a pipeline that reads one that changes."""
    client.create_repo("large")
    with client.commit("large", "master") as commit, client.modify_file_client(commit) as modify:
        for number in range(files):
            modify.put_file_from_bytes(f"/kept/{number // 1000:03}/{number:06}", b"kept")
        modify.put_file_from_bytes("/new/f", b"first")
    pfs = pps_proto.PFSInput(repo="large", glob="/new/*")
    transform = pps_proto.Transform(cmd=["sh", "-c", "cp /pfs/large/new/f /pfs/out/"], image="host")
    client.create_pipeline("copy", transform=transform, input=pps_proto.Input(pfs=pfs))
    wait(client, "copy")


def commit_and_job(client: Client, number: int) -> float:
    """Seconds from the start of a commit to the success of its job."""

    def go() -> None:
        commit = client.start_commit("large", "master")
        client.put_file_bytes(commit, "/new/f", str(number).encode())
        client.finish_commit(commit)
        wait(client, "copy")

    return took(go)


def calls_while_others_wait(client: Client) -> tuple[float, float]:
    """Median seconds of a call before and while 500 calls wait for a commit to finish."""
    before = statistics.median(took(lambda: list(client.list_repo())) for _ in range(50))
    client.create_repo("open")
    commit = client.start_commit("open", "master")
    waiting = [threading.Thread(target=client.wait_commit, args=(commit,)) for _ in range(WAITING)]
    for thread in waiting:
        thread.start()
    time.sleep(2)
    during = statistics.median(took(lambda: list(client.list_repo())) for _ in range(50))
    client.finish_commit(commit)
    for thread in waiting:
        thread.join()
    return before, during


def main() -> None:
    files, commits = [*map(int, sys.argv[1:]), *(100_000, 2000)[len(sys.argv) - 1 :]]
    with serving() as server:
        client = server.client
        print("| measured | localpach | goal |\n| --- | --- | --- |")
        before, during = calls_while_others_wait(client)
        row(f"a call while {WAITING} wait", f"{during * 1000:.1f} ms, without {before * 1000:.1f} ms", "responsive")
        fill(client, files)
        times = [commit_and_job(client, number) for number in range(commits)]
        early = statistics.median(times[20 - AROUND : 20 + AROUND])
        late = statistics.median(times[-2 * AROUND :])
        shown = f"{late * 1000:.0f} ms, the 20th {early * 1000:.0f} ms: {late / early:.2f} ×"
        row(f"commit and job number {commits:,} on {files:,} files", shown, "1.3 ×")


if __name__ == "__main__":
    main()
