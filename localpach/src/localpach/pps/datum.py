"""Running the user's code on one datum."""

from __future__ import annotations

import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from localpach.disk import remove_tree
from localpach.errors import Refused
from localpach.pfs.files import Given
from localpach.pfs.writes import Collected
from localpach.pps import quantities
from localpach.pps.inputs import Datum
from localpach.pps.records import RunningDatum, moment
from localpach.pps.specs import worker_id
from localpach.pps.tools import Tools
from localpach.proto import pps_pb2
from localpach.runtime.interface import TIMED_OUT, Ended, Pod, Resources, Run, RunSpec, Runtime
from localpach.runtime.layout import Layout

Log = Callable[[pps_pb2.LogMessage], None]
# Added to the number of a signal that ends a command.
SIGNALLED = 128
OUT_OF_MEMORY = SIGNALLED + signal.SIGKILL
# What programs say where there is none.
_NO_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure in name resolution|Could not resolve host|Name or service not known"
    r"|No address associated with hostname|unable to resolve host|getaddrinfo|ENETUNREACH|EAI_AGAIN|ENOTFOUND",
    re.IGNORECASE,
)
NO_NETWORK = (
    'if it was for lack of a network: commands here have one where the spec says "metadata": {"annotations":'
    ' {"localpach/network": "bridge"}}, or where the server runs with --network'
)

# What counts datums of each state in a job.
COUNTS = {
    pps_pb2.DatumState.SUCCESS: "data_processed",
    pps_pb2.DatumState.SKIPPED: "data_skipped",
    pps_pb2.DatumState.FAILED: "data_failed",
    pps_pb2.DatumState.RECOVERED: "data_recovered",
}


@dataclass
class Outcome:
    """How a datum ended; `layout` is what is left of the run, until `discard`; `problem` is what ended its command, if
    neither that itself nor its timeout did, or what is wrong with what it wrote."""

    datum: Datum
    state: pps_pb2.DatumState
    stats: pps_pb2.ProcessStats = field(default_factory=pps_pb2.ProcessStats)
    layout: Layout | None = None
    output: Collected | None = None
    problem: str = ""

    def count_in(self, info: pps_pb2.JobInfo) -> None:
        """Adds it to the counts and times of its job."""
        name = COUNTS[self.state]
        setattr(info, name, getattr(info, name) + 1)
        for part in ("download_time", "process_time", "upload_time"):
            total: Duration = getattr(info.stats, part)
            total.FromNanoseconds(total.ToNanoseconds() + getattr(self.stats, part).ToNanoseconds())
        info.stats.download_bytes += self.stats.download_bytes
        info.stats.upload_bytes += self.stats.upload_bytes

    def discard(self) -> None:
        """Deletes what is left of the run; what the disk does not let go of goes when no job is being done."""
        if self.layout is not None:
            with suppress(OSError):
                remove_tree(self.layout.view.parent)


