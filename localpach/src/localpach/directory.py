"""A data directory: who serves it, where, and what lets clients in."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from localpach.disk import write_atomically
from localpach.errors import Corrupt, NotFound, Precondition
from localpach.names import new_id
from localpach.waiting import Deadline


def named_root(text: str) -> Path:
    """The data directory that an option names. As a path an empty one would be the folder where one happens to be."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no folder; name one, or leave the option out")
    return Path(text)


# How long it takes at most to look whether a directory is served.
LOOK_SECONDS = 0.5


class Address(NamedTuple):
    """Where a server listens, as `host:port`, by gRPC, by HTTP with JSON and by S3, its process, and what is missing of its sandbox."""

    address: str
    pid: int
    weakness: str = ""
    json_address: str = ""
    s3_address: str = ""


class Directory:
    """The files beside the store of one data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._address = root / "address"
        self._lock = root / "lock"
        self._token = root / "token"

    def create(self) -> None:
        """Makes the folder, if need be; nobody else may read it, for secrets are in there."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)

    def lock(self) -> int:
        """Holds the directory for this process until the descriptor is closed.

        Raises:
            Precondition: another process has it.
        """
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Who looks whether somebody has it holds it for a moment.
        deadline = Deadline(LOOK_SECONDS)
        while not _try_lock(handle):
            if deadline.is_over:
                os.close(handle)
                raise Precondition(f"another localpach serves {self.root}; attach to it, or choose another --root")
            time.sleep(0.01)
        try:
            # What a killed server has left.
            self._address.unlink(missing_ok=True)
        except OSError:
            os.close(handle)
            raise
        return handle

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory until the end of the block; see `lock`."""
        handle = self.lock()
        try:
            yield
        finally:
            os.close(handle)

    def publish(self, address: Address) -> None:
        """Tells clients of this machine where the server is."""
        write_atomically(self._address, json.dumps(address._asdict()))

    def withdraw(self) -> None:
        self._address.unlink(missing_ok=True)

    @property
    def is_served(self) -> bool:
        """Whether a process has the directory: its lock tells, for that ends with the process."""
        try:
            with self._lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def server(self) -> Address:
        """The server that runs on the directory.

        Raises:
            NotFound: none does.
            Corrupt: the file that says where it is is damaged.
        """
        if self.is_served and self._address.exists():
            try:
                return Address(**json.loads(self._address.read_text()))
            except (ValueError, TypeError, RecursionError) as error:
                raise Corrupt(f"{self._address} is damaged; end the server's process, and start it again") from error
        raise NotFound(f"no localpach serves {self.root}; start one with `localpach serve --root {self.root}`")

    def make_token(self) -> str:
        """The token that clients need, made at the first start."""
        if not self._token.exists():
            write_atomically(self._token, secrets.token_hex(32))
        return self.token()

    def token(self) -> str:
        """The token; empty where there is none."""
        return self._token.read_text().strip() if self._token.exists() else ""

    def cluster_id(self) -> str:
        """What Pachyderm's clients know a cluster by, made at the first start."""
        file = self.root / "cluster-id"
        if not file.exists():
            write_atomically(file, new_id())
        return file.read_text()

    def write_context(self, address: Address) -> Path:
        """A configuration of pachctl that leads to the server; gives its path."""
        config = self.root / "pachctl.json"
        context = {"pachd_address": f"grpc://{address.address}", "session_token": self.token()}
        body = {"v2": {"active_context": "localpach", "contexts": {"localpach": context}}}
        write_atomically(config, json.dumps(body, indent=2))
        return config


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
