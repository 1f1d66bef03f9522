"""What the user's code finds in its environment."""

from __future__ import annotations

from localpach.pps.combinations import Datum
from localpach.pps.secrets import Secrets
from localpach.pps.specs import worker_id
from localpach.pps.tools import S3Gateway
from localpach.proto import pps_pb2
from localpach.runtime.interface import PACHD_PORT, S3_PORT, WORKER_PORT


def environment(
    job: pps_pb2.JobInfo, spec: pps_pb2.PipelineInfo, datum: Datum | None, secrets: Secrets, gateway: S3Gateway | None
) -> dict[str, str]:
    """The variables of a command: what runs, its datum if it has one yet, secrets, and what the spec says itself."""
    transform = spec.details.transform
    env = _of_pipeline(spec)
    env["PACH_JOB_ID"] = env["PACH_OUTPUT_COMMIT_ID"] = job.job.id
    if datum:
        env["PACH_DATUM_ID"] = datum.id
    for each in datum.inputs if datum else ():
        path = each.entry.path.strip("/")
        if not each.spec.s3:
            env[each.name] = f"/pfs/{each.name}" + (f"/{path}" if path else "")
        env[f"{each.name}_COMMIT"] = each.record.commit.id
        if each.spec.join_on:
            env[f"PACH_DATUM_{each.name}_JOIN_ON"] = each.expand(each.spec.join_on)
        if each.spec.group_by:
            env[f"PACH_DATUM_{each.name}_GROUP_BY"] = each.expand(each.spec.group_by)
    if gateway:
        env["S3_ENDPOINT"] = f"http://127.0.0.1:{S3_PORT}"
        env["AWS_ACCESS_KEY_ID"] = env["AWS_SECRET_ACCESS_KEY"] = gateway.key
    if transform.datum_batching:
        env["PPS_WORKER_GRPC_PORT"] = str(WORKER_PORT)
    env.update(secrets.environment(transform))
    env.update(transform.env)
    return env


def spout_environment(spec: pps_pb2.PipelineInfo, secrets: Secrets) -> dict[str, str]:
    """The variables of a spout's command: where it finds Pachyderm, secrets, and what the spec says itself."""
    env = _of_pipeline(spec) | {"PACHD_PEER_SERVICE_HOST": "127.0.0.1", "PACHD_PEER_SERVICE_PORT": str(PACHD_PORT)}
    env["PEER_PORT"] = str(PACHD_PORT)
    env.update(secrets.environment(spec.details.transform))
    env.update(spec.details.transform.env)
    return env


def _of_pipeline(spec: pps_pb2.PipelineInfo) -> dict[str, str]:
    return {
        "PACH_IN_WORKER": "true",
        "PACH_NAMESPACE": "default",
        "PPS_PIPELINE_NAME": spec.pipeline.name,
        "PPS_PROJECT_NAME": spec.pipeline.project.name,
        "PPS_POD_NAME": worker_id(spec),
        "PPS_SPEC_COMMIT": spec.spec_commit.id,
    }
