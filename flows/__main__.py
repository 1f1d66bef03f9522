"""Runs the flow of a name, as make does: `python -m flows train`. Prefect takes its time to be imported, so that signs of
life begin before."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from flows.ctrl_c import take_ctrl_c_alone
from flows.silence import SignsOfLife

FLOWS = ("train", "rerun", "retrain", "teardown", "input_data", "docker_build")


def main(name: str) -> None:
    """Exits with 1 on an error, and with 130 on Ctrl-C, when the job has been stopped."""
    cluster = os.environ.get("PACHD_ADDRESS", "").rpartition("@")[2]  # without a login, which is of no use there
    print(f"Starting Prefect{f', and looking for the Pachyderm at {cluster}' if cluster else ''}", flush=True)
    take_ctrl_c_alone()
    try:
        with SignsOfLife("the start"):
            flow = getattr(import_module(f"flows.{name}"), name)
            import_module("flows.terminal").run_from_terminal(flow)
    except KeyboardInterrupt:
        print("\nInterrupted; run again to go on.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m flows", description="Runs a flow, its parameters taken from the environment."
    )
    parser.add_argument("flow", choices=FLOWS)
    main(parser.parse_args().flow)
