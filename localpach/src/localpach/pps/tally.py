"""What is written down of datums that are done: the counts of their job, and the meta file of each."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from localpach.pps.datum import Outcome
from localpach.pps.inputs import Datum
from localpach.proto import pps_pb2

COUNTS = {
    pps_pb2.DatumState.SUCCESS: "data_processed",
    pps_pb2.DatumState.SKIPPED: "data_skipped",
    pps_pb2.DatumState.FAILED: "data_failed",
    pps_pb2.DatumState.RECOVERED: "data_recovered",
}


def meta_of(info: pps_pb2.DatumInfo, datum: Datum, hashed: str) -> dict[str, object]:
    """What Pachyderm's workers keep of a datum."""
    return {
        "job": MessageToDict(info.datum.job),
        "inputs": [
            {"fileInfo": MessageToDict(data), "name": each.name, "branch": each.branch.name}
            for data, each in zip(info.data, datum.inputs, strict=True)
        ],
        "hash": hashed,
        "stats": MessageToDict(info.stats),
        "imageId": info.image_id,
    }


def count(info: pps_pb2.JobInfo, outcomes: list[Outcome]) -> None:
    """Adds what has come to the counts and times of a job."""
    for outcome in outcomes:
        name = COUNTS[outcome.state]
        setattr(info, name, getattr(info, name) + 1)
        for part in ("download_time", "process_time", "upload_time"):
            total: Duration = getattr(info.stats, part)
            total.FromNanoseconds(total.ToNanoseconds() + getattr(outcome.stats, part).ToNanoseconds())
        info.stats.download_bytes += outcome.stats.download_bytes
        info.stats.upload_bytes += outcome.stats.upload_bytes
