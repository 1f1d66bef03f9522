"""The states of pipelines. One that has the state that fits it is not looked at again before something changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import NamedTuple

from localpach.pps.jobs import Jobs
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineRecord
from localpach.proto import pps_pb2
from localpach.proto.pps_pb2 import PipelineInfo
from localpach.runtime.choice import Runtimes

# The states of pipelines whose jobs are started.
WORKING = (pps_pb2.PIPELINE_RUNNING, pps_pb2.PIPELINE_STANDBY)


class Demands(NamedTuple):
    """What a pipeline can't run without."""

    image: str
    gpus: int


class States:
    """Gives each pipeline the state that fits it."""

    def __init__(self, pipelines: Pipelines, jobs: Jobs, runtimes: Runtimes) -> None:
        self._pipelines = pipelines
        self._jobs = jobs
        self._runtimes = runtimes
        # What those demand that were seen to run, by number. It fits as long as they are said to run.
        self._running: dict[int, Demands] = {}
        self._types: dict[int, PipelineInfo.PipelineType] = {}  # of those at work that are no transforms

    def update(self, alone: Callable[[str], AbstractContextManager[None]]) -> dict[int, pps_pb2.PipelineState]:
        """Changes the states that fit no more; what is done for one pipeline is done `alone`. Gives the states by number,
        but of no pipeline whose state can't be told."""
        # Asked for once: that may be Docker's daemon, and a thousand pipelines may have one image.
        crash_reason = cache(self._crash_reason)
        running = self._pipelines.running()
        fit = self._fit(crash_reason, alone)
        self._running = {num: each for num, each in self._running.items() if num in running and each in fit}
        states = dict.fromkeys(self._running, pps_pb2.PIPELINE_RUNNING)
        changes = []
        others = map(self._pipelines.by_num, running - self._running.keys())
        for pipeline in [*filter(None, others), *self._pipelines.not_running()]:
            with alone(f"pipeline {pipeline.name}"):
                state, reason = self._fitting(pipeline, crash_reason)
                states[pipeline.num] = state
                if (state, reason) != (pipeline.state, pipeline.reason):
                    changes.append((pipeline, state, reason))
        self._pipelines.set_states(changes)
        self._types = {num: each for num, each in self._types.items() if states.get(num) in WORKING}
        return states

    def spouts(self) -> list[int]:
        """The numbers of those whose command is to run all the time."""
        return self._of_type(PipelineInfo.PIPELINE_TYPE_SPOUT)

    def services(self) -> list[int]:
        """The numbers of those at work of which each job runs until the next one can."""
        return self._of_type(PipelineInfo.PIPELINE_TYPE_SERVICE)

    def _of_type(self, wanted: PipelineInfo.PipelineType) -> list[int]:
        return [num for num, each in self._types.items() if each == wanted]

    def _fit(
        self, crash_reason: Callable[[Demands], str], alone: Callable[[str], AbstractContextManager[None]]
    ) -> set[Demands]:
        """What can still be had of what is demanded."""
        found = set()
        for demands in set(self._running.values()):
            with alone(f"image {demands.image}"):
                if not crash_reason(demands):
                    found.add(demands)
        return found

    def _fitting(
        self, pipeline: PipelineRecord, crash_reason: Callable[[Demands], str]
    ) -> tuple[pps_pb2.PipelineState, str]:
        """The state that fits a pipeline, and its reason."""
        if pipeline.stopped:
            return pps_pb2.PIPELINE_PAUSED, ""
        info = self._pipelines.newest_info(pipeline)
        details = info.details
        demands = Demands(details.transform.image, details.resource_limits.gpu.number)
        reason = crash_reason(demands)
        if reason:
            return pps_pb2.PIPELINE_CRASHING, reason
        self._types.pop(pipeline.num, None)
        if info.type != PipelineInfo.PIPELINE_TYPE_TRANSFORM:
            self._types[pipeline.num] = info.type
        if not details.autoscaling:
            self._running[pipeline.num] = demands
        elif not self._jobs.unfinished(pipeline.num):
            return pps_pb2.PIPELINE_STANDBY, ""
        return pps_pb2.PIPELINE_RUNNING, ""

    def _crash_reason(self, demands: Demands) -> str:
        return self._runtimes.of(demands.image).crash_reason(demands.image, demands.gpus)
