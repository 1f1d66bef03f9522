"""pps_v2.API, the part about jobs, datums and logs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from google.protobuf.empty_pb2 import Empty

from localpach.api.infos import job_info
from localpach.api.pfs import resolve
from localpach.api.programs import jq_filter
from localpach.clock import now
from localpach.errors import NotFound, Refused
from localpach.messages import commit_message
from localpach.pfs.service import Pfs
from localpach.pps.jobs import JobName
from localpach.pps.records import PipelineName
from localpach.pps.service import Pps
from localpach.proto import pfs_pb2, pps_pb2
from localpach.waiting import Call

# How many datums are made of an input at a time where the client does not say.
CREATED_DATUMS = 100


class JobsServicer:
    """Translates requests into calls of PPS."""

    def __init__(self, pfs: Pfs, pps: Pps) -> None:
        self._pfs = pfs
        self._pps = pps

    def InspectJob(self, request: pps_pb2.InspectJobRequest, context: Call) -> pps_pb2.JobInfo:
        if not request.HasField("job"):
            raise Refused("must specify a job")
        return self._job(JobName.of(request.job), request.details, request.wait, context)

    def _job(self, name: JobName, details: bool, wait: bool, call: Call) -> pps_pb2.JobInfo:
        job = self._pps.queries.wait(name, call) if wait else self._pps.jobs.get(name)
        return job_info(self._pps, job, details)

    def InspectJobSet(self, request: pps_pb2.InspectJobSetRequest, context: Call) -> Iterator[pps_pb2.JobInfo]:
        for name in self._pps.queries.names_of_set(request.job_set.id):
            try:
                info = self._job(name, request.details, request.wait, context)
            except NotFound:
                # Its commit is nobody's job.
                continue
            yield info

    def ListJob(self, request: pps_pb2.ListJobRequest, context: Call) -> Iterator[pps_pb2.JobInfo]:
        _check_number(request.number)
        with jq_filter(request.jqFilter) as wanted:
            yield from filter(wanted, self._jobs(request))

    def _jobs(self, request: pps_pb2.ListJobRequest) -> Iterator[pps_pb2.JobInfo]:
        """Jobs, newest first (or oldest), of the newest version of their pipeline or of as many as `history` says."""
        pipeline = PipelineName.of(request.pipeline) if request.HasField("pipeline") else None
        if pipeline is not None and self._pps.pipelines.find(pipeline) is None:
            raise NotFound(f'pipeline "{pipeline}" not found')
        wanted = {resolve(self._pfs, commit).num for commit in request.input_commit}
        projects = [project.name for project in request.projects]
        given = 0
        for job in self._pps.queries.select(pipeline, projects, request.history, request.reverse):
            if request.number and given >= request.number:
                return
            if request.HasField("paginationMarker") and not _is_past(job.info, request):
                continue
            try:
                if wanted and not wanted <= {record.num for record in self._pps.jobs.inputs(job)}:
                    continue
                info = job_info(self._pps, job, request.details)
            except NotFound:
                # It was deleted since.
                continue
            given += 1
            yield info

    def ListJobSet(self, request: pps_pb2.ListJobSetRequest, context: Call) -> Iterator[pps_pb2.JobSetInfo]:
        _check_number(request.number)
        with jq_filter(request.jqFilter) as wanted:
            yield from islice(self._job_sets(request, wanted), request.number or None)

    def _job_sets(
        self, request: pps_pb2.ListJobSetRequest, wanted: Callable[[pps_pb2.JobInfo], bool]
    ) -> Iterator[pps_pb2.JobSetInfo]:
        projects = {project.name for project in request.projects}
        for id, first in self._pps.queries.sets(request.reverse):
            if request.HasField("paginationMarker") and not _is_past(first.info, request):
                continue
            jobs = [job for job in self._jobs_of_set(id, request.details, projects) if wanted(job)]
            if jobs:
                yield pps_pb2.JobSetInfo(job_set=pps_pb2.JobSet(id=id), jobs=jobs)

    def _jobs_of_set(self, id: str, details: bool, projects: set[str]) -> Iterator[pps_pb2.JobInfo]:
        try:
            names = self._pps.queries.names_of_set(id)
        except NotFound:
            # It was deleted since.
            return
        for name in names:
            if projects and name.pipeline.project not in projects:
                continue
            try:
                info = job_info(self._pps, self._pps.jobs.get(name), details)
            except NotFound:
                # Its commit is nobody's job, or it was deleted since.
                continue
            yield info

    def SubscribeJob(self, request: pps_pb2.SubscribeJobRequest, context: Call) -> Iterator[pps_pb2.JobInfo]:
        for job in self._pps.queries.subscribe(PipelineName.of(request.pipeline), context):
            try:
                info = job_info(self._pps, job, request.details)
            except NotFound:
                # It was deleted since.
                continue
            yield info

    def StopJob(self, request: pps_pb2.StopJobRequest, context: Call) -> Empty:
        self._pps.jobs.stop(JobName.of(request.job), request.reason)
        return Empty()

    def DeleteJob(self, request: pps_pb2.DeleteJobRequest, context: Call) -> Empty:
        self._pps.jobs.delete(JobName.of(request.job))
        return Empty()

    def ListDatum(self, request: pps_pb2.ListDatumRequest, context: Call) -> Iterator[pps_pb2.DatumInfo]:
        _check_number(request.number)
        if request.reverse and not request.number:
            raise Refused("number must be > 0 when reverse is set")
        datums, marker = self._pps.datums, request.paginationMarker
        infos = datums.of_input(request.input) if request.HasField("input") else datums.of_job(JobName.of(request.job))
        states = set(request.filter.state)
        given = 0
        for info in reversed(list(infos)) if request.reverse else infos:
            if marker and (info.datum.id >= marker if request.reverse else info.datum.id <= marker):
                continue
            if states and info.state not in states:
                continue
            if request.number and given >= request.number:
                return
            given += 1
            yield info

    def CreateDatum(self, stream: Iterator[pps_pb2.CreateDatumRequest], context: Call) -> Iterator[pps_pb2.DatumInfo]:
        """The datums of an input, as many at a time as the client asks for, until there are no more."""
        first = next(stream, None)
        if first is None or first.WhichOneof("body") != "start":
            raise Refused("first message must be a StartCreateDatumRequest message")
        left = list(self._pps.datums.of_input(first.start.input))
        number = first.start.number
        while True:
            number = number or CREATED_DATUMS
            yield from left[:number]
            del left[:number]
            # Clients that got fewer than they asked for wait for the end.
            message = next(stream, None) if left else None
            if message is None:
                return
            if message.WhichOneof("body") != "continue":
                raise Refused("all messages but the first must be ContinueCreateDatumRequest messages")
            number = getattr(message, "continue").number

    def InspectDatum(self, request: pps_pb2.InspectDatumRequest, context: Call) -> pps_pb2.DatumInfo:
        """One datum of a job, with where its meta files are."""
        datum = request.datum
        if not datum.HasField("job") or not datum.id:
            raise Refused("must specify a datum with its job and id")
        name = JobName.of(datum.job)
        for info in self._pps.datums.of_job(name):
            if info.datum.id == datum.id:
                meta = self._pfs.commits.get(self._pps.jobs.get(name).commits[1])
                info.pfs_state.CopyFrom(pfs_pb2.File(commit=commit_message(meta), path=f"/pfs/{datum.id}"))
                return info
        raise Refused(f"datum {datum.id} not found in job {name}")

    def RestartDatum(self, request: pps_pb2.RestartDatumRequest, context: Call) -> Empty:
        self._pps.jobs.restart_datums(JobName.of(request.job), list(request.data_filters))
        return Empty()

    def GetLogs(self, request: pps_pb2.GetLogsRequest, context: Call) -> Iterator[pps_pb2.LogMessage]:
        """Messages in the order in which they came, job by job; with `tail` only that many of the last."""
        pipeline, job, is_over = self._log_source(request)
        jobs = [job] if job else self._pps.queries.ids(pipeline)
        # A length of zero is what pachctl sends where nobody asks for one.
        length = request.since.ToNanoseconds() // 1000
        since = now() - length if length else 0
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
            yield from filter(wanted, logs.follow(pipeline, jobs, not job, is_over, context))
            return
        messages = (message for each in jobs for message in logs.read(pipeline, each) if wanted(message))
        yield from deque(messages, maxlen=request.tail) if request.tail > 0 else messages

    def _log_source(self, request: pps_pb2.GetLogsRequest) -> tuple[int, str, Callable[[], bool]]:
        """Which pipeline, which job of it (none: all), and when there will be no more to say."""
        job = request.job if request.HasField("job") else request.datum.job
        if job.id:
            try:
                record = self._pps.jobs.get(JobName.of(job))
            except NotFound as error:
                raise NotFound(f'could not get job information for "{job.id}": {error.message}') from error
            return record.pipeline, job.id, lambda: self._pps.jobs.by_num(record.num).is_over
        if not request.HasField("pipeline"):
            raise Refused("must specify the Job or Pipeline that the datum is from to get logs for it")
        name = PipelineName.of(request.pipeline)
        try:
            num = self._pps.pipelines.get(name).num
        except NotFound as error:
            raise NotFound(f"could not get pipeline information for {name}: {error.message}") from error
        return num, "", lambda: False


def _is_past(info: pps_pb2.JobInfo, request: pps_pb2.ListJobRequest | pps_pb2.ListJobSetRequest) -> bool:
    created, marker = info.created.ToNanoseconds(), request.paginationMarker.ToNanoseconds()
    return created > marker if request.reverse else created < marker


def _check_number(number: int) -> None:
    if number < 0:
        raise Refused("number must be non-negative")


def _has_data(message: pps_pb2.LogMessage, filters: list[str]) -> bool:
    """Whether each filter is the path or the hash of an input of the message's datum."""
    known = {each.path for each in message.data} | {each.hash.hex() for each in message.data}
    return all(each in known for each in filters)
