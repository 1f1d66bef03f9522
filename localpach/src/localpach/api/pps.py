"""pps_v2.API, the part about pipelines and secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar, NoReturn

from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from localpach.api.infos import pipeline_info, secret_info
from localpach.api.pfs import paged
from localpach.api.programs import jq_filter, render
from localpach.errors import AUTH_IS_OFF, NotFound, Refused, Unimplemented
from localpach.pps.records import PipelineName
from localpach.pps.service import Pps
from localpach.proto import pps_pb2
from localpach.waiting import Call


class PpsServicer:
    """Translates requests into calls of `Pps`."""

    refusals: ClassVar = {
        "UpdateJobState": "jobs change their state themselves here, there are no workers to tell it; StopJob ends one",
        "GetKubeEvents": "there is no Kubernetes here that could have events; GetLogs has what jobs say",
        "QueryLoki": "there is no Loki here; GetLogs has the logs of pipelines, jobs and datums",
    }

    def __init__(self, pps: Pps) -> None:
        self._pps = pps

    def InspectPipeline(self, request: pps_pb2.InspectPipelineRequest, context: Call) -> pps_pb2.PipelineInfo:
        """A pipeline; `name^` is its version before the newest."""
        asked = PipelineName.of(request.pipeline)
        name = asked._replace(name=asked.name.rstrip("^"))
        record = self._pps.pipelines.get(name)
        version = record.version - (len(asked.name) - len(name.name))
        if version < 1:
            raise Refused(
                f'pipeline "{name}" has only {record.version} versions,'
                f" not enough to find ancestor {record.version - version}"
            )
        return pipeline_info(self._pps, record, version, request.details, workers=True)

    def ListPipeline(self, request: pps_pb2.ListPipelineRequest, context: Call) -> Iterator[pps_pb2.PipelineInfo]:
        with jq_filter(request.jqFilter) as wanted:
            yield from filter(wanted, self._pipelines(request))

    def _pipelines(self, request: pps_pb2.ListPipelineRequest) -> Iterator[pps_pb2.PipelineInfo]:
        """Last changed first, each with as many older versions as `history` says (-1: all); with a commit set, each as it
        was for that set, and only those that it has."""
        wanted = PipelineName.of(request.pipeline) if request.HasField("pipeline") else None
        if wanted is not None and self._pps.pipelines.find(wanted) is None:
            raise NotFound(f'pipeline "{wanted}" not found')
        projects = {project.name for project in request.projects}
        records = [
            each
            for each in self._pps.pipelines.all()
            if wanted in (None, each.name) and (not projects or each.name.project in projects)
        ]
        for record in paged(records, request.page) if request.HasField("page") else records:
            newest = (
                self._pps.lifecycle.version_in(record, request.commit_set.id)
                if request.commit_set.id
                else record.version
            )
            oldest = 1 if request.history < 0 else max(newest - request.history, 1)
            for version in range(newest, oldest - 1, -1):
                try:
                    info = pipeline_info(self._pps, record, version, details=True, workers=False)
                except NotFound:
                    # It was deleted since.
                    break
                yield info

    def DeletePipeline(self, request: pps_pb2.DeletePipelineRequest, context: Call) -> Empty:
        if request.must_exist:
            self._pps.pipelines.get(PipelineName.of(request.pipeline))
        if request.all:
            self._pps.lifecycle.delete_many([], True, request.force, request.keep_repo)
        else:
            self._pps.lifecycle.delete(PipelineName.of(request.pipeline), request.force, request.keep_repo)
        return Empty()

    def DeletePipelines(
        self, request: pps_pb2.DeletePipelinesRequest, context: Call
    ) -> pps_pb2.DeletePipelinesResponse:
        projects = [project.name for project in request.projects]
        gone = self._pps.lifecycle.delete_many(projects, request.all, request.force, request.keep_repo)
        return pps_pb2.DeletePipelinesResponse(pipelines=[name.to_proto() for name in gone])

    def DeleteAll(self, request: Empty, context: Call) -> Empty:
        self._pps.delete_all()
        return Empty()

    def StartPipeline(self, request: pps_pb2.StartPipelineRequest, context: Call) -> Empty:
        self._pps.lifecycle.start(PipelineName.of(request.pipeline))
        return Empty()

    def StopPipeline(self, request: pps_pb2.StopPipelineRequest, context: Call) -> Empty:
        if request.must_exist:
            self._pps.pipelines.get(PipelineName.of(request.pipeline))
        self._pps.lifecycle.stop(PipelineName.of(request.pipeline))
        return Empty()

    def RunPipeline(self, request: pps_pb2.RunPipelineRequest, context: Call) -> Empty:
        # Pachyderm 2.7's own answer.
        raise Refused("unimplemented")

    def RunCron(self, request: pps_pb2.RunCronRequest, context: Call) -> Empty:
        self._pps.crons.run(PipelineName.of(request.pipeline))
        return Empty()

    def CreateSecret(self, request: pps_pb2.CreateSecretRequest, context: Call) -> Empty:
        self._pps.secrets.create(request.file)
        return Empty()

    def InspectSecret(self, request: pps_pb2.InspectSecretRequest, context: Call) -> pps_pb2.SecretInfo:
        return secret_info(self._pps.secrets.get(request.secret.name))

    def ListSecret(self, request: Empty, context: Call) -> pps_pb2.SecretInfos:
        return pps_pb2.SecretInfos(secret_info=map(secret_info, self._pps.secrets.all()))

    def DeleteSecret(self, request: pps_pb2.DeleteSecretRequest, context: Call) -> Empty:
        self._pps.secrets.delete(request.secret.name)
        return Empty()

    def ActivateAuth(self, request: pps_pb2.ActivateAuthRequest, context: Call) -> NoReturn:
        raise Unimplemented(AUTH_IS_OFF)

    def ListTask(self, request: Message, context: Call) -> Iterator[Message]:
        """Jobs are not cut into tasks here."""
        return iter(())

    def RenderTemplate(self, request: pps_pb2.RenderTemplateRequest, context: Call) -> pps_pb2.RenderTemplateResponse:
        """Calls the template, a jsonnet function, with the arguments, all of them strings."""
        text = render(request.template, dict(request.args))
        value = json.loads(text)
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(spec, dict) for spec in found):
            raise Refused("could not render the template: it gives neither a spec nor a list of specs")
        try:
            specs = [json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest()) for spec in found]
        except json_format.ParseError as error:
            raise Refused(f"could not render the template: {str(error).strip()}") from error
        return pps_pb2.RenderTemplateResponse(json=text, specs=specs)
