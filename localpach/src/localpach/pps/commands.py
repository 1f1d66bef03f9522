"""What is common to all commands of a pipeline, and how their ends are told."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

from localpach.pps import quantities
from localpach.pps.secrets import Secrets
from localpach.proto import pps_pb2
from localpach.runtime.interface import Ended, Pod, Resources, RunSpec
from localpach.runtime.layout import Layout

NO_COMMAND = "invalid pipeline transform, no command specified"
# Added to the number of a signal that ends a command.
SIGNALLED = 128
OUT_OF_MEMORY = SIGNALLED + signal.SIGKILL
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 60.0


class Pauses:
    """How long to wait until a command that has ended is started again: twice as long each time, until it has run long."""

    def __init__(self) -> None:
        self._next = SHORTEST_SECONDS

    def after(self, ran: float) -> float:
        """The seconds to wait after it ran so many."""
        if ran > LONGEST_SECONDS:
            self._next = SHORTEST_SECONDS
        seconds, self._next = self._next, min(2 * self._next, LONGEST_SECONDS)
        return seconds


def run_spec(
    info: pps_pb2.PipelineInfo,
    secrets: Secrets,
    cmd: Sequence[str],
    stdin: Sequence[str],
    env: Mapping[str, str],
    layout: Layout,
) -> RunSpec:
    """A command of a pipeline, as its spec wants it to run."""
    details = info.details
    transform = details.transform
    return RunSpec(
        cmd=list(cmd),
        stdin="".join(f"{line}\n" for line in stdin),
        env=dict(env),
        layout=layout,
        image=transform.image,
        working_dir=transform.working_dir,
        user=transform.user,
        files=secrets.files(transform),
        resources=_resources(details),
        pod=Pod(details.pod_spec, details.pod_patch, details.metadata.annotations),
    )


def why(ended: Ended) -> str:
    """Why a command has ended, other than well."""
    if ended.problem:
        return ended.problem
    code = ended.code or 0
    # Those of a shell, too.
    name = signal.strsignal(code - SIGNALLED) if SIGNALLED < code < SIGNALLED + signal.NSIG else None
    if name is None:
        return f"exit status {code}"
    return f"exit status {code} (signal: {name.lower()}{', out of memory?' if code == OUT_OF_MEMORY else ''})"


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
