"""The retrain flow with the real model: what is released, and that it is compared on text that neither has seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import retrain as retrain_module
from flows.retrain import retrain
from flows.teardown import teardown
from flows.train import train
from prefect_pachyderm.commits import input_commits
from prefect_pachyderm.credentials import connect
from tasks import project
from tasks.corpus import fetch
from tasks.errors import ScriptwrightError
from tests import corpora
from tests.flows import cheap
from tests.site import Site, serving


def test_the_gate_decides_both_ways(embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "SPECS", cheap.specs(tmp_path / "specs"))
    source = tmp_path / "scripts.tar.gz"
    seen = []
    for number, quality in ((1, 50.0), (1, 50.0), (2, 90.0), (2, 90.0), (3, 40.0)):
        cheap.scripts(source, number, quality)
        seen.append(retrain(source=str(source), tokens=200, return_state=True).name)
        heads = [connect().inspect_branch("GoT_train", branch).head.id for branch in ("master", "released")]
        assert (heads[0] == heads[1]) == (number != 2)
    assert seen == ["Released", "Skipped", "Rejected", "Skipped", "Released"]
    teardown()


@pytest.mark.parametrize(
    ("beside", "between", "own", "others", "outcome", "released"),
    [
        pytest.param(train, "compare", 40.0, 10.0, "Released", 40.0, marks=pytest.mark.slow),
        pytest.param(train, "compare", 60.0, 10.0, "Rejected", 50.0, marks=pytest.mark.slow),
        pytest.param(retrain, "compare", 40.0, 30.0, "Rejected", 30.0, marks=pytest.mark.slow),
        (retrain, "decide", 40.0, 45.0, "Released", 40.0),
    ],
)
def test_a_run_decides_on_the_model_that_it_has_trained(
    beside: Callable[..., Any],
    between: str,
    own: float,
    others: float,
    outcome: str,
    released: float,
    embedded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another run, with other scripts, trains just before a step of this one."""
    monkeypatch.setattr(project, "SPECS", cheap.specs(tmp_path / "specs", seconds=0))
    first, mine, theirs = (
        str(cheap.scripts(tmp_path / f"{number}.tar.gz", number, quality))
        for number, quality in ((1, 50.0), (2, own), (3, others))
    )
    assert retrain(source=first, tokens=200, return_state=True).name == "Released"
    step = getattr(retrain_module, between)

    def after_another_run(*arguments: Any) -> Any:
        monkeypatch.setattr(retrain_module, between, step)
        beside(source=theirs, tokens=200, return_state=True)
        return step(*arguments)

    monkeypatch.setattr(retrain_module, between, after_another_run)
    ended = retrain(source=mine, tokens=200, return_state=True)
    assert ended.name == outcome
    assert "Another run has trained" in str(ended.message)
    client = connect()
    scripts = dict(input_commits(client, "GoT_train", released_commit()))["GoT_scripts"]
    assert float(client.get_file(("GoT_scripts", scripts), "/quality.txt").read()) == released
    teardown()


class Source:
    """Scripts at a web server, and what the retrain flow makes of them."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self._archive = folder / "scripts.tar.gz"

    def put(self, number: int, quality: float, **answers: str) -> None:
        """Another archive, or the same again, with these ETag and Last-Modified."""
        self.site.files["/scripts.tar.gz"] = cheap.scripts(self._archive, number, quality).read_bytes()
        self.site.etag, self.site.last_modified = answers.get("etag", ""), answers.get("last_modified", "")

    def retrain(self) -> tuple[str | None, list[int], int]:
        """How a run ends, the codes of the answers that it has got, and their bytes."""
        self.site.sent.clear()
        self.site.sent_bytes = 0
        ended = retrain(source=f"{self.site.url}/scripts.tar.gz", tokens=200, return_state=True)
        return ended.name, self.site.sent[:], self.site.sent_bytes

    def refused(self) -> str:
        """The sentence with which a run fails."""
        self.site.sent.clear()
        with pytest.raises(ScriptwrightError) as caught:
            retrain(source=f"{self.site.url}/scripts.tar.gz", tokens=200)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.mark.slow
def test_the_source_is_asked_whether_it_has_changed(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "SPECS", cheap.specs(tmp_path / "specs", seconds=0))
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.01)
    with serving() as site:
        source = Source(site, tmp_path)
        source.put(1, 50.0, etag='"1"')
        size = len(site.files["/scripts.tar.gz"])
        assert source.retrain() == ("Released", [200], size)
        # What is unchanged by its ETag is not sent, nor is it with a weak one, as some servers have them.
        assert source.retrain() == ("Skipped", [304], 0)
        source.put(1, 50.0, etag='W/"2"')
        # The ETag has changed and the bytes have not.
        assert source.retrain() == ("Skipped", [200], size)
        assert source.retrain() == ("Skipped", [304], 0)
        # No ETag, but a date.
        source.put(1, 50.0, last_modified="Wed, 25 Nov 2026 00:00:00 GMT")
        assert source.retrain() == ("Skipped", [200], size)
        assert source.retrain() == ("Skipped", [304], 0)
        # Neither: the SHA-256 tells.
        source.put(1, 50.0)
        assert source.retrain() == ("Skipped", [200], size)
        assert source.retrain() == ("Skipped", [200], size)
        before = released_commit()
        source.put(2, 40.0)
        assert source.retrain() == ("Released", [200], len(site.files["/scripts.tar.gz"]))
        assert released_commit() != before
        # A server in trouble changes nothing.
        before = released_commit()
        site.failures = [500] * fetch.ATTEMPTS
        assert f"{site.url}/scripts.tar.gz can't be downloaded: the server answered 500" in source.refused()
        assert site.sent == [500] * fetch.ATTEMPTS
    assert "nobody answers there" in source.refused()
    assert released_commit() == before
    teardown()


def released_commit() -> str:
    """The commit of the released model."""
    return str(connect().inspect_branch("GoT_train", "released").head.id)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_model_is_released_then_compared_with_the_next(embedded: Path) -> None:
    source = embedded / "plays.tar.gz"
    corpora.plays(source, count=4)
    first = retrain(source=str(source), tokens=200, return_state=True)
    assert (first.type.value, first.name) == ("COMPLETED", "Released")

    again = retrain(source=str(source), tokens=200, return_state=True)
    assert again.name == "Skipped"
    assert "is released" in str(again.message)

    corpora.plays(source, count=12)
    second = retrain(source=str(source), tokens=200, tolerance=1.0, return_state=True)
    assert second.name == "Released"
    client = connect()
    head = client.inspect_branch("GoT_train", "released").head.id
    assert head == client.inspect_branch("GoT_train", "master").head.id
    client.wait_commit(("GoT_evaluate", "master"))
    found = json.loads(client.get_file(("GoT_evaluate", "master"), "/evaluation.json").read())
    assert found["candidate"] != found["released"]
    assert f"{found['candidate']:.3f}" in str(second.message)
    assert found["tokens"] > 100
