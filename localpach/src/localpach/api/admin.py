"""The small services: admin, version, health, and licence and state of a server without enterprise features."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from typing import ClassVar

from google.protobuf.empty_pb2 import Empty

from localpach import VERSION
from localpach.proto import admin_pb2, enterprise_pb2, health_pb2, license_pb2, version_pb2
from localpach.waiting import Call

OLD_CLIENT = (
    "WARNING: The client used to connect to Pachyderm did not send its version, which means that it is likely too old. "
    " Please upgrade it."
)
NO_ENTERPRISE = "there are no enterprise features here to activate or to pause; a Pachyderm cluster has them"


class AdminServicer:
    """admin_v2.API. The cluster id is the data directory's; `metadata` gives what clients have noted of it."""

    refusals: ClassVar = {
        "RestartPachyderm": "there are no pods here to start again; `localpach stop` and `localpach serve` start the server anew"
    }

    def __init__(self, cluster_id: str, metadata: Callable[[], dict[str, str]]) -> None:
        self._cluster_id = cluster_id
        self._metadata = metadata

    def InspectCluster(self, request: admin_pb2.InspectClusterRequest, context: Call) -> admin_pb2.ClusterInfo:
        warnings = [] if request.HasField("client_version") else [OLD_CLIENT]
        return admin_pb2.ClusterInfo(
            id=self._cluster_id,
            deployment_id="localpach",
            version_warnings_ok=True,
            version_warnings=warnings,
            metadata=self._metadata(),
        )


class VersionServicer:
    """versionpb_v2.API."""

    def GetVersion(self, request: Empty, context: Call) -> version_pb2.Version:
        major, minor, micro = VERSION
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return version_pb2.Version(major=major, minor=minor, micro=micro, platform=machine)


class HealthServicer:
    """grpc.health.v1.Health."""

    def Check(self, request: health_pb2.HealthCheckRequest, context: Call) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def Watch(self, request: health_pb2.HealthCheckRequest, context: Call) -> Iterator[health_pb2.HealthCheckResponse]:
        yield self.Check(request, context)


class LicenseServicer:
    """license_v2.API of a server that has no licence and knows no other clusters."""

    refusals: ClassVar = dict.fromkeys(("Activate", "AddCluster", "UpdateCluster", "Heartbeat"), NO_ENTERPRISE)

    def GetActivationCode(
        self, request: license_pb2.GetActivationCodeRequest, context: Call
    ) -> license_pb2.GetActivationCodeResponse:
        return license_pb2.GetActivationCodeResponse(state=enterprise_pb2.NONE)

    def DeleteAll(self, request: license_pb2.DeleteAllRequest, context: Call) -> license_pb2.DeleteAllResponse:
        return license_pb2.DeleteAllResponse()

    def DeleteCluster(
        self, request: license_pb2.DeleteClusterRequest, context: Call
    ) -> license_pb2.DeleteClusterResponse:
        return license_pb2.DeleteClusterResponse()

    def ListClusters(self, request: license_pb2.ListClustersRequest, context: Call) -> license_pb2.ListClustersResponse:
        return license_pb2.ListClustersResponse()

    def ListUserClusters(
        self, request: license_pb2.ListUserClustersRequest, context: Call
    ) -> license_pb2.ListUserClustersResponse:
        return license_pb2.ListUserClustersResponse()


class EnterpriseServicer:
    """enterprise_v2.API, as it answers when no licence was ever given."""

    refusals: ClassVar = dict.fromkeys(("Activate", "Heartbeat", "Pause", "Unpause"), NO_ENTERPRISE)

    def GetState(self, request: enterprise_pb2.GetStateRequest, context: Call) -> enterprise_pb2.GetStateResponse:
        return enterprise_pb2.GetStateResponse(state=enterprise_pb2.NONE)

    def GetActivationCode(
        self, request: enterprise_pb2.GetActivationCodeRequest, context: Call
    ) -> enterprise_pb2.GetActivationCodeResponse:
        return enterprise_pb2.GetActivationCodeResponse(state=enterprise_pb2.NONE)

    def Deactivate(self, request: enterprise_pb2.DeactivateRequest, context: Call) -> enterprise_pb2.DeactivateResponse:
        return enterprise_pb2.DeactivateResponse()

    def PauseStatus(
        self, request: enterprise_pb2.PauseStatusRequest, context: Call
    ) -> enterprise_pb2.PauseStatusResponse:
        return enterprise_pb2.PauseStatusResponse(status=enterprise_pb2.PauseStatusResponse.UNPAUSED)
