"""What is known of pipelines, jobs and datums. Specs and the progress of jobs are kept, and given, in the form that they have
on the wire.
"""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from localpach.clock import now
from localpach.messages import timestamp
from localpach.names import DEFAULT_PROJECT, META, Commit, Repo
from localpach.pfs.records import Entry
from localpach.proto import pps_pb2

OVER = frozenset((pps_pb2.JOB_SUCCESS, pps_pb2.JOB_FAILURE, pps_pb2.JOB_KILLED, pps_pb2.JOB_UNRUNNABLE))


class PipelineName(NamedTuple):
    """A pipeline's name; `str()` gives `project/name`."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"

    @classmethod
    def of(cls, message: pps_pb2.Pipeline) -> PipelineName:
        return cls(message.project.name or DEFAULT_PROJECT, message.name)

    def to_proto(self) -> pps_pb2.Pipeline:
        message = pps_pb2.Pipeline(name=self.name)
        message.project.name = self.project
        return message

    @property
    def output(self) -> Repo:
        """Where its output goes."""
        return Repo(self.project, self.name)


class PipelineRecord(NamedTuple):
    """A pipeline and its newest version; `metadata` is JSON of what clients have noted of it."""

    num: int
    name: PipelineName
    version: int
    stopped: bool
    state: pps_pb2.PipelineState
    reason: str
    metadata: str


class JobRecord(NamedTuple):
    """A job, the making of one output commit."""

    num: int
    pipeline: int
    id: str
    version: int
    state: pps_pb2.JobState
    is_over: bool
    info: pps_pb2.JobInfo

    @property
    def output(self) -> Commit:
        return Commit(Repo.of(self.info.output_commit.repo), self.id)

    @property
    def commits(self) -> tuple[Commit, Commit]:
        """The output and the meta commit."""
        return self.output, self.output._replace(repo=self.output.repo._replace(type=META))


class RunningDatum(NamedTuple):
    """A datum whose command runs, since when, and what is in it."""

    started: Timestamp
    entries: tuple[Entry, ...]


def moment() -> Timestamp:
    """Now."""
    stamp = timestamp(now())
    assert stamp is not None
    return stamp
