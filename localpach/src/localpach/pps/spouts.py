"""Spouts: pipelines without an input, whose command runs for ever and writes to their output itself."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterable
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from localpach.clock import elapsed
from localpach.disk import remove_tree
from localpach.errors import LocalpachError, Refused
from localpach.faults import fault_of_disk
from localpach.pps.commands import NO_COMMAND, Pauses, run_spec, why
from localpach.pps.environment import spout_environment
from localpach.pps.logs import NO_JOB
from localpach.pps.records import PipelineRecord
from localpach.pps.services import listen, reached
from localpach.pps.specs import worker_id
from localpach.pps.tools import Tools
from localpach.proto import pps_pb2
from localpach.runtime.interface import PACHD_PORT, Ended, Run, RunSpec, Runtime
from localpach.runtime.layout import Layout
from localpach.waiting import Alone

# How the names of their folders begin.
SPOUT = "spout-"

log = logging.getLogger("localpach")


class Spouts:
    """The spouts that run, by number and version of their pipelines."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._running: dict[tuple[int, int], _Spout] = {}
        self._ending: list[_Spout] = []

    @property
    def is_empty(self) -> bool:
        """Whether none runs, or has yet to end."""
        self._ending = [spout for spout in self._ending if spout.is_alive()]
        return not self._running and not self._ending

    def keep(self, wanted: Iterable[PipelineRecord], alone: Alone) -> None:
        """Starts those of `wanted` that don't run, and ends the others; what is done for one of them is done `alone`."""
        records = {(each.num, each.version): each for each in wanted}
        for key in self._running.keys() - records.keys():
            self._ending.append(self._running.pop(key))
            with alone(self._ending[-1].name):
                self._ending[-1].stop()
        for key in records.keys() - self._running.keys():
            with alone(f"spout {records[key].name}"):
                spout = _Spout(self._tools, records[key])
                spout.start()
                self._running[key] = spout

    def close(self) -> None:
        """Ends all."""
        self.keep((), lambda name: nullcontext())
        for spout in self._ending:
            spout.join()


class _Spout(threading.Thread):
    """One spout, while it is wanted."""

    def __init__(self, tools: Tools, record: PipelineRecord) -> None:
        super().__init__(name=f"spout {record.name}", daemon=True)
        self._tools = tools
        self._record = record
        self._info = tools.pipelines.newest_info(record)
        self._stopped = threading.Event()
        self._run: Run | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Ends the command, which is not started again."""
        with self._lock:
            self._stopped.set()
            if self._run is not None:
                self._run.kill()

    def run(self) -> None:
        """Starts the command again and again."""
        pauses = Pauses()
        while not self._stopped.is_set():
            start = elapsed()
            problem = self._try()
            if self._stopped.is_set():
                return
            wait = pauses.after(elapsed() - start)
            self._say(f"{problem}; it is started again in {wait:.0f} s")
            self._stopped.wait(wait)

    def _try(self) -> str:
        """Runs the command once; gives how that has ended."""
        try:
            return f"user code has ended: {why(self._run_once())}"
        except Exception as error:
            told = error if isinstance(error, LocalpachError) else fault_of_disk(error)
            if told is None:
                log.exception("unexpected error with spout %s", self._record.name)
            return f"user code could not be run: {told.message if told else error}"

    def _run_once(self) -> Ended:
        transform = self._info.details.transform
        if not transform.cmd:
            raise Refused(NO_COMMAND)
        runtime = self._tools.runtimes.of(transform.image)
        credentials = self._tools.secrets.pull_credentials(transform)
        runtime.prepare(transform.image, credentials, self._say, self._stopped.is_set)
        layout = Layout(Path(tempfile.mkdtemp(prefix=SPOUT, dir=self._tools.runtimes.work)))
        try:
            layout.begin_try()
            env = spout_environment(self._info, self._tools.secrets)
            spec = run_spec(self._info, self._tools.secrets, transform.cmd, transform.stdin, env, layout)
            serve = partial(self._tools.served.spout, self._record.name.output)
            spec = replace(spec, serve=serve, port=PACHD_PORT)
            spout = self._info.details.spout
            if not spout.HasField("service"):
                return self._run_to_its_end(runtime, spec)
            with closing(listen(spout.service, self._say)) as listener:
                return self._run_to_its_end(runtime, reached(spec, spout.service, listener))
        finally:
            with suppress(OSError):
                remove_tree(layout.view.parent)

    def _run_to_its_end(self, runtime: Runtime, spec: RunSpec) -> Ended:
        run = runtime.start(spec, partial(self._say, user=True))
        with self._lock:
            self._run = run
            if self._stopped.is_set():
                run.kill()
        return run.wait()

    def _say(self, text: str, user: bool = False) -> None:
        name = self._record.name
        message = pps_pb2.LogMessage(message=text, user=user, job_id=NO_JOB, worker_id=worker_id(self._info))
        message.project_name, message.pipeline_name = name
        self._tools.logs.write(self._record.num, message)
