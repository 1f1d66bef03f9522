"""The small services: admin, version, health, and licence and state of a server without enterprise features."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import ClassVar

from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2
from python_pachyderm.service import admin_proto, enterprise_proto, license_proto, version_proto

from localpach import VERSION
from localpach.storage.store import CallContext

OLD_CLIENT = (
    "WARNING: The client used to connect to Pachyderm did not send its version, which means that it is likely too old. "
    " Please upgrade it."
)
NO_ENTERPRISE = "there are no enterprise features here to activate or to pause; a Pachyderm cluster has them"


class AdminServicer:
    """admin_v2.API. The cluster id is the data directory's."""

    def __init__(self, cluster_id: str) -> None:
        self._cluster_id = cluster_id

    def InspectCluster(
        self, request: admin_proto.InspectClusterRequest, context: CallContext
    ) -> admin_proto.ClusterInfo:
        warnings = [] if request.HasField("client_version") else [OLD_CLIENT]
        return admin_proto.ClusterInfo(
            id=self._cluster_id, deployment_id="localpach", version_warnings_ok=True, version_warnings=warnings
        )


class VersionServicer:
    """versionpb_v2.API."""

    def GetVersion(self, request: Empty, context: CallContext) -> version_proto.Version:
        major, minor, micro = VERSION
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return version_proto.Version(major=major, minor=minor, micro=micro, platform=machine)


class HealthServicer:
    """grpc.health.v1.Health."""

    def Check(self, request: health_pb2.HealthCheckRequest, context: CallContext) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def Watch(
        self, request: health_pb2.HealthCheckRequest, context: CallContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        yield self.Check(request, context)


class LicenseServicer:
    """license_v2.API of a server that has no licence and knows no other clusters."""

    refusals: ClassVar = dict.fromkeys(("Activate", "AddCluster", "UpdateCluster", "Heartbeat"), NO_ENTERPRISE)

    def GetActivationCode(
        self, request: license_proto.GetActivationCodeRequest, context: CallContext
    ) -> license_proto.GetActivationCodeResponse:
        return license_proto.GetActivationCodeResponse(state=enterprise_proto.NONE)

    def DeleteAll(
        self, request: license_proto.DeleteAllRequest, context: CallContext
    ) -> license_proto.DeleteAllResponse:
        return license_proto.DeleteAllResponse()

    def DeleteCluster(
        self, request: license_proto.DeleteClusterRequest, context: CallContext
    ) -> license_proto.DeleteClusterResponse:
        return license_proto.DeleteClusterResponse()

    def ListClusters(
        self, request: license_proto.ListClustersRequest, context: CallContext
    ) -> license_proto.ListClustersResponse:
        return license_proto.ListClustersResponse()

    def ListUserClusters(
        self, request: license_proto.ListUserClustersRequest, context: CallContext
    ) -> license_proto.ListUserClustersResponse:
        return license_proto.ListUserClustersResponse()


class EnterpriseServicer:
    """enterprise_v2.API, as it answers when no licence was ever given."""

    refusals: ClassVar = dict.fromkeys(("Activate", "Heartbeat", "Pause", "Unpause"), NO_ENTERPRISE)

    def GetState(
        self, request: enterprise_proto.GetStateRequest, context: CallContext
    ) -> enterprise_proto.GetStateResponse:
        return enterprise_proto.GetStateResponse(state=enterprise_proto.NONE)

    def GetActivationCode(
        self, request: enterprise_proto.GetActivationCodeRequest, context: CallContext
    ) -> enterprise_proto.GetActivationCodeResponse:
        return enterprise_proto.GetActivationCodeResponse(state=enterprise_proto.NONE)

    def Deactivate(
        self, request: enterprise_proto.DeactivateRequest, context: CallContext
    ) -> enterprise_proto.DeactivateResponse:
        return enterprise_proto.DeactivateResponse()

    def PauseStatus(
        self, request: enterprise_proto.PauseStatusRequest, context: CallContext
    ) -> enterprise_proto.PauseStatusResponse:
        return enterprise_proto.PauseStatusResponse(status=enterprise_proto.PauseStatusResponse.UNPAUSED)
