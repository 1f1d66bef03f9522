"""logs.API: what jobs say, by project, pipeline, job or datum, filtered by time and text: since Pachyderm 2.10."""

from __future__ import annotations

import heapq
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.api import logql
from localpach.errors import Refused, Unimplemented
from localpach.names import DEFAULT_PROJECT
from localpach.pps.jobs import JobName
from localpach.pps.records import PipelineName
from localpach.pps.service import Pps
from localpach.proto import logs_pb2, pps_pb2
from localpach.waiting import Call

Predicate = Callable[[pps_pb2.LogMessage], bool]


class Source(NamedTuple):
    """Whose messages are asked for: those of jobs, each with the number of its pipeline, and of one datum, if it is named.
    `follow` gives them as they come; not all can be followed. `matches` is a query in LogQL, which may find messages of the
    master, too."""

    jobs: list[tuple[int, str]]
    datum: str = ""
    master: bool = False
    follow: Callable[[Call], Iterator[pps_pb2.LogMessage]] | None = None
    matches: logql.Matches | None = None


class LogsServicer:
    """Reads and follows the logs of PPS."""

    def __init__(self, pps: Pps) -> None:
        self._pps = pps

    def GetLogs(self, request: logs_pb2.GetLogsRequest, context: Call) -> Iterator[logs_pb2.GetLogsResponse]:
        """Messages by time; of a limited number the first after `from`, or, where that is not given, the last. With `tail`
        those that are still to come, too."""
        source = self._source(request.query)
        wanted = _predicate(request.filter, source)
        if request.tail:
            if source.follow is None:
                raise Unimplemented("tail: localpach follows the logs of one pipeline or of one job of it; name that")
            yield from map(_answer, filter(wanted, source.follow(context)))
            return
        found = heapq.merge(*itertools.starmap(self._pps.logs.read, source.jobs), key=_moment)
        messages, limit = filter(wanted, found), request.filter.limit or None
        first = request.filter.time_range.HasField("from")
        page = list(itertools.islice(messages, limit)) if first else list(deque(messages, limit))
        if request.want_paging_hint and page:
            yield logs_pb2.GetLogsResponse(paging_hint=_hint(request, page))
        yield from map(_answer, page)

    def _source(self, query: logs_pb2.LogQuery) -> Source:
        if query.WhichOneof("query_type") == "admin":
            kind = query.admin.WhichOneof("admin_type")
            if kind == "master":
                return self._of_pipeline(query.admin.master)._replace(master=True)
            if kind == "user":
                return self._of_user(query.admin.user)
            if kind == "logql":
                return Source(self._of_project(None), matches=logql.parse(query.admin.logql))
            raise Unimplemented(
                f"{kind}: there are no pods and no Loki here; ask for the logs of a project, pipeline, job or datum"
            )
        return self._of_user(query.user)

    def _of_user(self, query: logs_pb2.UserLogQuery) -> Source:
        kind = query.WhichOneof("user_type")
        if kind == "project":
            return Source(self._of_project(query.project))
        if kind == "datum":
            return Source(self._of_project(None), query.datum)
        if kind == "job":
            return Source(self._of_set(query.job))
        if kind == "job_datum":
            return Source(self._of_set(query.job_datum.job), query.job_datum.datum)
        if kind == "pipeline":
            return self._of_pipeline(query.pipeline)
        if kind == "pipeline_datum":
            return self._of_pipeline(query.pipeline_datum.pipeline)._replace(datum=query.pipeline_datum.datum)
        if kind == "pipeline_job":
            job = self._pps.jobs.get(JobName(_name(query.pipeline_job.pipeline), query.pipeline_job.job))
            is_over = partial(self._is_over, job.num)
            follow = partial(self._pps.logs.follow, job.pipeline, [job.id], False, is_over)
            return Source([(job.pipeline, job.id)], follow=follow)
        raise Refused("a query of logs must name a project, pipeline, job or datum")

    def _of_project(self, project: str | None) -> list[tuple[int, str]]:
        records = [each for each in self._pps.pipelines.all() if project in (None, each.name.project)]
        return [(record.num, id) for record in records for id in self._pps.queries.ids(record.num)]

    def _of_set(self, id: str) -> list[tuple[int, str]]:
        jobs = [self._pps.jobs.find(name) for name in self._pps.queries.names_of_set(id)]
        return [(job.pipeline, job.id) for job in jobs if job is not None]

    def _of_pipeline(self, query: logs_pb2.PipelineLogQuery) -> Source:
        num = self._pps.pipelines.get(_name(query)).num
        ids = self._pps.queries.ids(num)
        follow = partial(self._pps.logs.follow, num, ids, True, lambda: False)
        return Source([(num, id) for id in ids], follow=follow)

    def _is_over(self, job: int) -> bool:
        return self._pps.jobs.by_num(job).is_over


def _name(query: logs_pb2.PipelineLogQuery) -> PipelineName:
    return PipelineName(query.project or DEFAULT_PROJECT, query.pipeline)


def _moment(message: pps_pb2.LogMessage) -> int:
    return message.ts.ToNanoseconds()


def _predicate(asked: logs_pb2.LogFilter, source: Source) -> Predicate:
    """Which messages a filter lets pass; all of them are of level INFO."""
    span = asked.time_range
    since = getattr(span, "from").ToNanoseconds()
    until = span.until.ToNanoseconds() if span.HasField("until") else None
    try:
        pattern = re.compile(asked.regex.pattern)
    except re.error as error:
        raise Refused(f"regex {asked.regex.pattern!r} is no regular expression: {error}") from error

    def wanted(message: pps_pb2.LogMessage) -> bool:
        return (
            (message.master == source.master if source.matches is None else source.matches(*_labelled(message)))
            and source.datum in ("", message.datum_id)
            and since <= _moment(message)
            and (until is None or _moment(message) < until)
            and (not asked.user_logs_only or message.user)
            and asked.level != logs_pb2.LOG_LEVEL_ERROR
            and (pattern.search(message.message) is not None) != asked.regex.negate
        )

    return wanted


def _labelled(message: pps_pb2.LogMessage) -> tuple[dict[str, str], str]:
    """The labels that Loki has for a message, and its line."""
    labels = {
        "suite": "pachyderm",
        "pipelineProject": message.project_name,
        "pipelineName": message.pipeline_name,
    }
    return labels, _line(message)


def _line(message: pps_pb2.LogMessage) -> str:
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False)


def _answer(message: pps_pb2.LogMessage) -> logs_pb2.GetLogsResponse:
    shown = json_format.MessageToDict(message)
    answer = logs_pb2.GetLogsResponse()
    answer.log.pps_log_message.CopyFrom(message)
    answer.log.native_timestamp.CopyFrom(message.ts)
    answer.log.verbatim.timestamp.CopyFrom(message.ts)
    answer.log.verbatim.line = _line(message).encode()
    answer.log.object.update(shown)
    return answer


def _hint(request: logs_pb2.GetLogsRequest, page: list[pps_pb2.LogMessage]) -> logs_pb2.PagingHint:
    """What to ask for to get the messages before and after a page."""
    hint = logs_pb2.PagingHint(older=request, newer=request)
    hint.older.filter.time_range.ClearField("from")
    hint.older.filter.time_range.until.CopyFrom(page[0].ts)
    hint.newer.filter.time_range.ClearField("until")
    after = Timestamp()
    after.FromNanoseconds(_moment(page[-1]) + 1)
    getattr(hint.newer.filter.time_range, "from").CopyFrom(after)
    return hint
