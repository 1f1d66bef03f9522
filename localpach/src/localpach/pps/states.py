"""The states of pipelines. One that has the state that fits it is not looked at again before something changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import NamedTuple

from localpach.pps.jobs import Jobs
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineRecord, Standing
from localpach.proto import pps_pb2
from localpach.runtime.choice import Runtimes

# The states of pipelines whose jobs are started.
WORKING = (pps_pb2.PIPELINE_RUNNING, pps_pb2.PIPELINE_STANDBY)


class Demands(NamedTuple):
    """What the state of a pipeline hangs on, of its newest version, which stays as it is."""

    image: str
    gpus: int
    autoscaling: bool


class States:
    """Gives each pipeline the state that fits it."""

    def __init__(self, pipelines: Pipelines, jobs: Jobs, runtimes: Runtimes) -> None:
        self._pipelines = pipelines
        self._jobs = jobs
        self._runtimes = runtimes
        # Those whose state fits as long as their image can run.
        self._settled: dict[Standing, Demands] = {}

    def update(self, alone: Callable[[str], AbstractContextManager[None]]) -> dict[int, pps_pb2.PipelineState]:
        """Changes the states that fit no more; what is done for one pipeline is done `alone`. Gives the states by number,
        but of no pipeline whose state can't be told."""
        standings = self._pipelines.standings()
        # Asked for once: that may be Docker's daemon, and a thousand pipelines may have one image.
        crash_reason = cache(self._crash_reason)
        fit: set[Demands] = set()
        for demands in set(self._settled.values()):
            with alone(f"image {demands.image}"):
                if not crash_reason(demands):
                    fit.add(demands)
        self._settled = {
            each: demands for each, demands in self._settled.items() if each in standings and demands in fit
        }
        states = {each.num: each.state for each in self._settled}
        changes = []
        for standing in standings - self._settled.keys():
            pipeline = self._pipelines.by_num(standing.num)
            if pipeline is None:
                continue
            with alone(f"pipeline {pipeline.name}"):
                state, reason = self._fitting(pipeline, crash_reason)
                states[pipeline.num] = state
                if (state, reason) != (pipeline.state, pipeline.reason):
                    changes.append((pipeline, state, reason))
        self._pipelines.set_states(changes)
        return states

    def _fitting(
        self, pipeline: PipelineRecord, crash_reason: Callable[[Demands], str]
    ) -> tuple[pps_pb2.PipelineState, str]:
        """The state that fits a pipeline, and its reason."""
        if pipeline.stopped:
            return pps_pb2.PIPELINE_PAUSED, ""
        details = self._pipelines.newest_info(pipeline).details
        demands = Demands(details.transform.image, details.resource_limits.gpu.number, details.autoscaling)
        reason = crash_reason(demands)
        if reason:
            return pps_pb2.PIPELINE_CRASHING, reason
        if not demands.autoscaling:
            standing = Standing(pipeline.num, pipeline.version, False, pps_pb2.PIPELINE_RUNNING)
            self._settled[standing] = demands
        elif not self._jobs.unfinished(pipeline.num):
            return pps_pb2.PIPELINE_STANDBY, ""
        return pps_pb2.PIPELINE_RUNNING, ""

    def _crash_reason(self, demands: Demands) -> str:
        return self._runtimes.of(demands.image).crash_reason(demands.image, demands.gpus)
