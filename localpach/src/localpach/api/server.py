"""The server: one data directory, one port on loopback."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from localpach.api.admin import AdminServicer, EnterpriseServicer, HealthServicer, LicenseServicer, VersionServicer
from localpach.api.debug import DebugServicer
from localpach.api.dispatch import Gate, register
from localpach.api.files import FilesServicer
from localpach.api.pps import PpsServicer
from localpach.api.transaction import TransactionServicer
from localpach.errors import AUTH_IS_OFF, Precondition
from localpach.names import new_id
from localpach.pfs import Pfs
from localpach.pps import Pps
from localpach.proto import (
    admin_pb2,
    auth_pb2,
    debug_pb2,
    enterprise_pb2,
    health_pb2,
    identity_pb2,
    license_pb2,
    pfs_pb2,
    pps_pb2,
    transaction_pb2,
    version_pb2,
)
from localpach.storage.store import Store

# Each waiting call (a wait, a subscription, a followed log) holds a thread.
CALL_THREADS = 640
MESSAGE_BYTES = 64 << 20
STOP_SECONDS = 2.0


class Server:
    """A running localpach on a data directory, which it holds the lock of."""

    def __init__(self, root: Path, port: int = 0, auth: bool = True, missing_image: str = "docker") -> None:
        """Raises Precondition where another server has the directory or the port."""
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = root
        self._lock = take_lock(root)
        self._store = Store(root)
        self._pfs = Pfs(self._store)
        self._pps = Pps(self._store, self._pfs, root, missing_image)
        self._grpc = grpc.server(
            ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="call"),
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                # Without a limit the next 20 MiB of a stream are read ahead of who takes them.
                ("grpc.http2.bdp_probe", 0),
            ],
        )
        self._register(Gate(_token(root) if auth else None))
        try:
            self.port = self._grpc.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError as error:
            raise Precondition(f"port {port} of 127.0.0.1 is taken; choose another with --port") from error

    def _register(self, gate: Gate) -> None:
        pfs, pps = FilesServicer(self._pfs), PpsServicer(self._pps)
        transactions = TransactionServicer(self._store, [pfs, pps])
        for service, servicer in (
            (_service(pfs_pb2), pfs),
            (_service(pps_pb2), pps),
            (_service(transaction_pb2), transactions),
            (_service(admin_pb2), AdminServicer(_identity(self._root))),
            (_service(version_pb2), VersionServicer()),
            (_service(health_pb2), HealthServicer()),
            (_service(enterprise_pb2), EnterpriseServicer()),
            (_service(license_pb2), LicenseServicer()),
            (_service(debug_pb2), DebugServicer(self._pfs, self._pps)),
        ):
            staging = transactions.stage if servicer in (pfs, pps) else None
            register(self._grpc, service, servicer, gate, staging)
        for module in (auth_pb2, identity_pb2):
            register(self._grpc, _service(module), object(), gate, missing=AUTH_IS_OFF)

    def start(self) -> None:
        """Serves, works on jobs, and tells clients of this machine where it is."""
        self._pfs.start()
        self._pps.start()
        self._grpc.start()
        address = self._root / "address"
        fresh = address.with_suffix(".new")
        fresh.write_text(json.dumps({"address": f"127.0.0.1:{self.port}", "pid": os.getpid()}))
        fresh.replace(address)

    def close(self) -> None:
        """Ends all calls and jobs; jobs are taken up again at the next start."""
        (self._root / "address").unlink(missing_ok=True)
        self._grpc.stop(STOP_SECONDS).wait()
        self._pps.close()
        self._pfs.close()
        self._store.close()
        os.close(self._lock)


def _service(module: object) -> ServiceDescriptor:
    """The one service of a generated module."""
    services = module.DESCRIPTOR.services_by_name  # type: ignore[attr-defined]
    return next(iter(services.values()))


def take_lock(root: Path) -> int:
    """Holds the data directory for one process.

    Raises:
        Precondition: another one has it.
    """
    handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise Precondition(f"another localpach serves {root}; attach to it, or choose another --root") from error
    # What a killed server has left.
    (root / "address").unlink(missing_ok=True)
    return handle


def _token(root: Path) -> str:
    """The data directory's token, made at the first start."""
    file = root / "token"
    if not file.exists():
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(32))
    return file.read_text().strip()


def _identity(root: Path) -> str:
    """The data directory's cluster id."""
    file = root / "cluster-id"
    if not file.exists():
        file.write_text(new_id())
    return file.read_text()


def announce(server: Server, root: Path) -> None:
    """Prints where a started server is."""
    print(f"localpach serves {root} at 127.0.0.1:{server.port}", file=sys.stderr, flush=True)
