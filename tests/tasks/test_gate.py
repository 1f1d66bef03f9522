"""The gate, on a Pachyderm whose trainings and comparisons are told by the scripts what comes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger
from python_pachyderm import Client

from prefect_pachyderm import events
from prefect_pachyderm.pipelines import create_pipelines
from prefect_pachyderm.specs import Template
from tasks import gate
from tasks.gate import Verdict
from tests.jobs import last_job, pfs, pipeline, put

EVALUATION = """
local pfs(repo, name) = { pfs: { repo: repo, branch: 'master', glob: '/', name: name } };
function() {
  pipeline: { name: 'GoT_evaluate' },
  input: { cross: [pfs('GoT_candidate', 'candidate'), pfs('GoT_released', 'released')] },
  transform: { image: 'host', cmd: ['sh', '-e'], stdin: [
    'cmp /pfs/candidate/model/compared /pfs/candidate/scripts/compared',
    'cmp /pfs/released/model/compared /pfs/released/scripts/compared',
    'cp /pfs/candidate/model/compared /pfs/out/evaluation.json',
  ] },
  datum_tries: 1,
}
"""


class Site:
    """Repos, pipelines and scripts as the flows leave them."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.evaluation = Template(folder / "GoT_evaluate.jsonnet", {})
        self.evaluation.file.write_text(EVALUATION)
        self.scripts = folder / "compared"
        client.create_repo("GoT_scripts")
        pipeline(client, "GoT_train", "cp /pfs/GoT_scripts/* /pfs/out/", pfs("GoT_scripts", "/"))

    def train(self, candidate: float = 1.0, released: float = 1.0, tokens: int = 100, seed: int = 0) -> str:
        """The commit of a model of which the comparison will say this."""
        compared = {"candidate": candidate, "released": released, "tokens": tokens, "seed": seed}
        self.scripts.write_text(json.dumps(compared))
        put(self.client, "GoT_scripts", {"/compared": self.scripts.read_bytes()})
        return str(last_job(self.client, "GoT_train").job.id)

    def compare(self, candidate: str) -> str | None:
        job = gate.compare.fn(candidate, self.evaluation)
        if job is not None:
            next(iter(self.client.inspect_job(job, "GoT_evaluate", wait=True)))
        return job

    def released(self) -> str:
        return str(self.client.inspect_branch("GoT_train", "released").head.id)

    def nothing_to_do(self, tolerance: float = 0.0) -> str | None:
        return gate.nothing_to_do.fn({"compared": self.scripts}, [], tolerance)


