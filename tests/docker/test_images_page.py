"""The commands of docs/images.md, run as they stand in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from docker import DockerClient
from prefect.settings import PREFECT_API_URL

from tests.docker.conftest import FULL_BASE

ROOT = Path(__file__).parents[2]
BASES = ("python:3.12-slim", "python:3.13-slim")
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".localpach", "output", ".cache", "__pycache__", ".*_cache")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_page(host: DockerClient, prefect: None, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT, project, ignore=LEFT_BEHIND)
    (project / ".venv").symlink_to(ROOT / ".venv")
    # What stands in for the base image can't have its digest.
    dockerfile = project / "Dockerfile"
    dockerfile.write_text(re.sub("@sha256:[0-9a-f]{64}", "", dockerfile.read_text()))
    for name in BASES:
        host.images.get(FULL_BASE).tag(*name.split(":"))
    own = ("PACH", "LOCALPACH", "IMAGE", "BASE_IMAGE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    env["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
    printed = {}
    try:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "images.md").read_text(), re.DOTALL):
            for command in block.splitlines():
                done = subprocess.run(
                    command, shell=True, cwd=project, env=env, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
                printed[command] = done.stdout + done.stderr
    finally:
        subprocess.run(["make", "down"], cwd=project, env=env, check=False, capture_output=True)
    assert "-bundle" in printed[".venv/bin/localpach image list --root .localpach"]
    assert len(host.images.list("tensor_flow_rnn_got")) == len(BASES)
