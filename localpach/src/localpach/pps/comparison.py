"""Which of a job's datums an earlier job has done."""

from __future__ import annotations

from dataclasses import dataclass, field

from localpach.pps.combinations import Datum
from localpach.pps.records import JobRecord
from localpach.pps.tools import Tools
from localpach.proto import pps_pb2


@dataclass
class Comparison:
    """A job's datums beside those of `base`, the newest job before it that went well, if it had the same salt, and
    its output was not forgotten."""

    base: JobRecord | None
    done: list[Datum] = field(default_factory=list)
    new: list[Datum] = field(default_factory=list)
    changed: list[Datum] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)  # ids that the base has, and whose output is not taken over


def compare(tools: Tools, job: JobRecord, spec: pps_pb2.PipelineInfo, datums: list[Datum]) -> Comparison:
    """Sorts datums by what an earlier job did of them."""
    salt = spec.details.salt
    base = tools.jobs.newest_success(job)
    if base is not None and (
        tools.pipelines.info(base.pipeline, base.version).details.salt != salt
        or tools.pfs.commits.get(base.output).is_forgotten
    ):
        base = None
    known = tools.datums.hashes(base) if base is not None else {}
    found = Comparison(base)
    for datum in datums:
        if datum.id not in known:
            found.new.append(datum)
        elif known[datum.id] != datum.hash(salt) or spec.details.reprocess_spec == "every_job":
            found.changed.append(datum)
        else:
            found.done.append(datum)
    found.gone = known.keys() - {datum.id for datum in found.done}
    return found
