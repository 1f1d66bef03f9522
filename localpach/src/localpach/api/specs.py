"""pps_v2.API, the part about specs and their defaults."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from localpach.api.times import check_times
from localpach.messages import timestamp
from localpach.names import DEFAULT_PROJECT
from localpach.pps.defaults import Spec
from localpach.pps.records import PipelineName
from localpach.pps.service import Pps
from localpach.proto import pps_pb2
from localpach.waiting import Call


class SpecsServicer:
    """Translates requests into calls of `Pps`."""

    def __init__(self, pps: Pps) -> None:
        self._pps = pps

    def CreatePipeline(self, request: pps_pb2.CreatePipelineRequest, context: Call) -> Empty:
        # 2.7.6 has the field for a dry run, too, and does not heed it.
        spec = self._pps.defaults.of_request(request)
        # A client of 2.7 finds no user's spec in what it has made; nothing but defaults makes one worth keeping.
        self._create(spec if self._pps.defaults.are_set() else spec._replace(user=""))
        return Empty()

    def CreatePipelineV2(
        self, request: pps_pb2.CreatePipelineV2Request, context: Call
    ) -> pps_pb2.CreatePipelineV2Response:
        spec = self._pps.defaults.spec(request.create_pipeline_request_json)
        check_times(spec.request)
        spec.request.update |= request.update
        spec.request.reprocess |= request.reprocess
        if request.dry_run or spec.request.dry_run:
            self._pps.lifecycle.check(spec.request)
        else:
            self._create(spec)
        return pps_pb2.CreatePipelineV2Response(effective_create_pipeline_request_json=spec.effective)

    def _create(self, spec: Spec) -> None:
        self._pps.lifecycle.create(spec.request, spec.user, spec.effective)

    def RerunPipeline(self, request: pps_pb2.RerunPipelineRequest, context: Call) -> Empty:
        self._pps.regeneration.rerun(PipelineName.of(request.pipeline), request.reprocess)
        return Empty()

    def GetClusterDefaults(
        self, request: pps_pb2.GetClusterDefaultsRequest, context: Call
    ) -> pps_pb2.GetClusterDefaultsResponse:
        return pps_pb2.GetClusterDefaultsResponse(cluster_defaults_json=self._pps.defaults.get(None).json)

    def SetClusterDefaults(
        self, request: pps_pb2.SetClusterDefaultsRequest, context: Call
    ) -> pps_pb2.SetClusterDefaultsResponse:
        affected = self._pps.regeneration.set_defaults(
            None, request.cluster_defaults_json, request.regenerate, request.reprocess, request.dry_run
        )
        return pps_pb2.SetClusterDefaultsResponse(affected_pipelines=[name.to_proto() for name in affected])

    def GetProjectDefaults(
        self, request: pps_pb2.GetProjectDefaultsRequest, context: Call
    ) -> pps_pb2.GetProjectDefaultsResponse:
        kept = self._pps.defaults.get(request.project.name or DEFAULT_PROJECT)
        created = timestamp(kept.created) if kept.created else None
        return pps_pb2.GetProjectDefaultsResponse(project_defaults_json=kept.json, created_at=created)

    def SetProjectDefaults(
        self, request: pps_pb2.SetProjectDefaultsRequest, context: Call
    ) -> pps_pb2.SetProjectDefaultsResponse:
        project = request.project.name or DEFAULT_PROJECT
        affected = self._pps.regeneration.set_defaults(
            project, request.project_defaults_json, request.regenerate, request.reprocess, request.dry_run
        )
        return pps_pb2.SetProjectDefaultsResponse(affected_pipelines=[name.to_proto() for name in affected])