@pytest.fixture
def site(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # Tasks of their own would want Prefect's server, of which nothing is asked here.
    monkeypatch.setattr(gate, "create_pipelines", create_pipelines.fn)
    with disable_run_logger():
        yield Site(client, tmp_path)


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(events, "emit", lambda *event: found.append(event))
    return found


def test_the_first_model_is_released(site: Site, emitted: list[tuple[Any, ...]]) -> None:
    first = site.train()
    scripts = site.client.inspect_branch("GoT_scripts", "master").head.id
    assert site.nothing_to_do() is None
    assert site.compare(first) is None
    verdict = gate.decide.fn(first, None, 0.0)
    assert verdict == Verdict(True, f"GoT_train@{first[:7]} is the first model.", first, None)
    assert site.released() == first
    assert site.compare(first) is None
    again = gate.decide.fn(first, None, 0.0)
    assert again == Verdict(True, f"GoT_train@{first[:7]} is released already.", first, None)
    assert site.nothing_to_do() == (
        f"Scripts, image and parameters are as they were at GoT_scripts@{scripts[:7]}, and the model GoT_train@{first[:7]}"
        " made of them is released."
    )
    event = emitted[0]
    assert event[:3] == ("model.released", "model", f"GoT_train@{first}")
    assert event[4] == {"reason": f"GoT_train@{first[:7]} is the first model."}
    roles = {each["prefect.resource.role"]: each["prefect.resource.id"] for each in event[3]}
    assert roles == {
        "output-commit": f"pachyderm.commit.GoT_train@{first}",
        "input-commit": f"pachyderm.commit.GoT_scripts@{scripts}",
    }


@pytest.mark.parametrize(
    ("new", "old", "tokens", "tolerance", "better"),
    [
        (100.0, 100.0, 10, 0.0, True),
        (100.001, 100.0, 10, 0.0, False),
        (99.0, 100.0, 1, 0.0, True),
        (125.0, 100.0, 10, 0.25, True),
        (125.001, 100.0, 10, 0.25, False),
        (1.0, 100.0, 0, 0.5, False),
    ],
)
def test_a_model_is_released_if_it_is_not_worse(
    site: Site,
    emitted: list[tuple[Any, ...]],
    new: float,
    old: float,
    tokens: int,
    tolerance: float,
    better: bool,
) -> None:
    first = site.train()
    gate.decide.fn(first, None, tolerance)
    second = site.train(new, old, tokens)
    job = site.compare(second)
    assert job is not None
    verdict = gate.decide.fn(second, job, tolerance)
    assert verdict is not None
    assert (verdict.released, verdict.candidate, verdict.before) == (better, second, first)
    assert site.released() == (second if better else first)
    if tokens:
        assert verdict.reason == (
            f"The perplexity of GoT_train@{second[:7]} on {tokens} held-out tokens is {new:.3f}, that of the released"
            f" GoT_train@{first[:7]} is {old:.3f}: {'released' if better else 'kept, but not released'}"
            f" (tolerance {tolerance:.1%})."
        )
    else:
        assert verdict.reason == "No text is held out from both models: the released one is kept."
    event = emitted[-1]
    assert event[0] == ("model.released" if better else "model.rejected")
    assert {each["prefect.resource.role"] for each in event[3]} == {"output-commit", "input-commit", "released-commit"}
    looked = site.nothing_to_do(tolerance)
    assert looked is not None
    assert looked.endswith("made of them is released." if better else verdict.reason)


def test_the_copies_are_events(site: Site, emitted: list[tuple[Any, ...]]) -> None:
    gate.decide.fn(site.train(), None, 0.0)
    site.compare(site.train(seed=1))
    copies = {repo: site.client.inspect_branch(repo, "master").head.id for repo in ("GoT_candidate", "GoT_released")}
    assert [event[2] for event in emitted if event[0] == "pachyderm.commit.finished"] == [
        f"{repo}@{commit}" for repo, commit in copies.items()
    ]


def test_a_comparison_of_other_models_decides_nothing(site: Site) -> None:
    first = site.train()
    gate.decide.fn(first, None, 0.0)
    second = site.train(seed=1)
    job = site.compare(second)
    third = site.train(seed=2)
    assert gate.decide.fn(third, job, 0.0) is None
    assert gate.decide.fn(third, None, 0.0) is None
    site.client.create_branch("GoT_train", "released", head_commit=("GoT_train", third))
    assert gate.decide.fn(second, job, 0.0) is None
    assert site.released() == third


def test_a_decision_is_on_the_run_s_own_model(site: Site) -> None:
    first = site.train()
    gate.decide.fn(first, None, 0.0)
    second = site.train(seed=1)
    job = site.compare(second)
    third = site.train(seed=2)
    verdict = gate.decide.fn(second, job, 0.0)
    assert verdict is not None
    assert verdict.released
    assert verdict.reason.endswith(
        f" Another run has trained GoT_train@{third[:7]} meanwhile; nothing is said of that one."
    )
    assert site.released() == second
    # The newest is another, of which nothing was decided.
    assert site.nothing_to_do() is None


def test_a_comparison_that_failed_decides_nothing(site: Site) -> None:
    first = site.train()
    gate.decide.fn(first, None, 0.0)
    second = site.train(seed=1)
    site.evaluation.file.write_text(EVALUATION.replace("cp /pfs/candidate", "false; cp /pfs/candidate"))
    job = site.compare(second)
    assert gate.decide.fn(second, job, 0.0) is None
    assert site.released() == first
    assert site.nothing_to_do() is None


def test_models_are_copied_once_and_over_what_a_dead_run_left_open(site: Site) -> None:
    first = site.train()
    gate.decide.fn(first, None, 0.0)
    put(site.client, "GoT_scripts", {"/of-the-second": b"x"})
    second = site.train(seed=1)
    assert site.compare(second) == site.compare(second)
    copies = {repo: site.client.inspect_branch(repo, "master").head.id for repo in ("GoT_candidate", "GoT_released")}
    site.client.delete_file(("GoT_scripts", "master"), "/of-the-second")
    third = site.train(seed=2)
    left = site.client.start_commit("GoT_candidate", "master")
    site.client.put_file_bytes(left, "/model/left", b"x")
    assert site.compare(third) is not None
    assert site.client.inspect_branch("GoT_released", "master").head.id == copies["GoT_released"]
    assert site.client.inspect_branch("GoT_candidate", "master").head.id != copies["GoT_candidate"]
    files = [each.file.path for each in site.client.walk_file(("GoT_candidate", "master"), "/")]
    assert files == ["/", "/model/", "/model/compared", "/scripts/", "/scripts/compared"]
    candidate, released = (
        next(iter(site.client.inspect_commit((repo, "master")))).description
        for repo in ("GoT_candidate", "GoT_released")
    )
    assert (candidate, released) == (f"GoT_train@{third}", f"GoT_train@{first}")
    said = {info.repo.name: info.description for info in site.client.list_repo()}
    for name in ("candidate", "released"):
        assert said[f"GoT_{name}"] == f"The {name} model and the scripts that it was trained on."
