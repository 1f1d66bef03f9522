"""Prefect's own rules for blocks, and that it finds ours."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import iter_modules

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import ValidationError

import prefect_pachyderm
from prefect_pachyderm import PachydermCredentials, PachydermPipeline


class OurSuite(BlockStandardTestSuite):
    """Prefect's own rules; that for the picture asks the network, which a test does not."""

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        assert block._logo_url
        assert block._logo_url.scheme == "https"


class TestCredentials(OurSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return PachydermCredentials


class TestPipeline(OurSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return PachydermPipeline


MODULES = [
    prefect_pachyderm.__name__,
    *(each.name for each in iter_modules([str(Path(prefect_pachyderm.__file__).parent)])),
]


@pytest.mark.parametrize("name", MODULES)
def test_registering_a_module_registers_no_block_but_ours(name: str) -> None:
    """As `prefect block register` finds them."""
    module = import_module(name if name == "prefect_pachyderm" else f"prefect_pachyderm.{name}")
    found = {each for _, each in inspect.getmembers(module) if Block.is_block_class(each)}
    assert found <= {PachydermCredentials, PachydermPipeline}


def test_prefect_finds_the_collection() -> None:
    (found,) = [each for each in entry_points(group="prefect.collections") if each.name == "prefect_pachyderm"]
    collection = found.load()
    assert (collection.PachydermCredentials, collection.PachydermPipeline) == (PachydermCredentials, PachydermPipeline)


def test_what_a_form_shows_of_a_pipeline() -> None:
    fields = PachydermPipeline.model_json_schema()["properties"]
    titles = ["Credentials", "Specification", "Reprocess", "Timeout", "Start grace"]
    assert [field["title"] for field in fields.values()] == titles
    assert PachydermPipeline(spec={}).reprocess is False
    assert (PachydermPipeline.get_block_type_slug(), PachydermPipeline._block_type_name) == (
        "pachyderm-pipeline",
        "Pachyderm Pipeline",
    )


@pytest.mark.parametrize("field", ["timeout_seconds", "start_grace_seconds"])
def test_times_are_longer_than_nothing(field: str) -> None:
    assert PachydermPipeline.model_validate({"spec": {}, field: 0.001})
    with pytest.raises(ValidationError):
        PachydermPipeline.model_validate({"spec": {}, field: 0})
