"""Pipelines made anew from what their users have written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from google.protobuf.json_format import MessageToDict

from localpach.pps import specs
from localpach.pps.defaults import BUILT_IN, Defaults, Spec
from localpach.pps.lifecycle import Lifecycle
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineName, PipelineRecord
from localpach.proto import pps_pb2
from localpach.storage.store import Store


class Regeneration:
    """Makes new versions of pipelines whose specs nobody sends."""

    def __init__(self, store: Store, pipelines: Pipelines, lifecycle: Lifecycle, defaults: Defaults) -> None:
        self._store = store
        self._pipelines = pipelines
        self._lifecycle = lifecycle
        self._defaults = defaults

    def rerun(self, name: PipelineName, reprocess: bool) -> None:
        """A new version of the same spec, which makes a job; with `reprocess` it runs all datums again."""
        with self._store.write():
            self._create(self._spec(self._pipelines.get(name)), reprocess)

    def set_defaults(
        self, project: str | None, text: str, regenerate: bool, reprocess: bool, dry_run: bool
    ) -> list[PipelineName]:
        """Sets the defaults of a project, or of the cluster; with `regenerate`, pipelines whose effective spec is another
        by them get a new version, and their names are given. A dry run changes nothing."""
        with self._store.write():
            self._defaults.check(project, text)
            affected = list(self._affected(project, text)) if regenerate else []
            if not dry_run:
                self._defaults.set(project, text)
                for spec in affected:
                    self._create(spec, reprocess)
            return [PipelineName.of(spec.request.pipeline) for spec in affected]

    def _affected(self, project: str | None, text: str) -> Iterator[Spec]:
        """What the pipelines of a project, or all, come to by new defaults, where that is not what they are."""
        for record in self._pipelines.all():
            if project in (None, record.name.project):
                spec = self._spec(record, {project: text})
                if spec.effective != self._pipelines.newest_info(record).effective_spec_json:
                    yield spec

    def _spec(self, record: PipelineRecord, changed: Mapping[str | None, str] | None = None) -> Spec:
        info = self._pipelines.newest_info(record)
        return self._defaults.spec(info.details_json or _written(info), changed)

    def _create(self, spec: Spec, reprocess: bool) -> None:
        spec.request.update, spec.request.reprocess = True, reprocess
        self._lifecycle.create(spec.request, spec.user, spec.effective)


def _written(info: pps_pb2.PipelineInfo) -> str:
    """What the user may have written, JSON, where that was not kept: what the pipeline has, but for what all have."""
    spec = MessageToDict(specs.request_of(info))
    return json.dumps({key: value for key, value in spec.items() if value != BUILT_IN.get(key)})
