"""What tests of downloads and archives share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks.corpus import fetch
from tests.site import Site, serving


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, short pauses, and no run whose log is kept."""
    monkeypatch.setenv("SCRIPTWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.01)
    with disable_run_logger():
        yield tmp_path / "cache"


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server of the test's own."""
    with serving() as site:
        yield site
