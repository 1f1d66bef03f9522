"""The embedded server: attached to, or started, when no Pachyderm is named."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty
from python_pachyderm.service import version_grpc

from tasks.errors import ScriptwrightError

START_SECONDS = 20.0


def attach_or_start(root: Path) -> tuple[str, str]:
    """The address and token of the embedded server on `root`, which is started when it does not run.

    Raises:
        ScriptwrightError: it does not start.
    """
    found = _running(root)
    if found:
        return found
    root.mkdir(parents=True, exist_ok=True)
    # Two runs that find no server must not start two.
    with (root / "starting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _running(root) or _start(root)


def _start(root: Path) -> tuple[str, str]:
    with (root / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "localpach", "serve", "--root", str(root), "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )
    # It outlives us; if we outlive it, nobody should wait for its end in vain.
    threading.Thread(target=server.wait, daemon=True).start()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = _running(root)
        if found:
            return found
        if server.poll() is not None:
            break
        time.sleep(0.05)
    # Somebody else's start may have been the quicker one.
    found = _running(root)
    if found:
        return found
    raise ScriptwrightError(f"The embedded Pachyderm did not start; its log is {root / 'server.log'}.")


def _running(root: Path) -> tuple[str, str] | None:
    """Address and token of a server that answers on `root`."""
    try:
        address = json.loads((root / "address").read_text())["address"]
        token_file = root / "token"
        token = token_file.read_text().strip() if token_file.exists() else ""
    except (FileNotFoundError, ValueError, KeyError):
        return None
    try:
        with grpc.insecure_channel(address) as channel:
            version_grpc.APIStub(channel).GetVersion(Empty(), timeout=5, metadata=(("authn-token", token),))
    except grpc.RpcError:
        return None
    return address, token
