"""What others install: wheels of localpach and prefect-pachyderm, each alone in a fresh environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.jobs import content, last_job, pfs, pipeline, put
from tests.servers import Server

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
# On other Pythons where this machine has them, too.
VERSIONS = ("3.11", "3.12", "3.13")

Installed = Callable[[str, str], Path]


def run(*command: object, **variables: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pythons() -> list[str]:
    """The Pythons that can be had here, this one among them."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    find = [str(UV), "python", "find", "--no-python-downloads"]
    there = [
        each for each in VERSIONS if not subprocess.run([*find, each], capture_output=True, check=False).returncode
    ]
    return sorted({here, *there})


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both wheels, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheels")
    left_behind = shutil.ignore_patterns(".venv", "*.egg-info", "build", "__pycache__", "*_pb2.py", "*_pb2.pyi")
    for name in ("localpach", "prefect_pachyderm"):
        shutil.copytree(ROOT / name, folder / "sources" / name, ignore=left_behind)
        run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, folder / "sources" / name)
    return folder


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Makes an environment with one wheel and what it needs; gives its folder of programs."""

    def install(name: str, version: str) -> Path:
        place = tmp_path_factory.mktemp("environment")
        run(UV, "venv", "--quiet", "--python", version, place)
        (wheel,) = wheels.glob(f"{name}-*.whl")
        run(UV, "pip", "install", "--quiet", "--python", place, wheel)
        return place / "bin"

    return install


@pytest.mark.slow
@pytest.mark.parametrize("version", pythons())
def test_localpach_serves_pipelines(installed: Installed, version: str, tmp_path: Path) -> None:
    server = Server(tmp_path, program=str(installed("localpach", version) / "localpach"))
    server.start()
    try:
        client = server.client
        client.create_repo("in")
        put(client, "in", {"/a": b"one"})
        pipeline(client, "upper", "tr a-z A-Z < /pfs/in/a > /pfs/out/a", pfs("in"))
        assert last_job(client, "upper").reason == ""
        assert content(client, "upper", "/a") == b"ONE"
        page = f"http://{json.loads((tmp_path / 'address').read_text())['json_address']}/"
        files = [file.name for file in (ROOT / "localpach" / "src" / "localpach" / "page").iterdir()]
        assert {httpx.get(page + name).status_code for name in ["", *files]} == {200}
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("version", pythons())
def test_the_blocks_register(installed: Installed, version: str, tmp_path: Path) -> None:
    prefect = installed("prefect_pachyderm", version) / "prefect"
    settings = {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_API_URL": "",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }
    shown = run(prefect, "block", "register", "-m", "prefect_pachyderm", **settings)
    assert "Pachyderm Credentials" in shown
    assert "Pachyderm Pipeline" in shown
