"""The parts of pfs_v2.API and pps_v2.API that tell how projects and pipelines are doing: since Pachyderm 2.9 and 2.10."""

from __future__ import annotations

from collections.abc import Iterator

from localpach.api.infos import project_info
from localpach.api.pickers import project_of
from localpach.names import DEFAULT_PROJECT, USER
from localpach.pfs.service import Pfs
from localpach.pps.records import PipelineRecord
from localpach.pps.service import Pps
from localpach.proto import pfs_pb2, pps_pb2
from localpach.waiting import Call

UNHEALTHY = (pps_pb2.PIPELINE_FAILURE, pps_pb2.PIPELINE_CRASHING, pps_pb2.PIPELINE_RESTARTING)
FAILED = (pps_pb2.JOB_FAILURE, pps_pb2.JOB_KILLED, pps_pb2.JOB_UNRUNNABLE)


class OverviewServicer:
    """Translates requests into calls of `Pfs` and `Pps`."""

    def __init__(self, pfs: Pfs, pps: Pps) -> None:
        self._pfs = pfs
        self._pps = pps

    def InspectProjectV2(
        self, request: pfs_pb2.InspectProjectV2Request, context: Call
    ) -> pfs_pb2.InspectProjectV2Response:
        name = request.project.name or DEFAULT_PROJECT
        info = project_info(self._pfs.repos.project(name))
        return pfs_pb2.InspectProjectV2Response(info=info, defaults_json=self._pps.defaults.get(name).json)

    def ReposSummary(self, request: pfs_pb2.ReposSummaryRequest, context: Call) -> pfs_pb2.ReposSummaryResponse:
        answer = pfs_pb2.ReposSummaryResponse()
        for project in self._projects(request):
            repos = self._pfs.repos.all(USER, [project])
            size = sum(each.size for each in repos)
            summary = answer.summaries.add(user_repo_count=len(repos), size_bytes=size)
            summary.project.name = project
        return answer

    def PipelinesSummary(
        self, request: pps_pb2.PipelinesSummaryRequest, context: Call
    ) -> pps_pb2.PipelinesSummaryResponse:
        answer = pps_pb2.PipelinesSummaryResponse()
        for project in self._projects(request):
            summary = answer.summaries.add()
            summary.project.name = project
            for record in self._pps.pipelines.all():
                if record.name.project == project:
                    summary.paused_pipelines += record.stopped
                    summary.active_pipelines += not record.stopped
                    summary.unhealthy_pipelines += record.state in UNHEALTHY
                    summary.failed_pipelines += self._pps.jobs.newest_state(record.num) in FAILED
        return answer

    def _projects(self, request: pfs_pb2.ReposSummaryRequest | pps_pb2.PipelinesSummaryRequest) -> list[str]:
        """The projects that a request names, or all."""
        known = [project.name for project in self._pfs.repos.projects()]
        return [self._pfs.repos.project(project_of(picker)).name for picker in request.projects] or known

    def CheckStatus(self, request: pps_pb2.CheckStatusRequest, context: Call) -> Iterator[pps_pb2.CheckStatusResponse]:
        """The pipelines that something is wrong with."""
        for record in self._pps.pipelines.all():
            alerts = self._alerts(record)
            if alerts and (request.all or record.name.project == (request.project.name or DEFAULT_PROJECT)):
                name = record.name.to_proto()
                yield pps_pb2.CheckStatusResponse(project=name.project, pipeline=name, alerts=alerts)

    def _alerts(self, record: PipelineRecord) -> list[str]:
        alerts = []
        if record.state in UNHEALTHY:
            state = pps_pb2.PipelineState.Name(record.state)
            alerts.append(f"the pipeline is in state {state}: {record.reason or 'no reason was given'}")
        job = self._pps.jobs.newest_state(record.num)
        if job in FAILED:
            alerts.append(f"its newest job ended with {pps_pb2.JobState.Name(job)}")
        return alerts
