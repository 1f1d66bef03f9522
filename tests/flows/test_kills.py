"""Everything that takes part in a run is killed at random moments, again and again: what comes of it is as if nothing had been."""

from __future__ import annotations

import json
import os
import re
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from prefect import State
from python_pachyderm.service import pps_proto

from prefect_pachyderm.commits import input_commits
from prefect_pachyderm.embedded import attach_or_start, run_localpach
from tests.flows import cheap
from tests.flows.deployed import Deployed, deployed
from tests.flows.killing import Killer, is_of, running

KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("SEED", "1"))
KILLS_A_ROUND = 8
SILENT_SECONDS = 15
RUN_SECONDS = 900
DEPLOYMENTS = {"train": "train/train-and-write", "retrain": "retrain/retrain-and-release"}
TOLERANCE = 1.02
MAKEFILE = Path(__file__).parents[2] / "Makefile"


def prepare(it: Deployed) -> None:
    """An image in which nothing is installed, turns that outlive the server, as with `make up`, and a place for temporary files."""
    (it.project / "Dockerfile").write_text("FROM python:3.12-slim\nCOPY model /code/model\n")
    it.env |= re.findall(r"(PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE) \?= (\S+)", MAKEFILE.read_text())
    (it.folder / "tmp").mkdir()
    it.env["TMPDIR"] = str(it.folder / "tmp")


class Round(NamedTuple):
    """One archive of scripts, what is run on it, and how well the model does on it."""

    flow: str
    quality: float
    source: Path


class Rounds:
    """Scripts come, one after the other, and runs are killed until one has gone through."""

    def __init__(self, it: Deployed) -> None:
        self.it = it
        self.killer = Killer(it, SEED)
        self.rounds: list[Round] = []
        self.runs: Counter[str] = Counter()

    def go(self, kills: int) -> None:
        """One more archive of scripts, killed so often on its way."""
        number, random = len(self.rounds), self.killer.random
        flow, quality = random.choice(list(DEPLOYMENTS)), random.uniform(30, 90)
        source = cheap.scripts(self.it.folder / f"scripts-{number}.tar.gz", number, quality)
        self.rounds.append(Round(flow, quality, source))
        left = kills
        while True:
            run_id = self.it.start(DEPLOYMENTS[flow], source=str(source), tokens=200)
            if random.random() < 0.8:
                self._until(run_id, "Running")
            while left and not self._state(run_id).is_final():
                self.killer.strike(run_id)
                left -= 1
            state = self._until(run_id)
            self.runs[str(state.name)] += 1
            print(f"{flow} {number}: {state.name} {state.message or ''}", flush=True)
            if state.is_completed():
                self._check_released()
                return

    def _check_released(self) -> None:
        """The released model is the last that was better, or hardly worse, than the one released before."""
        attach_or_start(self.it.root)
        released = None
        for each in self.rounds:
            if each.flow == "retrain" and (released is None or each.quality <= released.quality * TOLERANCE):
                released = each
        branches = {info.branch.name: info.head.id for info in self.it.pachyderm.list_branch("GoT_train")}
        if released is None:
            assert "released" not in branches
        else:
            metrics = json.loads(
                self.it.pachyderm.get_file(("GoT_train", branches["released"]), "/metrics.json").read()
            )
            assert metrics["perplexity"]["test"] == float(f"{released.quality}")

    def _state(self, run_id: UUID) -> State[Any]:
        state = self.it.api.read_flow_run(run_id).state
        assert state
        return state

    def _until(self, run_id: UUID, name: str = "") -> State[Any]:
        """The state of a run once it has this name, or is final."""
        deadline, silent = time.monotonic() + RUN_SECONDS, 0.0
        while not (state := self._state(run_id)).is_final() and state.name != name:
            assert time.monotonic() < deadline, f"a run is still {state.name}\n{self.it.log_of(run_id)}"
            gone = run_id in self.killer.without_worker and not self.killer.process_of(run_id)
            silent = (silent or time.monotonic()) if gone else 0.0
            if silent and time.monotonic() - silent > SILENT_SECONDS:
                self.killer.mark_crashed(run_id)
            time.sleep(0.3)
        return state


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_and_its_turn_outlive_a_restart_of_prefects_server(tmp_path: Path) -> None:
    """A turn that the server has forgotten would end the run minutes later."""
    with deployed(tmp_path, prepare) as it:
        cheap.specs(it.project / "pipeline_specs", seconds=5)
        source = cheap.scripts(tmp_path / "scripts.tar.gz", 1, 50.0)
        run_id = it.start(DEPLOYMENTS["train"], source=str(source), tokens=200)
        it.until(lambda: "JOB_RUNNING" in it.log_of(run_id), RUN_SECONDS)
        it.server.kill()
        it.server.wait()
        it.start_server()
        run = it.api.read_flow_run(run_id)
        assert run.state
        assert run.state.is_running()
        assert run.state.state_details.deployment_concurrency_lease_id
        it.api.renew_concurrency_lease(run.state.state_details.deployment_concurrency_lease_id, 300)
        assert it.wait(run_id, seconds=RUN_SECONDS).state_name == "Completed"
        assert len(list(it.pachyderm.list_job("GoT_train", history=-1))) == 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_whatever_is_killed_the_next_run_goes_on(tmp_path: Path) -> None:
    with deployed(tmp_path, prepare) as it:
        rounds = Rounds(it)
        while (done := rounds.killer.kills.total()) < KILLS:
            rounds.go(min(KILLS_A_ROUND, KILLS - done))
        rounds.go(0)
        Outcome(rounds).check()
    run_localpach("fsck", "--root", str(it.root), "--read-data")
    assert not [*it.root.glob("work/*"), *it.root.glob("tmp/*")]
    it.until(lambda: not [command for pid, (_, command) in running().items() if is_of(pid, tmp_path)])
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    ended = ", ".join(f"{name} {count}" for name, count in rounds.runs.most_common())
    print(f"{rounds.killer}; {rounds.runs.total()} runs on {len(rounds.rounds)} archives ({ended})")


