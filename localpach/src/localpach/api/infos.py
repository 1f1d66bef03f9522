"""Answers: what PFS and PPS know, as messages."""

from __future__ import annotations

import json

from google.protobuf.duration_pb2 import Duration

from localpach.messages import commit_message, timestamp
from localpach.names import Branch
from localpach.pfs.records import BranchRecord, CommitRecord, ProjectRecord, RepoRecord
from localpach.pfs.service import Pfs
from localpach.pps import specs
from localpach.pps.records import JobRecord, PipelineRecord
from localpach.pps.secrets import SecretRecord
from localpach.pps.service import Pps
from localpach.proto import pfs_pb2, pps_pb2


def project_info(record: ProjectRecord) -> pfs_pb2.ProjectInfo:
    return pfs_pb2.ProjectInfo(
        project=pfs_pb2.Project(name=record.name),
        description=record.description,
        created_at=timestamp(record.created),
        metadata=json.loads(record.metadata),
    )


def repo_info(record: RepoRecord) -> pfs_pb2.RepoInfo:
    """As lists of repos have it."""
    return pfs_pb2.RepoInfo(
        repo=record.repo.to_proto(),
        created=timestamp(record.created),
        description=record.description,
        size_bytes_upper_bound=record.size,
        branches=[Branch(record.repo, name).to_proto() for name in record.branches],
        metadata=json.loads(record.metadata),
    )


def repo_details(record: RepoRecord) -> pfs_pb2.RepoInfo:
    """As a repo by itself has it: with its exact size in place of the bound."""
    info = repo_info(record)
    info.ClearField("size_bytes_upper_bound")
    info.details.size_bytes = record.size
    return info


def branch_info(pfs: Pfs, record: BranchRecord) -> pfs_pb2.BranchInfo:
    branches = pfs.branches
    info = pfs_pb2.BranchInfo(
        branch=record.branch.to_proto(),
        provenance=[each.to_proto() for each in branches.names(branches.provenance([record.num]))],
        subvenance=[each.to_proto() for each in branches.names(branches.subvenance([record.num]))],
        direct_provenance=[each.to_proto() for each in branches.names(branches.direct_provenance(record.num))],
        metadata=json.loads(record.metadata),
    )
    if record.head:
        info.head.CopyFrom(commit_message(pfs.commits.by_num(record.head)))
    if record.trigger:
        info.trigger.ParseFromString(record.trigger)
    return info


def commit_info(pfs: Pfs, record: CommitRecord) -> pfs_pb2.CommitInfo:
    parent = pfs.commits.parent(record)
    info = pfs_pb2.CommitInfo(
        commit=commit_message(record),
        origin=pfs_pb2.CommitOrigin(kind=record.origin),
        description=record.description,
        parent_commit=commit_message(parent) if parent else None,
        child_commits=[commit_message(child) for child in pfs.commits.children(record)],
        started=timestamp(record.started),
        finishing=timestamp(record.finishing),
        finished=timestamp(record.finished),
        direct_provenance=[commit_message(each) for each in pfs.commits.provenance(record)],
        direct_subvenance=[commit_message(each) for each in pfs.commits.subvenance(record)],
        error=record.error if record.finished is not None else "",
        metadata=json.loads(record.metadata),
        created_at=timestamp(record.started),
        updated_at=timestamp(record.finished or record.finishing or record.started),
    )
    if record.finished is None:
        if not record.is_output:
            info.details.SetInParent()
    elif not record.error or record.refused:
        info.size_bytes_upper_bound = record.root.size
        info.details.size_bytes = record.root.size
        if record.finished != record.started:
            took = Duration(nanos=max(record.finished - (record.finishing or 0), 1) * 1000 % 1_000_000_000)
            info.details.compacting_time.CopyFrom(took)
            info.details.validating_time.CopyFrom(took)
    return info


def pipeline_info(pps: Pps, record: PipelineRecord, version: int, details: bool, workers: bool) -> pps_pb2.PipelineInfo:
    """A version of a pipeline; `workers` counts those that its details ask for and that there are."""
    info = pps.pipelines.info(record.num, version)
    info.stopped = record.stopped
    info.state = record.state
    info.reason = record.reason
    info.metadata.update(json.loads(record.metadata))
    info.last_job_state = pps.jobs.newest_state(record.num)
    if not details:
        info.ClearField("details")
    elif workers and record.state not in (pps_pb2.PIPELINE_PAUSED, pps_pb2.PIPELINE_STANDBY):
        info.details.workers_requested = info.parallelism
        if record.state == pps_pb2.PIPELINE_RUNNING and version == record.version:
            info.details.workers_available = info.parallelism
    return info


def job_info(pps: Pps, job: JobRecord, details: bool) -> pps_pb2.JobInfo:
    """A job; its details are what it takes from its spec, and what runs of it. One that waits for a core says so."""
    info = job.info
    if job.state == pps_pb2.JOB_STARTING:
        before = pps.cores.before(job.num)
        runs = "1 job runs" if before == 1 else f"{before} jobs run"
        info.reason = f"waits for a free core: {runs} before it" if before else ""
    if details:
        spec = pps.pipelines.info(job.pipeline, job.version)
        info.details.CopyFrom(specs.job_details(spec, job.id))
        worker = specs.worker_id(spec)
        for datum in pps.running.datums(job.num):
            status = info.details.worker_status.add(worker_id=worker, job_id=job.id)
            status.datum_status.started.CopyFrom(datum.started)
            for entry in datum.entries:
                status.datum_status.data.add(path=entry.path, hash=entry.hash)
    return info


def secret_info(record: SecretRecord) -> pps_pb2.SecretInfo:
    secret = pps_pb2.Secret(name=record.name)
    return pps_pb2.SecretInfo(secret=secret, type="Opaque", creation_timestamp=timestamp(record.created))
