"""The server: one data directory, one port on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from localpach.api.admin import AdminServicer, EnterpriseServicer, HealthServicer, LicenseServicer, VersionServicer
from localpach.api.bodies import Bodies
from localpach.api.debug import DebugServicer
from localpach.api.dialect import Dialect
from localpach.api.dispatch import Unknown, register
from localpach.api.files import FilesServicer
from localpach.api.filesets import FilesetServicer
from localpach.api.gate import Gate
from localpach.api.gateway import Gateway
from localpach.api.graph import GraphServicer
from localpach.api.jobs import JobsServicer
from localpach.api.logs import LogsServicer
from localpach.api.metadata import MetadataServicer
from localpach.api.overview import OverviewServicer
from localpach.api.pfs import PfsServicer
from localpach.api.pps import PpsServicer
from localpach.api.s3.buckets import Buckets
from localpach.api.s3.job import remove_leftovers
from localpach.api.s3.server import S3Server
from localpach.api.served import served
from localpach.api.snapshots import SnapshotServicer
from localpach.api.specs import SpecsServicer
from localpach.api.transaction import TransactionServicer
from localpach.directory import Address, Directory
from localpach.egress.places import allowed_place
from localpach.errors import AUTH_IS_OFF, Precondition
from localpach.pfs.service import Pfs
from localpach.pps.service import Pps
from localpach.proto import (
    admin_pb2,
    auth_pb2,
    debug_pb2,
    enterprise_pb2,
    health_pb2,
    identity_pb2,
    license_pb2,
    logs_pb2,
    metadata_pb2,
    pfs_pb2,
    pps_pb2,
    snapshot_pb2,
    storage_pb2,
    transaction_pb2,
    version_pb2,
)
from localpach.runtime.choice import Runtimes
from localpach.states import States
from localpach.storage.store import Store
from localpach.waiting import Bulletin

T = TypeVar("T")

# Each waiting call (a wait, a subscription, a followed log) holds a thread; more calls at once are refused.
CALL_THREADS = 640
MESSAGE_BYTES = 64 << 20
STOP_SECONDS = 2.0
SERVED = (
    *(pfs_pb2, pps_pb2, transaction_pb2, admin_pb2, metadata_pb2, logs_pb2, storage_pb2, version_pb2, health_pb2),
    *(enterprise_pb2, license_pb2, debug_pb2, auth_pb2, identity_pb2, snapshot_pb2),
)


class Server:
    """A running localpach on a data directory, which it holds the lock of."""

    def __init__(
        self,
        root: Path,
        port: int = 0,
        auth: bool = True,
        missing_image: str = "docker",
        sandbox: str = "best",
        network: bool = False,
        json_port: int | None = None,
        egress: Sequence[str] = (),
        dialect: str | None = None,
    ) -> None:
        """Serves JSON on the port after `port`, unless `json_port` names one, and S3 on the one after that, or on free ones
        where these are taken. Beneath the URLs of `egress` pipelines' output may be written with the server's own rights.
        Everybody is answered in a `dialect`, by default in the caller's.

        Raises Refused where such a URL names no place; Precondition where its folder is missing, another server has the
        directory or a port, or a sandbox that is required can't be had; Corrupt where the database is damaged."""
        allowed = [allowed_place(url) for url in egress]
        self._directory = Directory(root)
        self._directory.create()
        self._lock = self._directory.lock()
        try:
            self._store = Store(root)
        except BaseException:
            os.close(self._lock)
            raise
        bulletin = Bulletin(self._store.after_commit)
        self._pfs = Pfs(self._store, bulletin)
        runtimes = Runtimes(root, missing_image, sandbox, network)
        self.weakness = runtimes.weakness
        self._bodies = Bodies()
        self._pps = Pps(self._store, bulletin, self._pfs, runtimes, served(self._pfs, self._bodies), allowed)
        token = self._directory.make_token() if auth else None
        self._grpc = grpc.server(
            ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="call"),
            interceptors=[*([Gate(token)] if token else []), Dialect(dialect)],
            maximum_concurrent_rpcs=CALL_THREADS,
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                # Without a limit the next 20 MiB of a stream are read ahead of who takes them.
                ("grpc.http2.bdp_probe", 0),
            ],
        )
        self._register()
        try:
            self.address = f"127.0.0.1:{self._grpc.add_insecure_port(f'127.0.0.1:{port}')}"
        except RuntimeError as error:
            raise Precondition(f"port {port} of 127.0.0.1 is taken; choose another with --port") from error
        make = partial(Gateway, self.address, token, list(map(_service, SERVED)), MESSAGE_BYTES)
        self._gateway = make(json_port) if json_port is not None else _beside(make, port and port + 1)
        self._s3 = _beside(partial(S3Server, self._pfs, Buckets(self._pfs), token), port and port + 2)
        self.s3_address = self._s3.address

    def _register(self) -> None:
        overview = OverviewServicer(self._pfs, self._pps)
        files = FilesServicer(self._pfs)
        pfs = [PfsServicer(self._pfs), files, GraphServicer(self._pfs), overview]
        pps = [PpsServicer(self._pps), SpecsServicer(self._pps), JobsServicer(self._pfs, self._pps), overview]
        transactions = TransactionServicer(self._store, [*pfs, *pps])
        for module, servicers in ((pfs_pb2, pfs), (pps_pb2, pps)):
            register(self._grpc, _service(module), servicers, self._bodies, transactions.stage)
        metadata = MetadataServicer(self._store, self._pfs, self._pps)
        for module, servicer in (
            (transaction_pb2, transactions),
            (admin_pb2, AdminServicer(self._directory.cluster_id(), metadata.of_cluster)),
            (metadata_pb2, metadata),
            (logs_pb2, LogsServicer(self._pps)),
            (snapshot_pb2, SnapshotServicer(self._directory.root)),
            (storage_pb2, FilesetServicer(self._pfs, files)),
            (version_pb2, VersionServicer()),
            (health_pb2, HealthServicer()),
            (enterprise_pb2, EnterpriseServicer()),
            (license_pb2, LicenseServicer()),
            (debug_pb2, DebugServicer(self._pfs, self._pps)),
        ):
            register(self._grpc, _service(module), [servicer], self._bodies)
        for module in (auth_pb2, identity_pb2):
            register(self._grpc, _service(module), [], self._bodies, missing=AUTH_IS_OFF)
        self._grpc.add_generic_rpc_handlers((Unknown(),))

    def start(self) -> None:
        """Serves, works on jobs, and tells clients of this machine where it is."""
        self._pfs.objects.remove_leftovers()
        States(self._directory.root).remove_leftovers()
        remove_leftovers(self._pfs)
        self._pfs.finisher.start()
        self._pps.start()
        self._bodies.start()
        self._grpc.start()
        self._gateway.start()
        self._s3.start()
        self._directory.publish(
            Address(self.address, os.getpid(), self.weakness, self._gateway.address, self.s3_address)
        )

    def close(self) -> None:
        """Ends all calls and jobs; jobs are taken up again at the next start."""
        self._directory.withdraw()
        self._gateway.close()
        self._s3.close()
        self._grpc.stop(STOP_SECONDS).wait()
        self._bodies.close()
        self._pps.close()
        self._pfs.finisher.close()
        self._store.close()
        os.close(self._lock)


def _beside(make: Callable[[int], T], port: int) -> T:
    """What serves a port beside that of gRPC, or a free one where it is taken."""
    try:
        return make(port)
    except Precondition:
        return make(0)


def _service(module: ModuleType) -> ServiceDescriptor:
    """The one service of a generated module."""
    services: dict[str, ServiceDescriptor] = module.DESCRIPTOR.services_by_name
    return next(iter(services.values()))
