"""Events in Prefect about what happened in Pachyderm, for automations and for the event feed.

| event | resource | when |
| --- | --- | --- |
| `pachyderm.commit.finished` | `pachyderm.commit.REPO@ID` | a commit that we have made, or that a flow follows, is finished |
| `pachyderm.pipeline.changed` | `pachyderm.pipeline.NAME` | we have made or updated a pipeline |
| `pachyderm.pipeline.deleted` | `pachyderm.pipeline.NAME` | we have deleted a pipeline |
| `pachyderm.job.succeeded`, `.failed`, `.killed` | `pachyderm.job.PIPELINE@ID` | a job that was waited for or stopped is over |

Related resources name the commits, the pipeline and the deployment; Prefect adds flow run and work pool. An event's id is
made of its name and resource (and of the commit of a pipeline's spec), so that Prefect keeps one where two runs emit the same.
"""

from __future__ import annotations

import os
import uuid
from typing import Any

from httpx import HTTPError
from prefect import runtime
from prefect.events import emit_event
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings
from python_pachyderm.service import pfs_proto, pps_proto

from prefect_pachyderm.names import written

# Names for uuid5; any fixed UUID does.
NAMESPACE = uuid.UUID("6f1c2d0e-8f0b-4a43-9a65-6b2f5d7f0c11")
OUTCOMES = {
    pps_proto.JOB_SUCCESS: "succeeded",
    pps_proto.JOB_FAILURE: "failed",
    pps_proto.JOB_UNRUNNABLE: "failed",
    pps_proto.JOB_KILLED: "killed",
}


def commit_finished(info: pfs_proto.CommitInfo, branch: str) -> None:
    """Emits the event of a finished commit on a branch."""
    repo = written(info.commit.repo)
    payload = {"description": info.description, "error": info.error, "bytes": info.details.size_bytes}
    related = [related_resource("branch", f"{repo}@{branch}")]
    emit("pachyderm.commit.finished", "pachyderm.commit", f"{repo}@{info.commit.id}", related, payload)


def pipeline_changed(info: pps_proto.PipelineInfo) -> None:
    """Emits the event of a pipeline that was made or updated."""
    name, version = written(info.pipeline), str(info.version)
    # The versions of one that is deleted and made anew begin with 1 again.
    emit("pachyderm.pipeline.changed", "pachyderm.pipeline", name, [], {"version": version}, info.spec_commit.id)


def pipeline_deleted(info: pps_proto.PipelineInfo) -> None:
    """Emits the event of a pipeline that was deleted; one made anew of the same name is another, with a commit of its own."""
    name, version = written(info.pipeline), str(info.version)
    emit("pachyderm.pipeline.deleted", "pachyderm.pipeline", name, [], {"version": version}, info.spec_commit.id)


def job_ended(info: pps_proto.JobInfo, inputs: list[tuple[str, str]]) -> None:
    """Emits the event of a job that is over; `inputs` are the repos and commits that it has read."""
    pipeline, job_id = written(info.job.pipeline), info.job.id
    related = [
        related_resource("pipeline", pipeline, version=str(info.pipeline_version)),
        related_resource("commit", f"{pipeline}@{job_id}", role="output-commit"),
        *(related_resource("commit", f"{repo}@{commit}", role="input-commit") for repo, commit in inputs),
    ]
    payload = {
        "state": pps_proto.JobState.Name(info.state),
        "reason": info.reason,
        "datums": {"total": info.data_total, "processed": info.data_processed, "skipped": info.data_skipped},
    }
    emit(f"pachyderm.job.{OUTCOMES[info.state]}", "pachyderm.job", f"{pipeline}@{job_id}", related, payload)


def related_resource(kind: str, name: str, role: str | None = None, **labels: str) -> dict[str, str]:
    """A commit, branch or pipeline as an event names it; its role is its kind unless given."""
    return {
        "prefect.resource.id": f"pachyderm.{kind}.{name}",
        "prefect.resource.name": name,
        "prefect.resource.role": role or kind,
        **labels,
    }


def emit(
    event: str, kind: str, name: str, related: list[dict[str, str]], payload: dict[str, Any], version: str = ""
) -> None:
    """Emits an event about (a version of) the resource `kind.name`. Prefect keeps one, however often it is emitted."""
    if not (get_current_settings().api.url or runtime.flow_run.id):
        return  # Prefect would start a temporary server for it.
    resource = {"prefect.resource.id": f"{kind}.{name}", "prefect.resource.name": name}
    event_id = uuid.uuid5(NAMESPACE, f"{event} {name} {version}")
    emit_event(event, resource, related=[*related, *_deployment()], payload=payload, id=event_id)


def _deployment() -> list[dict[str, str]]:
    """The deployment as a related resource: Prefect adds it only where the flow run is not that of a flow within another."""
    if "PREFECT__FLOW_RUN_ID" not in os.environ:
        return []  # Asking would be a call in vain.
    try:
        deployment, name = runtime.deployment.id, runtime.deployment.name
    except (HTTPError, PrefectHTTPStatusError):
        return []  # What has happened has, whoever is told: a server that is being restarted is no reason to fail.
    resource = {"prefect.resource.id": f"prefect.deployment.{deployment}", "prefect.resource.role": "deployment"}
    return [{**resource, "prefect.resource.name": name}] if deployment else []