class Outcome:
    """What stands in Pachyderm after all, and what would without a kill."""

    def __init__(self, rounds: Rounds) -> None:
        self._it = rounds.it
        self._client = rounds.it.pachyderm
        self._rounds = rounds.rounds
        self._folder = rounds.it.folder

    def check(self) -> None:
        """Each archive is one commit, each commit one job of each pipeline, and each has made what its command makes."""
        commits = [info for info in self._client.list_commit("GoT_scripts") if info.commit.branch.name == "master"]
        commits.reverse()
        assert len(commits) == len(self._rounds)
        parents = [info.parent_commit.id for info in commits]
        assert parents[1:] == [info.commit.id for info in commits[:-1]]
        trained, written = self._jobs("GoT_train"), self._jobs("GoT_generate")
        models = []
        for number, (info, each) in enumerate(zip(commits, self._rounds, strict=True)):
            scripts = self._folder / f"of-{number}"
            with tarfile.open(each.source) as archive:
                archive.extractall(scripts, filter="data")
            assert self._files("GoT_scripts", info.commit.id) == {f.name: f.read_bytes() for f in scripts.iterdir()}
            model = trained.pop((("GoT_scripts", info.commit.id),))
            models.append(model)
            made = cheap.by_hand("GoT_train", self._folder / f"model-{number}", GoT_scripts=scripts)
            assert self._files("GoT_train", model) == made
            script = written.pop((("GoT_train", model),))
            assert self._files("GoT_generate", script) == cheap.by_hand(
                "GoT_generate", self._folder / f"script-{number}"
            )
        assert not trained
        assert not written
        self._jobs("GoT_evaluate")
        self._check_decisions(models)

    def _jobs(self, pipeline: str) -> dict[tuple[tuple[str, str], ...], str]:
        """Input commits → the one job that went well on them; others were killed, or had nothing to work on."""
        # Nothing is compared before there are two models.
        there = pipeline in {info.pipeline.name for info in self._client.list_pipeline()}
        jobs = list(self._client.list_job(pipeline, history=-1)) if there else []
        over = {pps_proto.JOB_SUCCESS, pps_proto.JOB_FAILURE, pps_proto.JOB_UNRUNNABLE}
        assert {info.state for info in jobs} <= over
        good = [info.job.id for info in jobs if info.state == pps_proto.JOB_SUCCESS]
        found = {tuple(sorted(input_commits(self._client, pipeline, each))): each for each in good}
        assert len(found) == len(good), f"{pipeline} has worked twice on the same"
        return found

    def _check_decisions(self, models: list[str]) -> None:
        """An event is told once, or not where the run was killed at that moment."""
        expected = {}
        released: float | None = None
        for model, each in zip(models, self._rounds, strict=True):
            if each.flow == "retrain":
                better = released is None or each.quality <= released * TOLERANCE
                expected[f"model.GoT_train@{model}"] = "model.released" if better else "model.rejected"
                released = each.quality if better else released
        events = self._it.events("model.released", "model.rejected")
        decided = [(each["resource"]["prefect.resource.id"], each["event"]) for each in events]
        assert len(decided) == len(set(decided))
        assert set(decided) <= expected.items()

    def _files(self, repo: str, commit: str) -> dict[str, bytes]:
        paths = [each.file.path for each in self._client.walk_file((repo, commit), "/")]
        return {path[1:]: self._client.get_file((repo, commit), path).read() for path in paths if path[-1] != "/"}
