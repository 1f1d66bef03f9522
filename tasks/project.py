"""The project's pipelines and repos: the one table that flows, waits, gate, results, events and teardown read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect_pachyderm.specs import Template

SPECS = Path(__file__).parent.parent / "pipeline_specs"


@dataclass(frozen=True)
class Pipeline:
    """One pipeline; its specification is the jsonnet file of its name.

    `arguments` are those of the specification that a run sets, `outputs` the files that a run fetches.
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]

    def template(self, values: Mapping[str, object]) -> Template:
        """The specification with its arguments taken from `values`, which may hold others, too."""
        return Template(SPECS / f"{self.name}.jsonnet", {name: str(values[name]) for name in self.arguments})


TRAIN = Pipeline("GoT_train", ("image", "model", "minutes", "seed", "format"), ("model-results", "metrics.json"))
GENERATE = Pipeline("GoT_generate", ("image", "tokens", "seed"), ("new_script.txt", "script_facts.json"))
EVALUATE = Pipeline("GoT_evaluate", ("image",), ("evaluation.json",))
# Those that run for every commit of scripts, each on what the one before has made.
CHAIN = (TRAIN, GENERATE)
# The last first, as they can be deleted.
ALL = (EVALUATE, GENERATE, TRAIN)

SCRIPTS_REPO = "GoT_scripts"
SCRIPTS_DESCRIPTION = "Scripts that the language model is trained on."
CANDIDATE_REPO = "GoT_candidate"
RELEASED_REPO = "GoT_released"
LOCK_REPO = "GoT_lock"
BRANCH = "master"
