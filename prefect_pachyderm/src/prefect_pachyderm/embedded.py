"""The embedded server: localpach on this machine, attached to, or started, when no Pachyderm is named."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
import platformdirs
from google.protobuf.empty_pb2 import Empty
from python_pachyderm.service import version_grpc

from prefect_pachyderm.calls import PrefectPachydermError

START_SECONDS = 60.0
ANSWER_SECONDS = 20.0
NO = ("0", "false", "no")
# Of a process worker, of a worker that makes an environment, and of a flow that is served from a repository.
MADE_BY_PREFECT = re.compile(r"tmp\w+prefect|prefect-workspace-attempt-\w+|runner_storage")


class LocalpachError(PrefectPachydermError):
    """The program localpach is missing, or did not do what it was asked."""


def embedded_root() -> Path:
    """The embedded server's data directory: `LOCALPACH_ROOT`, or `.localpach` in the folder that lasts."""
    root = os.environ.get("LOCALPACH_ROOT")
    return Path(root).absolute() if root else lasting_folder() / ".localpach"


def lasting_folder() -> Path:
    """Where things are kept that outlive a run: the working directory, or a folder of the user's where that one will go.

    A deployment whose code is fetched runs in a folder that Prefect makes for it and deletes afterwards.
    """
    here = Path.cwd()
    return platformdirs.user_data_path("prefect-pachyderm") if is_temporary(here) else here


def is_temporary(path: Path) -> bool:
    """Whether a path is in a folder that Prefect makes for one run."""
    temporary = Path(tempfile.gettempdir()).resolve()
    resolved = path.resolve()
    if not resolved.is_relative_to(temporary) or resolved == temporary:
        return False
    return bool(MADE_BY_PREFECT.fullmatch(resolved.relative_to(temporary).parts[0]))


def find_localpach() -> str:
    """The program localpach, beside this Python or on PATH.

    Raises:
        LocalpachError: there is none.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which("localpach", path=places)
    if program is None:
        raise LocalpachError(
            "No Pachyderm is named and the program localpach is not there: install localpach, or set PACHD_ADDRESS."
        )
    return program


def run_localpach(*arguments: str) -> str:
    """What a command of localpach prints.

    Raises:
        LocalpachError: it fails, with what it says, or there is no localpach.
    """
    done = subprocess.run([find_localpach(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalpachError(done.stderr.strip() or f"localpach {arguments[0]} failed without a word.")
    return done.stderr + done.stdout


def attach_or_start(root: Path, anew: bool = True) -> tuple[str, str]:
    """The address and token of the embedded server on `root`, which is started when it does not run; `anew` says whether also
    where none has run before.

    With `LOCALPACH_START=false` it is not: somebody else, who runs it, must find no second one where he has ended the first.

    Raises:
        LocalpachError: it does not start, or may not, or there is no localpach.
    """
    running = _look(root)
    if running:
        return running
    if not anew and not (root / "metadata.sqlite").exists():
        raise LocalpachError(f"There is no data of localpach in {root}; set LOCALPACH_ROOT to where it is.")
    if os.environ.get("LOCALPACH_START", "").lower() in NO:
        raise LocalpachError(
            f"No localpach serves {root}, and LOCALPACH_START says that none is started here; "
            f"start it with `localpach serve --root {root}`."
        )
    if is_temporary(root):
        raise LocalpachError(
            f"The embedded Pachyderm would keep its data in {root}, which Prefect deletes after the run: "
            "set LOCALPACH_ROOT to a folder that stays."
        )
    root.mkdir(parents=True, exist_ok=True)
    # Two runs that find no server must not start two.
    with (root / "starting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _look(root) or _start(root)


def page_address(root: Path) -> str:
    """Where the running server's page is to be looked at."""
    return f"http://{json.loads((root / 'address').read_text())['json_address']}/"


def _start(root: Path) -> tuple[str, str]:
    server = _spawn(root)
    deadline = time.monotonic() + START_SECONDS
    ended = False
    while not ended and time.monotonic() < deadline:
        time.sleep(0.05)
        # Looked at first: if it has ended, somebody else's start may have been the quicker one.
        ended = server.poll() is not None
        if running := _look(root):
            return running
        if ended and server.returncode < 0:
            # Somebody has killed it, which says nothing of the next one.
            server, ended = _spawn(root), False
    raise LocalpachError(f"The embedded Pachyderm did not start; its log is {root / 'server.log'}.")


def _spawn(root: Path) -> subprocess.Popen[bytes]:
    command = [find_localpach(), "serve", "--root", str(root), "--port", "0"]
    with (root / "server.log").open("ab") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=root, start_new_session=True
        )
    # It outlives us; if we outlive it, nobody should wait for its end in vain.
    threading.Thread(target=server.wait, daemon=True).start()
    return server


def _look(root: Path) -> tuple[str, str] | None:
    """Address and token of a server that answers on `root`."""
    try:
        address = str(json.loads((root / "address").read_text())["address"])
        token_file = root / "token"
        token = token_file.read_text().strip() if token_file.exists() else ""
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    try:
        with grpc.insecure_channel(address) as channel:
            version_grpc.APIStub(channel).GetVersion(
                Empty(), timeout=ANSWER_SECONDS, metadata=(("authn-token", token),)
            )
    except grpc.RpcError:
        return None
    return address, token
