"""Deployments whose code comes out of a git repository, on a worker somewhere else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.flows import cheap
from tests.flows.deployed import Deployed, deployed

PULL = """
pull:
  - prefect.deployments.steps.git_clone:
      repository: file://{}
      branch: main
"""


def prepare(it: Deployed) -> None:
    """The code in a repository, an empty home, a folder without anything in it for the worker, and no folder named."""
    for name in ("LOCALPACH_ROOT", "SCRIPTWRIGHT_OUTPUT", "SCRIPTWRIGHT_CACHE"):
        del it.env[name]
    it.env.pop("XDG_DATA_HOME", None)
    # What was downloaded once need not be again.
    it.env.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    it.env["HOME"] = str(it.folder / "home")
    it.workplace = it.folder / "elsewhere"
    for folder in (it.folder / "home", it.workplace):
        folder.mkdir()
    it.root = it.folder / "home/.local/share/prefect-pachyderm/.localpach"
    with (it.project / "prefect.yaml").open("a") as file:
        file.write(PULL.format(it.project))
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for arguments in (("init", "-b", "main"), ("add", "--all"), (*who, "commit", "-m", "all")):
        subprocess.run(["git", *arguments], cwd=it.project, env=it.env, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_second_run_finds_what_the_first_has_kept(tmp_path: Path) -> None:
    source = cheap.scripts(tmp_path / "scripts.tar.gz", 1, 50.0)
    with deployed(tmp_path, prepare) as it:
        logs = []
        for _ in range(2):
            ended = it.run("train/train-and-write", source=str(source))
            logs.append(it.log_of(ended.id))
            assert ended.state_name == "Completed", f"{ended.state}\n{logs[-1]}"
        assert f"data in {it.root}" in logs[0]
        assert "no new commit" in logs[1]
        assert len(list(it.pachyderm.list_job("GoT_train"))) == 1
        assert len(list((it.root.parent / "output").glob("*/report.html"))) == 1
        assert not list(it.workplace.iterdir())
