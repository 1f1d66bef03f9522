"""Writes `docs/rpcs.md`: every RPC in Pachyderm's protos, how localpach answers it, and what tests that."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from python_pachyderm.proto.v2.admin import admin_pb2
from python_pachyderm.proto.v2.auth import auth_pb2
from python_pachyderm.proto.v2.debug import debug_pb2
from python_pachyderm.proto.v2.enterprise import enterprise_pb2
from python_pachyderm.proto.v2.identity import identity_pb2
from python_pachyderm.proto.v2.license import license_pb2
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2
from python_pachyderm.proto.v2.transaction import transaction_pb2
from python_pachyderm.proto.v2.version.versionpb import version_pb2

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from localpach.api.admin import AdminServicer, EnterpriseServicer, LicenseServicer, VersionServicer  # noqa: E402
from localpach.api.debug import DebugServicer  # noqa: E402
from localpach.api.files import FilesServicer  # noqa: E402
from localpach.api.pps import PpsServicer  # noqa: E402
from localpach.api.transaction import TransactionServicer  # noqa: E402
from tests.conformance.replay import records  # noqa: E402

SERVICES: list[tuple[object, type]] = [
    (pfs_pb2, FilesServicer),
    (pps_pb2, PpsServicer),
    (transaction_pb2, TransactionServicer),
    (admin_pb2, AdminServicer),
    (version_pb2, VersionServicer),
    (enterprise_pb2, EnterpriseServicer),
    (debug_pb2, DebugServicer),
    (auth_pb2, object),
    (identity_pb2, object),
    (license_pb2, LicenseServicer),
]
# Answered as Pachyderm 2.7.6 itself does.
REFUSED = {"pps_v2.API/RunPipeline": "UNKNOWN, as in Pachyderm 2.7.6"}
HEAD = """# RPCs

Every RPC in the protos of Pachyderm 2.7 and how localpach answers it. Made by `python docs/generate_rpcs.py`; a test
fails when it is out of date. *Recording*: `tests/conformance` asks it as it was asked of a real Pachyderm 2.7.6.

| RPC | localpach | tested by |
| --- | --- | --- |
"""


def rows() -> Iterator[str]:
    """The table's lines."""
    recorded = {record["rpc"] for record in records()}
    texts = {
        path: path.read_text()
        for folder in ("faults", "localpach")
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))
    }
    methods = [m.name for module, _ in SERVICES for s in module.DESCRIPTOR.services_by_name.values() for m in s.methods]  # type: ignore[attr-defined]
    for module, servicer in SERVICES:
        for service in module.DESCRIPTOR.services_by_name.values():  # type: ignore[attr-defined]
            for method in service.methods:
                rpc = f"{service.full_name}/{method.name}"
                done = hasattr(servicer, method.name)
                answer = REFUSED.get(rpc, "implemented" if done else "UNIMPLEMENTED with a sentence")
                snake = re.sub("(?<!^)(?=[A-Z])", "_", method.name).lower()
                called = re.compile(rf"\.({snake}|{method.name})\b")
                # A name that several services have says little where this one's stub is not used.
                stub = "" if methods.count(method.name) == 1 else f"{service.full_name.partition('_')[0]}_grpc"
                tests = ["recording"] if rpc in recorded else []
                tests += [
                    f"`{path.relative_to(ROOT)}`"
                    for path, text in texts.items()
                    if done and called.search(text) and stub in text
                ]
                yield f"| `{rpc}` | {answer} | {', '.join(tests[:3]) or '–'} |"


def table() -> str:
    """The whole page."""
    return HEAD + "\n".join(rows()) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "rpcs.md").write_text(table())
