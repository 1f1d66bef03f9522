"""The retrain flow with the real model: what is released, and that it is compared on text that neither has seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.retrain import retrain
from flows.teardown import teardown
from tasks import pipelines
from tasks.pachyderm import connect
from tests import corpora
from tests.flows import cheap


def test_the_gate_decides_both_ways(embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "SPECS", cheap.specs(tmp_path / "specs"))
    source = tmp_path / "scripts.tar.gz"
    seen = []
    for number, quality in ((1, 50.0), (1, 50.0), (2, 90.0), (2, 90.0), (3, 40.0)):
        cheap.scripts(source, number, quality)
        seen.append(retrain(source=str(source), tokens=200, return_state=True).name)
        heads = [connect().inspect_branch("GoT_train", branch).head.id for branch in ("master", "released")]
        assert (heads[0] == heads[1]) == (number != 2)
    assert seen == ["Released", "Skipped", "Rejected", "Skipped", "Released"]
    teardown()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_model_is_released_then_compared_with_the_next(embedded: Path) -> None:
    source = embedded / "plays.tar.gz"
    corpora.plays(source, count=4)
    first = retrain(source=str(source), tokens=200, return_state=True)
    assert (first.type.value, first.name) == ("COMPLETED", "Released")

    again = retrain(source=str(source), tokens=200, return_state=True)
    assert again.name == "Skipped"
    assert "is released" in again.message

    corpora.plays(source, count=12)
    second = retrain(source=str(source), tokens=200, tolerance=1.0, return_state=True)
    assert second.name == "Released"
    client = connect()
    head = client.inspect_branch("GoT_train", "released").head.id
    assert head == client.inspect_branch("GoT_train", "master").head.id
    client.wait_commit(("GoT_evaluate", "master"))
    found = json.loads(client.get_file(("GoT_evaluate", "master"), "/evaluation.json").read())
    # Releasing the model has it compared with itself.
    assert found["candidate"] == pytest.approx(found["released"])
    before = json.loads(client.get_file(("GoT_evaluate", "master^"), "/evaluation.json").read())
    assert before["candidate"] != before["released"]
    assert f"{before['candidate']:.3f}" in second.message
    assert before["tokens"] > 100
