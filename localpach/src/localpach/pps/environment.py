"""What the user's code finds in its environment."""

from __future__ import annotations

from localpach.pps.combinations import Datum
from localpach.pps.secrets import Secrets
from localpach.pps.specs import worker_id
from localpach.pps.tools import S3Gateway
from localpach.proto import pps_pb2
from localpach.runtime.interface import S3_PORT, WORKER_PORT


def environment(
    job: pps_pb2.JobInfo, spec: pps_pb2.PipelineInfo, datum: Datum | None, secrets: Secrets, gateway: S3Gateway | None
) -> dict[str, str]:
    """The variables of a command: what runs, its datum if it has one yet, secrets, and what the spec says itself."""
    transform = spec.details.transform
    env = {
        "PACH_IN_WORKER": "true",
        "PACH_JOB_ID": job.job.id,
        "PACH_NAMESPACE": "default",
        "PACH_OUTPUT_COMMIT_ID": job.job.id,
        "PPS_PIPELINE_NAME": job.job.pipeline.name,
        "PPS_PROJECT_NAME": job.job.pipeline.project.name,
        "PPS_POD_NAME": worker_id(spec),
        "PPS_SPEC_COMMIT": spec.spec_commit.id,
    }
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
