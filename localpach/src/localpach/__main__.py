"""The command line: `python -m localpach …`, also installed as `localpach`."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import shlex
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from localpach.directory import Directory, named_root
from localpach.errors import Corrupt, LocalpachError, NotFound, Precondition
from localpach.faults import fault_of_disk, may_pass
from localpach.waiting import Bulletin, Deadline

if TYPE_CHECKING:
    from localpach.pfs.service import Pfs
    from localpach.pps.fsck import PpsFsck

DEFAULT_ROOT = Path.home() / ".localpach"
STOP_SECONDS = 30.0
CLOSE_SECONDS = 20
ANSWER_SECONDS = 5.0
MOST_PORT = 65535
# Parameters of mallopt(3).
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8


def main() -> None:
    """Runs one sub-command; what goes wrong is one sentence and exit status 1."""
    options = _parser().parse_args()
    try:
        sys.exit(options.run(options))
    except LocalpachError as error:
        sys.exit(f"localpach: {error.message}")
    except (OSError, sqlite3.Error) as error:
        told = fault_of_disk(error)
        sys.exit(f"localpach: {told.message if told else error} (data directory {options.root})")


def _parser() -> argparse.ArgumentParser:
    from localpach import copies, states
    from localpach.runtime import bundles
    from localpach.runtime.choice import MISSING_IMAGE, SANDBOX

    parser = argparse.ArgumentParser(
        prog="localpach", description="Pachyderm's API on one machine, without Kubernetes."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = _command(commands, "serve", _serve, "serve a data directory until interrupted")
    serve.add_argument(
        "--port", type=_port, default=30650, help="port on 127.0.0.1; 0 takes a free one (default 30650)"
    )
    serve.add_argument(
        "--json-port",
        type=_port,
        help="port on 127.0.0.1 for HTTP with JSON (default the one after --port, or a free one)",
    )
    serve.add_argument(
        "--no-auth", action="store_true", help="ask for no token: every program of this machine gets in; for tests only"
    )
    serve.add_argument(
        "--missing-image",
        choices=MISSING_IMAGE,
        default="docker",
        help="what to do with an image that no bundle was built for: have Docker run it (the default), refuse it, or"
        " use this machine's programs",
    )
    serve.add_argument(
        "--sandbox",
        choices=SANDBOX,
        default="best",
        help="what to do where this kernel does not give commands a whole sandbox: say so and give them the best there is"
        " (the default), or require one and refuse to serve",
    )
    serve.add_argument(
        "--network",
        action="store_true",
        help="give all commands a network, as pods of a cluster have one; without it only those whose spec asks",
    )
    serve.add_argument(
        "--egress",
        action="append",
        default=[],
        metavar="URL",
        help="let the egress of pipelines write beneath file:///FOLDER or, with this server's own login, beneath"
        " s3://BUCKET/PREFIX; may be given more than once",
    )
    serve.add_argument(
        "--dialect",
        choices=("2.7", "2.11"),
        help="answer everybody as this Pachyderm: since 2.11 a commit names no branch (default: as the caller's version"
        " does, where it tells one, and as 2.7)",
    )
    _command(commands, "status", _status, "say whether a server runs, where, and how its commands are kept apart")
    _command(commands, "page", _page, "print a link to the page in the browser, which logs in: it has the token")
    _command(commands, "stop", _stop, "stop the server; its jobs go on at the next start")
    _command(commands, "env", _env, "print what to export so that pachctl, python_pachyderm and pachyderm_sdk connect")
    fsck = _command(commands, "fsck", _fsck, "check all that is stored; exit status 1 where anything is wrong")
    fsck.add_argument("--read-data", action="store_true", help="read and hash every content, too")
    fsck.add_argument(
        "--repair",
        action="store_true",
        help="make the database anew of what can be read of it, and take out of commits what is lost, which is listed by"
        " path; the server must be stopped",
    )
    _command(commands, "gc", _gc, "free what no commit reaches; the server must be stopped")
    copies.add_cli(commands, DEFAULT_ROOT)
    states.add_cli(commands, DEFAULT_ROOT)
    bundles.add_cli(commands, DEFAULT_ROOT)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: object, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.add_argument(
        "--root", type=named_root, default=DEFAULT_ROOT, help=f"the data directory (default {DEFAULT_ROOT})"
    )
    command.set_defaults(run=run)
    return command


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to {MOST_PORT}")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    from localpach.api.server import Server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _give_memory_back()
    if options.no_auth:
        logging.warning("no token is asked for: every program on this machine can use this server")
    ended = _end_signals()
    root = options.root.absolute()
    server = Server(
        root,
        options.port,
        not options.no_auth,
        options.missing_image,
        options.sandbox,
        options.network,
        options.json_port,
        options.egress,
        options.dialect,
    )
    server.start()
    print(
        f"localpach serves {root} at {server.address}, and S3 at http://{server.s3_address}",
        file=sys.stderr,
        flush=True,
    )
    os.read(ended, 1)
    # Whatever holds it up: what is acknowledged is on disk, and the rest is done again at the next start.
    signal.alarm(CLOSE_SECONDS)
    server.close()
    return 0


def _end_signals() -> int:
    """A pipe that has something to read once the process shall end. An event that a handler sets is not enough: the
    system may give a signal to any thread, and one that waits for an event is not woken by another's signal."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return readable


