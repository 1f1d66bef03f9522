"""The tables of the project agree with each other: models, pipelines and their specifications."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from flows.parameters import (
    LEAST_MINUTES,
    MOST_MINUTES,
    MOST_TOKENS,
    Format,
    Model,
    RecipeError,
    RerunParameters,
    TrainParameters,
)
from flows.train import templates_of
from model import limits
from model.configs import CONFIGS
from model.limits import FORMATS, LONGEST
from tasks import project
from tasks.project import Pipeline


def test_the_models_to_choose_from_are_those_there_are() -> None:
    assert sorted(get_args(Model)) == sorted(CONFIGS)


def test_a_script_may_be_as_long_as_the_model_writes() -> None:
    assert MOST_TOKENS == LONGEST


def test_the_formats_to_choose_from_are_those_there_are() -> None:
    assert sorted(get_args(Format)) == sorted(["", *FORMATS])


@pytest.mark.parametrize("pipeline", project.ALL, ids=lambda pipeline: pipeline.name)
def test_a_specification_takes_the_arguments_of_the_table(pipeline: Pipeline) -> None:
    template = pipeline.template(dict.fromkeys(pipeline.arguments, 1))
    text = template.file.read_text()
    (parameters,) = re.findall(r"^function\((.*)\)$", text, re.MULTILINE)
    taken = {each.partition("=")[0].strip(): "=" in each for each in parameters.split(",")}
    assert set(template.arguments) <= set(taken)
    assert {name for name, has_default in taken.items() if not has_default} <= set(template.arguments)
    assert f"name: '{pipeline.name}'" in text


def test_a_run_sets_the_arguments_of_both() -> None:
    train, generate = templates_of(TrainParameters(model="quick", seed=3, tokens=700), "an image")
    assert (train.file.stem, generate.file.stem) == ("GoT_train", "GoT_generate")
    assert train.arguments == {"image": "an image", "model": "quick", "minutes": "", "seed": "3", "format": ""}
    assert generate.arguments == {"image": "an image", "tokens": "700", "seed": "3"}


def test_a_run_takes_a_model_or_minutes() -> None:
    run = TrainParameters(minutes=7.5)
    assert run.recipe == "7.5-minute"
    assert templates_of(run, "an image")[0].arguments["minutes"] == "7.5"
    assert [TrainParameters(model="small").recipe, RerunParameters(minutes=5).recipe] == ["small", "5-minute"]
    with pytest.raises(RecipeError, match=r"the model quick and 5 minutes .*: give model or minutes"):
        _ = TrainParameters(model="quick", minutes=5).recipe


def test_a_run_takes_as_many_minutes_as_the_model() -> None:
    assert (LEAST_MINUTES, MOST_MINUTES) == (limits.LEAST_MINUTES, limits.MOST_MINUTES)


def test_every_output_has_one_pipeline() -> None:
    outputs = [output for pipeline in project.ALL for output in pipeline.outputs]
    assert len(outputs) == len(set(outputs)) == 5
