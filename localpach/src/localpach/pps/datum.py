"""Running the user's code on one datum."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from localpach.clock import elapsed
from localpach.disk import remove_tree
from localpach.errors import Refused
from localpach.pfs.files import Given
from localpach.pfs.writes import Collected
from localpach.pps.batch import Batch
from localpach.pps.combinations import Datum
from localpach.pps.commands import NO_COMMAND, run_spec, why
from localpach.pps.environment import environment
from localpach.pps.records import RunningDatum, moment
from localpach.pps.tools import Tools
from localpach.proto import pps_pb2
from localpach.runtime.interface import TIMED_OUT, Ended, Run, RunSpec, Runtime
from localpach.runtime.layout import Layout
from localpach.waiting import Deadline

Log = Callable[[pps_pb2.LogMessage], None]
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
    """One datum: its tries, each with its `err_cmd`."""

    def __init__(
        self,
        tools: Tools,
        runtime: Runtime,
        job: pps_pb2.JobInfo,
        spec: pps_pb2.PipelineInfo,
        datum: Datum,
        log: Log,
        batch: Batch | None = None,
    ) -> None:
        """With `batch` the command is that one's."""
        self._tools = tools
        self._runtime = runtime
        self._job = job
        self._spec = spec
        self._datum = datum
        self._log = log
        self._batch = batch
        self._process: Run | None = None
        self._problem = ""
        self._killed = threading.Event()
        self._restarts = 0
        self._started = moment()
        commits = {each.name: each.record.commit for each in datum.inputs if each.spec.s3}
        has_out = spec.details.s3_out
        self._gateway = tools.served.open_gateway(commits, has_out) if commits or has_out else None

    def kill(self) -> None:
        """Ends the user's code."""
        self._killed.set()
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
        start = elapsed()
        try:
            place = self._batch.layout if self._batch else layout
            outcome.stats.download_bytes = self._lay_out(place)
            outcome.stats.download_time.CopyFrom(since(start))
            start = elapsed()
            outcome.state = self._run_tries(place)
            outcome.stats.process_time.CopyFrom(since(start))
            outcome.problem = self._problem
            if outcome.state == pps_pb2.DatumState.SUCCESS:
                self._collect(outcome, layout)
            return outcome
        except BaseException:
            outcome.discard()
            if self._batch:
                self._batch.stop()
            raise
        finally:
            if self._gateway:
                self._gateway.close()

    def _run_tries(self, layout: Layout) -> pps_pb2.DatumState:
        """Tries until the command succeeds; after each try that fails, `err_cmd` sees what it left, in the time that it
        left."""
        details = self._spec.details
        transform = details.transform
        limit = details.datum_timeout.ToNanoseconds() / 1e9
        tries, state = max(details.datum_tries, 1), pps_pb2.DatumState.FAILED
        while tries and not self._killed.is_set():
            restarts, deadline = self._restarts, Deadline(limit if limit > 0 else None)
            if not self._batch:
                if layout.out.exists() and not self._runtime.may_link:
                    # An earlier try may have changed the inputs themselves.
                    self._lay_out(layout)
                layout.begin_try()
            if self._gateway:
                self._gateway.begin_try()
            ended = self._run_command("user code", transform.cmd, transform.stdin, layout, deadline, self._batch)
            self._problem = "" if ended.problem in (TIMED_OUT, NO_COMMAND) else ended.problem
            if self._is_good(ended):
                return pps_pb2.DatumState.SUCCESS
            if self._killed.is_set() or restarts != self._restarts:
                continue
            tries -= 1
            if transform.err_cmd:
                kind = "user error handling code"
                ended = self._run_command(kind, transform.err_cmd, transform.err_stdin, layout, deadline)
                if self._is_good(ended):
                    state = pps_pb2.DatumState.RECOVERED
        return state

    def _is_good(self, ended: Ended) -> bool:
        return ended.code is not None and (
            ended.code == 0 or ended.code in self._spec.details.transform.accept_return_code
        )

    def _collect(self, outcome: Outcome, layout: Layout) -> None:
        """Stores what the command wrote; a datum of which that can't be has failed."""
        start = elapsed()
        empty = [each for each in self._datum.inputs if each.spec.empty_files]
        named = {path: each.record.root for each in empty for path in layout.paths_of(each.name)}
        try:
            places = layout.places
            if self._batch:
                spec = self._run_spec([], (), layout, Deadline(None))
                places = self._batch.take(spec, layout, self._begin)
            if self._gateway and self._spec.details.s3_out:
                outcome.output = self._gateway.collect(self._datum.id)
            else:
                outcome.output = self._tools.pfs.writes.collect(places, self._datum.id, named)
        except Refused as error:
            outcome.state = pps_pb2.DatumState.FAILED
            outcome.problem = error.message
            self._say(error.message)
            if self._batch:
                # Its next datum has nothing of what this one leaves.
                self._batch.stop()
            return
        outcome.stats.upload_bytes = outcome.output.size
        outcome.stats.upload_time.CopyFrom(since(start))

    def _lay_out(self, layout: Layout) -> int:
        """Puts the inputs under their names; gives their bytes."""
        layout.clear()
        size = 0
        for each in self._datum.inputs:
            if each.spec.s3:
                continue
            target = layout.view / each.name / each.entry.path.strip("/")
            if target.exists():
                continue
            given = Given.NAMES if each.spec.empty_files else Given.LINKS if self._runtime.may_link else Given.COPIES
            size += self._tools.pfs.files.export(each.record.commit, each.entry.path, target, given)
        return size

    def _run_command(
        self,
        kind: str,
        cmd: Sequence[str],
        stdin: Sequence[str],
        layout: Layout,
        deadline: Deadline,
        batch: Batch | None = None,
    ) -> Ended:
        """Runs a command once, or has that of a batch process the datum, and logs how that goes."""
        self._say(f"beginning to run {kind}")
        start = elapsed()
        lacks_network = threading.Event()

        def on_line(line: str) -> None:
            self._say(line, user=True)
            if _NO_NETWORK.search(line):
                lacks_network.set()

        if not cmd:
            ended = Ended(problem=NO_COMMAND)
        elif deadline.is_over:
            ended = Ended(problem=TIMED_OUT)
        elif batch:
            spec = self._run_spec(cmd, stdin, layout, deadline)
            ended = batch.run(replace(spec, env=self._env(None)), spec.env, on_line, deadline, self._begin)
        else:
            run = self._runtime.start(self._run_spec(cmd, stdin, layout, deadline), on_line)
            self._begin(run)
            ended = run.wait()
        took = f"{(elapsed() - start) * 1000:.6f}ms"
        if self._is_good(ended):
            self._say(f"finished running {kind} after {took}")
            return ended
        self._say(f"errored running {kind} after {took}: {why(ended)}")
        if lacks_network.is_set():
            self._say(NO_NETWORK)
        return ended

    def _begin(self, run: Run) -> None:
        """From now on that is what runs."""
        self._process = run
        if self._killed.is_set():
            run.kill()

    def _env(self, datum: Datum | None) -> dict[str, str]:
        return environment(self._job, self._spec, datum, self._tools.secrets, self._gateway)

    def _run_spec(self, cmd: Sequence[str], stdin: Sequence[str], layout: Layout, deadline: Deadline) -> RunSpec:
        spec = run_spec(self._spec, self._tools.secrets, cmd, stdin, self._env(self._datum), layout)
        serve = self._gateway.serve if self._gateway else None
        return replace(spec, timeout=deadline.left, serve=serve, read_only=self._batch is not None)

    def _say(self, text: str, user: bool = False) -> None:
        message = pps_pb2.LogMessage(message=text, datum_id=self._datum.id, user=user)
        for each in self._datum.inputs:
            message.data.add(path=each.entry.path, hash=each.entry.hash)
        self._log(message)


def since(start: float) -> Duration:
    """The time from a moment of the monotonic clock until now."""
    taken = Duration()
    taken.FromNanoseconds(int((elapsed() - start) * 1e9))
    return taken