def _give_memory_back() -> None:
    """Has the C library map big buffers singly, so that they are the system's again once they are freed, and keep few
    heaps for the many threads."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 20)
    mallopt(M_ARENA_MAX, 2)


def _status(options: argparse.Namespace) -> int:
    import grpc

    address, pid, weakness, json_address, s3_address = Directory(options.root).server()
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise Precondition(f"process {pid} on {options.root} does not answer at {address}") from error
    print(f"running at {address}, process {pid}, data in {options.root}")
    print(f"HTTP with JSON at http://{json_address}/api/")
    print(f"page to look at: http://{json_address}/ (`localpach page` prints a link that logs in)")
    print(f"S3 at http://{s3_address}")
    print(weakness or "commands run in sandboxes")
    return 0


def _page(options: argparse.Namespace) -> int:
    directory = Directory(options.root)
    print(f"http://{directory.server().json_address}/#token={directory.token()}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    directory = Directory(options.root)
    pid = directory.server().pid
    os.kill(pid, signal.SIGTERM)
    deadline = Deadline(STOP_SECONDS)
    while not deadline.is_over:
        if not directory.is_served:
            return 0
        time.sleep(0.02)
    raise Precondition(f"process {pid} on {options.root} did not end within {STOP_SECONDS:.0f} seconds")


def _env(options: argparse.Namespace) -> int:
    directory = Directory(options.root)
    context = directory.write_context(directory.server())
    # Clients would heed it before any context.
    print("unset PACHD_ADDRESS")
    print(f"export PACH_CONFIG={shlex.quote(str(context.absolute()))}")
    return 0


def _fsck(options: argparse.Namespace) -> int:
    from localpach import copies

    database = options.root / "metadata.sqlite"
    if not database.exists() and not (options.root / "objects").exists():
        raise NotFound(f"{options.root} is not a data directory of localpach")
    if options.repair:
        with Directory(options.root).locked():
            for sentence in _repair(database):
                print(sentence)
    problems = 0
    for problem in copies.problems(options.root, options.read_data):
        problems += 1
        print(problem)
    print(f"{problems} problems found" if problems else "all is well")
    return 1 if problems else 0


def _repair(database: Path) -> Iterator[str]:
    """Rebuilds the database if it is damaged, and takes what is lost out of commits; a sentence for each thing lost."""
    from localpach.storage.rebuild import rebuild
    from localpach.storage.store import Store

    try:
        store = Store(database.parent)
        is_well = not list(store.problems())
        store.close()
    except (Corrupt, sqlite3.Error) as error:
        # A disk that is full or fails says nothing of what is on it.
        if may_pass(error):
            raise
        is_well = False
    if not is_well:
        yield from rebuild(database)
    pfs, records = _parts(database.parent)
    yield from pfs.repair.run()
    yield from records.repair()


def _gc(options: argparse.Namespace) -> int:
    from localpach.states import States

    with Directory(options.root).locked():
        States(options.root).remove_leftovers()
        pfs, _ = _parts(options.root)
        print(f"freed {pfs.fsck.collect()} bytes")
    return 0


def _parts(root: Path) -> tuple[Pfs, PpsFsck]:
    """The PFS of a data directory that no server of this process serves, and its records of pipelines and jobs."""
    from localpach.pfs.service import Pfs
    from localpach.pps.fsck import PpsFsck
    from localpach.storage.store import Store

    store = Store(root)
    pfs = Pfs(store, Bulletin(store.after_commit))
    return pfs, PpsFsck(store, pfs)


if __name__ == "__main__":
    main()