class DatumRun:
    """One datum: its tries, then its `err_cmd`."""

    def __init__(
        self,
        tools: Tools,
        runtime: Runtime,
        job: pps_pb2.JobInfo,
        spec: pps_pb2.PipelineInfo,
        datum: Datum,
        log: Log,
    ) -> None:
        self._tools = tools
        self._runtime = runtime
        self._job = job
        self._spec = spec
        self._datum = datum
        self._log = log
        self._process: Run | None = None
        self._problem = ""
        self._killed = False
        self._restarts = 0
        self._started = moment()

    def kill(self) -> None:
        """Ends the user's code."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def running(self) -> RunningDatum:
        """Since when the datum runs, and what is in it."""
        return RunningDatum(self._started, tuple(each.entry for each in self._datum.inputs))

    def restart(self, filters: list[str]) -> bool:
        """Starts the user's code once more, if the datum has an input of each path or hash in `filters`; says whether it
        has."""
        known = {text for each in self._datum.inputs for text in (each.entry.path, each.entry.hash.hex())}
        if not known.issuperset(filters):
            return False
        if self._process is not None:
            self._restarts += 1
            self._process.kill()
        return True

    def run(self) -> Outcome:
        """Runs the datum to success, recovery or failure."""
        layout = Layout(Path(tempfile.mkdtemp(dir=self._tools.runtimes.work)))
        outcome = Outcome(self._datum, pps_pb2.DatumState.FAILED, layout=layout)
        transform = self._spec.details.transform
        start = time.monotonic()
        try:
            outcome.stats.download_bytes = self._lay_out(layout.view)
            outcome.stats.download_time.CopyFrom(since(start))
            tries = max(self._spec.details.datum_tries, 1)
            start = time.monotonic()
            while tries:
                restarts = self._restarts
                if self._try(layout, list(transform.cmd), list(transform.stdin)):
                    outcome.state = pps_pb2.DatumState.SUCCESS
                    break
                if self._killed:
                    break
                tries -= restarts == self._restarts
            else:
                if transform.err_cmd and self._try(layout, list(transform.err_cmd), list(transform.err_stdin)):
                    outcome.state = pps_pb2.DatumState.RECOVERED
            outcome.stats.process_time.CopyFrom(since(start))
            outcome.problem = self._problem
            if outcome.state == pps_pb2.DatumState.SUCCESS:
                self._collect(outcome, layout)
            return outcome
        except BaseException:
            outcome.discard()
            raise

    def _collect(self, outcome: Outcome, layout: Layout) -> None:
        """Stores what the command wrote; a datum of which that can't be has failed."""
        start = time.monotonic()
        try:
            outcome.output = self._tools.pfs.writes.collect(layout.places, self._datum.id)
        except Refused as error:
            outcome.state = pps_pb2.DatumState.FAILED
            outcome.problem = error.message
            self._say(error.message)
            return
        outcome.stats.upload_bytes = outcome.output.size
        outcome.stats.upload_time.CopyFrom(since(start))

    def _lay_out(self, view: Path) -> int:
        """Puts the inputs under their names; gives their bytes."""
        view.mkdir()
        size = 0
        for each in self._datum.inputs:
            target = view / each.name / each.entry.path.strip("/")
            if target.exists():
                continue
            given = Given.NAMES if each.spec.empty_files else Given.LINKS if self._runtime.may_link else Given.COPIES
            size += self._tools.pfs.files.export(each.record.commit, each.entry.path, target, given)
        return size

    def _try(self, layout: Layout, cmd: list[str], stdin: list[str]) -> bool:
        """Runs a command once, on an empty `/pfs/out`."""
        layout.begin_try()
        self._say("beginning to run user code")
        if not cmd:
            self._say("errored running user code after 0s: invalid pipeline transform, no command specified")
            return False
        details = self._spec.details
        transform = details.transform
        limit = details.datum_timeout.ToNanoseconds() / 1e9
        spec = RunSpec(
            cmd=cmd,
            stdin="".join(f"{line}\n" for line in stdin),
            env=self._environment(),
            layout=layout,
            image=transform.image,
            working_dir=transform.working_dir,
            user=transform.user,
            files=self._tools.secrets.files(transform),
            timeout=limit if limit > 0 else None,
            resources=_resources(details),
            pod=Pod(details.pod_spec, details.pod_patch, details.metadata.annotations),
        )
        start = time.monotonic()
        lacks_network = threading.Event()

        def on_line(line: str) -> None:
            self._say(line, user=True)
            if _NO_NETWORK.search(line):
                lacks_network.set()

        self._process = self._runtime.start(spec, on_line)
        if self._killed:
            self._process.kill()
        ended = self._process.wait()
        self._problem = "" if ended.problem == TIMED_OUT else ended.problem
        took = f"{(time.monotonic() - start) * 1000:.6f}ms"
        if ended.code is not None and (ended.code == 0 or ended.code in transform.accept_return_code):
            self._say(f"finished running user code after {took}")
            return True
        self._say(f"errored running user code after {took}: {_why(ended)}")
        if lacks_network.is_set():
            self._say(NO_NETWORK)
        return False

    def _environment(self) -> dict[str, str]:
        job, transform = self._job, self._spec.details.transform
        env = {
            "PACH_DATUM_ID": self._datum.id,
            "PACH_IN_WORKER": "true",
            "PACH_JOB_ID": job.job.id,
            "PACH_NAMESPACE": "default",
            "PACH_OUTPUT_COMMIT_ID": job.job.id,
            "PPS_PIPELINE_NAME": job.job.pipeline.name,
            "PPS_PROJECT_NAME": job.job.pipeline.project.name,
            "PPS_POD_NAME": worker_id(self._spec),
            "PPS_SPEC_COMMIT": self._spec.spec_commit.id,
        }
        for each in self._datum.inputs:
            path = each.entry.path.strip("/")
            env[each.name] = f"/pfs/{each.name}" + (f"/{path}" if path else "")
            env[f"{each.name}_COMMIT"] = each.record.commit.id
            if each.spec.join_on:
                env[f"PACH_DATUM_{each.name}_JOIN_ON"] = each.expand(each.spec.join_on)
            if each.spec.group_by:
                env[f"PACH_DATUM_{each.name}_GROUP_BY"] = each.expand(each.spec.group_by)
        env.update(self._tools.secrets.environment(transform))
        env.update(transform.env)
        return env

    def _say(self, text: str, user: bool = False) -> None:
        message = pps_pb2.LogMessage(message=text, datum_id=self._datum.id, user=user)
        for each in self._datum.inputs:
            message.data.add(path=each.entry.path, hash=each.entry.hash)
        self._log(message)


def _why(ended: Ended) -> str:
    if ended.problem:
        return ended.problem
    code = ended.code or 0
    # Those of a shell, too.
    name = signal.strsignal(code - SIGNALLED) if SIGNALLED < code < SIGNALLED + signal.NSIG else None
    if name is None:
        return f"exit status {code}"
    return f"exit status {code} (signal: {name.lower()}{', out of memory?' if code == OUT_OF_MEMORY else ''})"


def since(start: float) -> Duration:
    """The time from a moment of the monotonic clock until now."""
    taken = Duration()
    taken.FromNanoseconds(int((time.monotonic() - start) * 1e9))
    return taken


def _resources(details: pps_pb2.PipelineInfo.Details) -> Resources:
    limits, requests = details.resource_limits, details.resource_requests
    return Resources(
        memory=_memory(limits),
        cpu=limits.cpu or None,
        requested_memory=_memory(requests),
        requested_cpu=requests.cpu or None,
        gpus=limits.gpu.number,
    )


def _memory(resources: pps_pb2.ResourceSpec) -> int | None:
    return quantities.whole(resources.memory) if resources.memory else None
