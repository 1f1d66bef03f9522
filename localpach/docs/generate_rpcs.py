"""Writes `docs/rpcs.md`: every RPC in Pachyderm's protos, how localpach answers it, and what tests that."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.conformance.replay import records  # noqa: E402

from localpach.api.admin import (  # noqa: E402
    AdminServicer,
    EnterpriseServicer,
    HealthServicer,
    LicenseServicer,
    VersionServicer,
)
from localpach.api.debug import DebugServicer  # noqa: E402
from localpach.api.files import FilesServicer  # noqa: E402
from localpach.api.filesets import FilesetServicer  # noqa: E402
from localpach.api.graph import GraphServicer  # noqa: E402
from localpach.api.jobs import JobsServicer  # noqa: E402
from localpach.api.logs import LogsServicer  # noqa: E402
from localpach.api.metadata import MetadataServicer  # noqa: E402
from localpach.api.overview import OverviewServicer  # noqa: E402
from localpach.api.pfs import PfsServicer  # noqa: E402
from localpach.api.pps import PpsServicer  # noqa: E402
from localpach.api.snapshots import SnapshotServicer  # noqa: E402
from localpach.api.specs import SpecsServicer  # noqa: E402
from localpach.api.transaction import TransactionServicer  # noqa: E402
from localpach.api.versions import SINCE  # noqa: E402
from localpach.proto import (  # noqa: E402
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

SERVICES: list[tuple[ModuleType, tuple[type, ...]]] = [
    (pfs_pb2, (PfsServicer, FilesServicer, GraphServicer, OverviewServicer)),
    (pps_pb2, (PpsServicer, SpecsServicer, JobsServicer, OverviewServicer)),
    (transaction_pb2, (TransactionServicer,)),
    (admin_pb2, (AdminServicer,)),
    (version_pb2, (VersionServicer,)),
    (health_pb2, (HealthServicer,)),
    (enterprise_pb2, (EnterpriseServicer,)),
    (debug_pb2, (DebugServicer,)),
    (license_pb2, (LicenseServicer,)),
    (auth_pb2, ()),
    (identity_pb2, ()),
    (metadata_pb2, (MetadataServicer,)),
    (logs_pb2, (LogsServicer,)),
    (storage_pb2, (FilesetServicer,)),
    (snapshot_pb2, (SnapshotServicer,)),
]
# Answered as Pachyderm 2.7.6 itself does.
REFUSED = {"pps_v2.API/RunPipeline": "UNKNOWN, as in Pachyderm 2.7.6"}
HEAD = """# RPCs

Every RPC in the protos of Pachyderm 2.7 to 2.12 and how localpach answers it. Made by `python docs/generate_rpcs.py`; a test
fails when it is out of date. *Recording*: `tests/conformance` asks it as it was asked of a real Pachyderm 2.7.6.

| RPC | since | localpach | tested by |
| --- | --- | --- | --- |
"""


def rows() -> Iterator[str]:
    """The table's lines."""
    recorded = {record["rpc"] for record in records()}
    texts = {path: path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py"))}
    services = [
        (service, servicers)
        for module, servicers in SERVICES
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
    methods = [method.name for service, _ in services for method in service.methods]
    for service, servicers in services:
        for method in service.methods:
            rpc = f"{service.full_name}/{method.name}"
            is_served = any(hasattr(servicer, method.name) for servicer in servicers)
            answer = REFUSED.get(rpc, "implemented" if is_served else "UNIMPLEMENTED with a sentence")
            # A name that several services have says little without that of the service.
            if methods.count(method.name) == 1:
                short = re.sub("(?<!^)(?=[A-Z])", "_", method.name).lower()
                called = re.compile(rf"\.({short}\(|{method.name}\b)")
            else:
                called = re.compile(rf"\.{service.full_name.split('_')[0]}\.{method.name}\b")
            tests = ["recording"] if rpc in recorded else []
            tests += [
                f"`{path.relative_to(ROOT)}`" for path, text in texts.items() if is_served and called.search(text)
            ]
            yield f"| `{rpc}` | {SINCE.get(rpc, '2.7')} | {answer} | {', '.join(tests[:3]) or '–'} |"


def table() -> str:
    """The whole page."""
    return HEAD + "\n".join(rows()) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "rpcs.md").write_text(table())
