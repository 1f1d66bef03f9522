"""What all tests share: a Prefect server for the session, and data directories of their own."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers import Server

# A make that a test starts is a person's, not a part of the one that runs the tests.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of which a test may take longest begin first, so that none of them is left alone at the end."""
    longest: dict[Path, float] = defaultdict(float)
    for item in items:
        marker = item.get_closest_marker("timeout")
        if marker is not None:
            longest[item.path] = max(longest[item.path], marker.args[0])
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """A temporary Prefect server with a database of its own."""
    # Tests that need no Prefect start without it, and where it is not installed.
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A localpach of the module's own."""
    from tests.servers import Server  # noqa: PLC0415

    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Path]:
    """A folder in which the flows keep everything: the embedded Pachyderm, the results and the cache."""
    from prefect_pachyderm.embedded import find_localpach  # noqa: PLC0415
    from tests.environments import lend  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("run")
    # Of all workers of the run, and the same path as in the next one.
    lend(folder / "localpach", tmp_path_factory.getbasetemp().parent / "environments")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PACHYDERM_BLOCK", "PACHD_ADDRESS", "PACH_PYTHON_AUTH_TOKEN", "IMAGE_REGISTRY"):
            patch.delenv(name, raising=False)
        patch.setenv("PACH_CONFIG", str(folder / "no-pachctl.json"))
        patch.setenv("LOCALPACH_ROOT", str(folder / "localpach"))
        patch.setenv("IMAGE_BUILDER", "bundle")
        patch.setenv("SCRIPTWRIGHT_OUTPUT", str(folder / "output"))
        patch.setenv("SCRIPTWRIGHT_CACHE", str(folder / "cache"))
        yield folder
        stop = [find_localpach(), "stop", "--root", str(folder / "localpach")]
        subprocess.run(stop, check=False, capture_output=True)
