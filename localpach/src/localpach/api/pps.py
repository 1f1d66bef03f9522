"""pps_v2.API."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NoReturn

import _jsonnet
import jq
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from localpach.errors import AUTH_IS_OFF, NotFound, Refused, Unimplemented
from localpach.pfs.base import now
from localpach.pps import Pps
from localpach.pps.base import full_name
from localpach.proto import pps_pb2
from localpach.storage.store import CallContext


class PpsServicer:
    """Translates requests into calls of `Pps`."""

    refusals: ClassVar = {
        "UpdateJobState": "jobs change their state themselves here, there are no workers to tell it; StopJob ends one",
        "GetKubeEvents": "there is no Kubernetes here that could have events; GetLogs has what jobs say",
        "QueryLoki": "there is no Loki here; GetLogs has the logs of pipelines, jobs and datums",
    }

    def __init__(self, pps: Pps) -> None:
        self._pps = pps

    def CreatePipeline(self, request: pps_pb2.CreatePipelineRequest, context: CallContext) -> Empty:
        self._pps.create_pipeline(request)
        return Empty()

    def InspectPipeline(self, request: pps_pb2.InspectPipelineRequest, context: CallContext) -> pps_pb2.PipelineInfo:
        return self._pps.inspect_pipeline(request.pipeline, request.details)

    def ListPipeline(
        self, request: pps_pb2.ListPipelineRequest, context: CallContext
    ) -> Iterator[pps_pb2.PipelineInfo]:
        pipeline = request.pipeline if request.HasField("pipeline") else None
        projects = [project.name for project in request.projects]
        infos = self._pps.list_pipelines(pipeline, projects, request.history)
        yield from filter(_jq(request.jqFilter), infos)

    def DeletePipeline(self, request: pps_pb2.DeletePipelineRequest, context: CallContext) -> Empty:
        if request.all:
            self._pps.delete_pipelines([], True, request.force, request.keep_repo)
        else:
            self._pps.delete_pipeline(request.pipeline, request.force, request.keep_repo)
        return Empty()

    def DeletePipelines(
        self, request: pps_pb2.DeletePipelinesRequest, context: CallContext
    ) -> pps_pb2.DeletePipelinesResponse:
        projects = [project.name for project in request.projects]
        gone = self._pps.delete_pipelines(projects, request.all, request.force, request.keep_repo)
        return pps_pb2.DeletePipelinesResponse(pipelines=gone)

    def DeleteAll(self, request: Empty, context: CallContext) -> Empty:
        self._pps.delete_pipelines([], True)
        return Empty()

    def StartPipeline(self, request: pps_pb2.StartPipelineRequest, context: CallContext) -> Empty:
        self._pps.start_pipeline(request.pipeline)
        return Empty()

    def StopPipeline(self, request: pps_pb2.StopPipelineRequest, context: CallContext) -> Empty:
        self._pps.stop_pipeline(request.pipeline)
        return Empty()

    def RunPipeline(self, request: pps_pb2.RunPipelineRequest, context: CallContext) -> Empty:
        # Pachyderm 2.7's own answer.
        raise Refused("unimplemented")

    def RunCron(self, request: pps_pb2.RunCronRequest, context: CallContext) -> Empty:
        self._pps.run_cron(request.pipeline)
        return Empty()

    def InspectJob(self, request: pps_pb2.InspectJobRequest, context: CallContext) -> pps_pb2.JobInfo:
        if not request.HasField("job"):
            raise Refused("must specify a job")
        return self._pps.inspect_job(request.job, request.details, request.wait, context)

    def InspectJobSet(self, request: pps_pb2.InspectJobSetRequest, context: CallContext) -> Iterator[pps_pb2.JobInfo]:
        yield from self._pps.jobs_of_set(request.job_set.id, request.details, request.wait, context)

    def ListJob(self, request: pps_pb2.ListJobRequest, context: CallContext) -> Iterator[pps_pb2.JobInfo]:
        _check_number(request.number)
        yield from filter(_jq(request.jqFilter), self._pps.list_jobs(request))

    def ListJobSet(self, request: pps_pb2.ListJobSetRequest, context: CallContext) -> Iterator[pps_pb2.JobSetInfo]:
        _check_number(request.number)
        yield from self._pps.list_job_sets(request, _jq(request.jqFilter))

    def SubscribeJob(self, request: pps_pb2.SubscribeJobRequest, context: CallContext) -> Iterator[pps_pb2.JobInfo]:
        yield from self._pps.subscribe_jobs(request.pipeline, request.details, context)

    def StopJob(self, request: pps_pb2.StopJobRequest, context: CallContext) -> Empty:
        self._pps.stop_job(request.job, request.reason)
        return Empty()

    def DeleteJob(self, request: pps_pb2.DeleteJobRequest, context: CallContext) -> Empty:
        self._pps.delete_job(request.job)
        return Empty()

    def ListDatum(self, request: pps_pb2.ListDatumRequest, context: CallContext) -> Iterator[pps_pb2.DatumInfo]:
        _check_number(request.number)
        yield from self._pps.list_datums(request)

    def InspectDatum(self, request: pps_pb2.InspectDatumRequest, context: CallContext) -> pps_pb2.DatumInfo:
        return self._pps.inspect_datum(request.datum)

    def RestartDatum(self, request: pps_pb2.RestartDatumRequest, context: CallContext) -> Empty:
        self._pps.restart_datums(request.job, list(request.data_filters))
        return Empty()

    def CreateSecret(self, request: pps_pb2.CreateSecretRequest, context: CallContext) -> Empty:
        self._pps.create_secret(request.file)
        return Empty()

    def InspectSecret(self, request: pps_pb2.InspectSecretRequest, context: CallContext) -> pps_pb2.SecretInfo:
        return self._pps.secret_info(request.secret.name)

    def ListSecret(self, request: Empty, context: CallContext) -> pps_pb2.SecretInfos:
        return pps_pb2.SecretInfos(secret_info=self._pps.list_secrets())

    def DeleteSecret(self, request: pps_pb2.DeleteSecretRequest, context: CallContext) -> Empty:
        self._pps.delete_secret(request.secret.name)
        return Empty()

    def ActivateAuth(self, request: pps_pb2.ActivateAuthRequest, context: CallContext) -> NoReturn:
        raise Unimplemented(AUTH_IS_OFF)

    def ListTask(self, request: Message, context: CallContext) -> Iterator[Message]:
        """Jobs are not cut into tasks here."""
        return iter(())

    def RenderTemplate(
        self, request: pps_pb2.RenderTemplateRequest, context: CallContext
    ) -> pps_pb2.RenderTemplateResponse:
        """Calls the template, a jsonnet function, with the arguments, all of them strings."""
        try:
            text = _jsonnet.evaluate_snippet(
                "template.jsonnet", request.template, tla_vars=dict(request.args), import_callback=_no_imports
            )
            value = json.loads(text)
            specs = [
                json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest())
                for spec in (value if isinstance(value, list) else [value])
            ]
        except (RuntimeError, json_format.ParseError) as error:
            raise Refused(f"could not render the template: {str(error).strip()}") from error
        return pps_pb2.RenderTemplateResponse(json=text, specs=specs)

    def GetLogs(self, request: pps_pb2.GetLogsRequest, context: Any) -> Iterator[pps_pb2.LogMessage]:
        """Messages in the order in which they came, job by job; with `tail` only that many of the last."""
        pipeline, job, over = self._log_source(request)
        jobs = [job] if job else self._pps.job_ids(pipeline)
        since = now() - request.since.ToNanoseconds() // 1000 if request.HasField("since") else 0
        datum = request.datum.id

        def wanted(message: pps_pb2.LogMessage) -> bool:
            return (
                message.master == request.master
                and (not datum or message.datum_id == datum)
                and message.ts.ToNanoseconds() // 1000 >= since
                and _has_data(message, list(request.data_filters))
            )

        logs = self._pps.logs
        if request.follow:
            context.add_callback(logs.wake)
            yield from filter(wanted, logs.follow(pipeline, jobs, not job, over, context.is_active))
            return
        messages = (message for each in jobs for message in logs.read(pipeline, each) if wanted(message))
        yield from deque(messages, maxlen=request.tail) if request.tail > 0 else messages

    def _log_source(self, request: pps_pb2.GetLogsRequest) -> tuple[int, str, Callable[[], bool]]:
        """Which pipeline, which job of it (none: all), and when there will be no more to say."""
        job = request.job if request.HasField("job") else request.datum.job
        if job.id:
            try:
                row = self._pps._job_row(job)
            except NotFound as error:
                raise NotFound(f'could not get job information for "{job.id}": {error.message}') from error
            over = self._pps._when_told(lambda: self._pps._job_row(job)["over"] or None)
            return row["pipeline"], job.id, lambda: bool(over())
        if not request.HasField("pipeline"):
            raise Refused("must specify the Job or Pipeline that the datum is from to get logs for it")
        try:
            num = self._pps._pipeline_row(request.pipeline)["num"]
        except NotFound as error:
            name = full_name(request.pipeline)
            raise NotFound(f"could not get pipeline information for {name}: {error.message}") from error
        return num, "", lambda: False


def _check_number(number: int) -> None:
    if number < 0:
        raise Refused("number must be non-negative")


def _no_imports(folder: str, name: str) -> NoReturn:
    """A template must not read this machine's files."""
    raise RuntimeError(f"import of {name}: a template can't import; put all of it into one file")


def _has_data(message: pps_pb2.LogMessage, filters: list[str]) -> bool:
    """Whether each filter is the path or the hash of an input of the message's datum."""
    known = {each.path for each in message.data} | {each.hash.hex() for each in message.data}
    return all(each in known for each in filters)


def _jq(program: str) -> Callable[[Any], bool]:
    """A predicate of a jq filter, which keeps what it gives anything for."""
    if not program:
        return lambda info: True

    try:
        compiled = jq.compile(program)
    except ValueError as error:
        raise Refused(f"jqFilter: {error}") from error

    def keep(info: Any) -> bool:
        shown = json_format.MessageToDict(info, preserving_proto_field_name=True)
        return bool(compiled.input_value(shown).all())

    return keep
