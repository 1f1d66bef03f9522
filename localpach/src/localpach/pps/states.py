"""The states of pipelines, which are looked at when something changes for them: with others' images, if these come or go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from localpach.pps.jobs import Jobs
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineRecord
from localpach.proto import pps_pb2
from localpach.proto.pps_pb2 import PipelineInfo
from localpach.runtime.choice import Runtimes
from localpach.waiting import Alone


class Demands(NamedTuple):
    """What a pipeline can't run without."""

    image: str
    gpus: int


class Spec(NamedTuple):
    """What a version of a pipeline says that its state hangs on."""

    version: int
    type: PipelineInfo.PipelineType
    autoscaling: bool
    demands: Demands


class States:
    """Gives each pipeline the state that fits it."""

    def __init__(self, pipelines: Pipelines, jobs: Jobs, runtimes: Runtimes) -> None:
        self._pipelines = pipelines
        self._jobs = jobs
        self._runtimes = runtimes
        self._specs: dict[int, Spec] = {}
        self._working: dict[int, PipelineInfo.PipelineType] = {}  # of those whose jobs are started
        self._demanding: defaultdict[Demands, set[int]] = defaultdict(set)
        # Why what is demanded can't be had; None where that can't be told.
        self._reasons: dict[Demands, str | None] = {}

    def look_at_images(self, alone: Alone) -> set[int]:
        """The pipelines whose image has come or gone since the last time: nobody tells of that."""
        found: set[int] = set()
        for demands, pipelines in self._demanding.items():
            reason = None
            with alone(f"image {demands.image}"):
                reason = self._crash_reason(demands)
            if reason != self._reasons.get(demands):
                found |= pipelines
            self._reasons[demands] = reason
        return found

    def update(self, nums: Iterable[int], alone: Alone) -> list[int]:
        """Changes the states that fit no more among those of some pipelines; what is done for one of them is done `alone`.
        Gives the numbers of those whose state is told."""
        told, changes = [], []
        for num in nums:
            self._working.pop(num, None)
            pipeline = self._pipelines.by_num(num)
            if pipeline is None:
                self._forget(num)
                told.append(num)
                continue
            with alone(f"pipeline {pipeline.name}"):
                state, reason = self._fitting(pipeline)
                if (state, reason) != (pipeline.state, pipeline.reason):
                    changes.append((pipeline, state, reason))
                told.append(num)
        self._pipelines.set_states(changes)
        return told

    @property
    def is_any_crashing(self) -> bool:
        """Whether a pipeline lacks what it demands."""
        return any(self._reasons.values())

    def is_working(self, pipeline: int) -> bool:
        """Whether a pipeline's jobs are started."""
        return pipeline in self._working

    def is_service(self, pipeline: int) -> bool:
        """Whether each job of a pipeline at work runs until the next one can."""
        return self._working.get(pipeline) == PipelineInfo.PIPELINE_TYPE_SERVICE

    def spouts(self) -> list[int]:
        """The numbers of those whose command is to run all the time."""
        return [num for num, type in self._working.items() if type == PipelineInfo.PIPELINE_TYPE_SPOUT]

    def _fitting(self, pipeline: PipelineRecord) -> tuple[pps_pb2.PipelineState, str]:
        """The state that fits a pipeline, and its reason."""
        if pipeline.stopped:
            self._forget(pipeline.num)
            return pps_pb2.PIPELINE_PAUSED, ""
        spec = self._spec(pipeline)
        reason = self._reasons.get(spec.demands)
        if reason is None:
            reason = self._reasons[spec.demands] = self._crash_reason(spec.demands)
        if reason:
            return pps_pb2.PIPELINE_CRASHING, reason
        self._working[pipeline.num] = spec.type
        if spec.autoscaling and self._jobs.oldest(pipeline.num) is None:
            return pps_pb2.PIPELINE_STANDBY, ""
        return pps_pb2.PIPELINE_RUNNING, ""

    def _spec(self, pipeline: PipelineRecord) -> Spec:
        spec = self._specs.get(pipeline.num)
        if spec is None or spec.version != pipeline.version:
            self._forget(pipeline.num)
            info = self._pipelines.newest_info(pipeline)
            demands = Demands(info.details.transform.image, info.details.resource_limits.gpu.number)
            spec = Spec(pipeline.version, info.type, info.details.autoscaling, demands)
            self._specs[pipeline.num] = spec
            self._demanding[demands].add(pipeline.num)
        return spec

    def _forget(self, pipeline: int) -> None:
        spec = self._specs.pop(pipeline, None)
        if spec is None:
            return
        self._demanding[spec.demands].discard(pipeline)
        if not self._demanding[spec.demands]:
            del self._demanding[spec.demands]
            self._reasons.pop(spec.demands, None)

    def _crash_reason(self, demands: Demands) -> str:
        return self._runtimes.of(demands.image).crash_reason(demands.image, demands.gpus)
