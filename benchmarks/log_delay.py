"""How late a line of a job's log stands in Prefect: `python -m benchmarks.log_delay`.

A job prints the time, 100 lines a tenth of a second apart; a flow waits for it as `train` does, on a Prefect server of its own; and the
server is asked for the flow run's log all the while.
"""

from __future__ import annotations

import os
import statistics
import threading
import time

# Read when Prefect is imported; as in the deployments.
os.environ["PREFECT_LOGGING_TO_API_BATCH_INTERVAL"] = "0.5"

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness
from python_pachyderm.service import pps_proto

from benchmarks.localpach_speed import row, serving, small_commit
from prefect_pachyderm.waits import wait_for_job

LINES = 100
SCRIPT = f"for n in $(seq {LINES}); do date +%s.%N; sleep 0.1; done"


@flow
def follow(job_id: str) -> None:
    """Waits for the job."""
    wait_for_job("clock", job_id)


def watch(late: dict[str, float], over: threading.Event) -> None:
    """Notes of each line how late it is when it is first seen."""
    with get_client(sync_client=True) as client:
        while not over.wait(0.05):
            for log in client.read_logs(limit=200):
                if log.message.replace(".", "").isdigit():
                    late.setdefault(log.message, time.time() - float(log.message))


def main() -> None:
    with prefect_test_harness(server_startup_timeout=180), serving() as server:
        client = server.client
        os.environ["PACHD_ADDRESS"] = client.address
        os.environ["PACH_PYTHON_AUTH_TOKEN"] = (server.root / "token").read_text()
        client.create_repo("in")
        small_commit(client, "in", 0)
        transform = pps_proto.Transform(cmd=["sh"], stdin=[SCRIPT], image="host")
        client.create_pipeline(
            "clock", transform=transform, input=pps_proto.Input(pfs=pps_proto.PFSInput(repo="in", glob="/"))
        )
        late: dict[str, float] = {}
        over = threading.Event()
        watcher = threading.Thread(target=watch, args=(late, over))
        watcher.start()
        follow(next(iter(client.list_job("clock"))).job.id)
        time.sleep(2)
        over.set()
        watcher.join()
    ordered = sorted(late.values())
    print("| measured | here | goal |\n| --- | --- | --- |")
    row("lines seen", f"{len(ordered)} of {LINES}", "all")
    row("a line's delay, median", f"{statistics.median(ordered):.2f} s", "2 s")
    row("a line's delay, 95 of 100", f"{ordered[int(0.95 * len(ordered)) - 1]:.2f} s", "2 s")


if __name__ == "__main__":
    main()
