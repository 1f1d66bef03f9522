"""Ticks, by a clock that the test sets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import Refused
from localpach.names import Branch, Repo
from localpach.pfs.service import Pfs
from localpach.pps import crons as module
from localpach.pps.crons import Crons
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineName
from localpach.proto import pps_pb2
from localpach.storage.store import Store

START = int(datetime(2024, 2, 3, 4, 5, tzinfo=UTC).timestamp())
TICKS = Branch(Repo("default", "p_tick"), "master")
OTHER_TICKS = Branch(Repo("default", "p_tick1"), "master")


class Bench:
    """Pipelines with cron inputs, and a clock that stands still."""

    def __init__(self, store: Store, pfs: Pfs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pfs = pfs
        self.pipelines = Pipelines(store)
        self.crons = Crons(store, pfs, self.pipelines)
        self.seconds: float = START
        monkeypatch.setattr(module, "now", lambda: int(self.seconds * 1_000_000))

    def create(self, *specs: str, name: str = "p", version: int = 1, overwrite: bool = False) -> int:
        """A pipeline with a cron input for each spec; its number."""
        info = self._info(specs, name, version, overwrite, START)
        record = self.pipelines.add_version(info)
        self.crons.reset(record.num, info)
        return record.num

    def update(self, *specs: str, start: float | None = None) -> None:
        """A new version of the pipeline, with other cron inputs, which start now."""
        before = self.pipelines.newest_info(self.pipelines.get(PipelineName("default", "p")))
        info = self._info(specs, "p", before.version + 1, False, int(start or self.seconds))
        self.crons.reset(self.pipelines.add_version(info).num, info, before)

    def _info(
        self, specs: tuple[str, ...], name: str, version: int, overwrite: bool, start: int
    ) -> pps_pb2.PipelineInfo:
        leaves = []
        for number, spec in enumerate(specs):
            repo = f"{name}_tick{number or ''}"
            cron = pps_pb2.CronInput(name=f"tick{number}", repo=repo, project="default", spec=spec, overwrite=overwrite)
            cron.start.CopyFrom(Timestamp(seconds=start))
            leaves.append(pps_pb2.Input(cron=cron))
            self.pfs.repos.create(Repo("default", repo), update=True)
        leaves.append(pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/")))
        info = pps_pb2.PipelineInfo(pipeline=PipelineName("default", name).to_proto(), version=version)
        info.details.input.CopyFrom(pps_pb2.Input(cross=leaves))
        return info

    def tick_due(self) -> float | None:
        """Gives all inputs their turn; the seconds to the next tick."""
        left = [self.crons.tick_if_due(each) for each in self.crons.waiting()]
        return min((seconds for seconds in left if seconds is not None), default=None)

    def ticks(self, branch: Branch = TICKS) -> list[str]:
        """The files of the newest tick."""
        head = self.pfs.commits.head(branch)
        self.finish()
        return [entry.path for entry in self.pfs.files.children(head, "/")] if head else []

    def finish(self) -> None:
        for record in self.pfs.commits.finishing():
            self.pfs.commits.set_finished(record, "")


@pytest.fixture
def bench(store: Store, pfs: Pfs, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(store, pfs, monkeypatch)


def test_a_tick_comes_when_it_is_due_and_has_the_name_of_its_time(bench: Bench) -> None:
    bench.create("@every 10s")
    assert bench.tick_due() == 10
    assert bench.ticks() == []
    bench.seconds += 9.5
    assert bench.tick_due() == 0.5
    bench.seconds += 0.5
    assert bench.tick_due() == 10
    assert bench.ticks() == ["/2024-02-03T04:05:10Z"]
    assert bench.tick_due() == 10
    bench.seconds += 10
    assert bench.tick_due() == 10
    assert bench.ticks() == ["/2024-02-03T04:05:10Z", "/2024-02-03T04:05:20Z"]


def test_ticks_that_were_missed_come_one_by_one(bench: Bench) -> None:
    bench.create("* * * * *")
    bench.seconds += 150
    assert bench.tick_due() == 0
    assert bench.ticks() == ["/2024-02-03T04:06:00Z"]
    assert bench.tick_due() == 30
    assert bench.ticks() == ["/2024-02-03T04:06:00Z", "/2024-02-03T04:07:00Z"]
    assert bench.tick_due() == 30
    assert len(bench.ticks()) == 2


def test_an_overwriting_cron_has_its_last_tick_only(bench: Bench) -> None:
    bench.create("@every 10s", overwrite=True)
    for _ in range(2):
        bench.seconds += 10
        bench.tick_due()
        found = bench.ticks()
    assert found == ["/2024-02-03T04:05:20Z"]


def test_the_next_tick_of_all_inputs_counts(bench: Bench) -> None:
    bench.create("@every 30s", "@every 20s")
    bench.create("@never", name="q")
    assert bench.tick_due() == 20
    bench.seconds += 20
    assert bench.tick_due() == 10
    assert (bench.ticks(), len(bench.ticks(OTHER_TICKS))) == ([], 1)


def test_without_a_schedule_nothing_is_due(bench: Bench) -> None:
    assert bench.tick_due() is None
    bench.create("@never")
    bench.seconds += 10**6
    assert bench.tick_due() is None
    assert bench.ticks() == []


def test_a_stopped_pipeline_does_not_tick(bench: Bench) -> None:
    num = bench.create("@every 10s")
    bench.pipelines.set_stopped(num)
    bench.seconds += 60
    assert bench.tick_due() is None
    assert bench.ticks() == []
    bench.pipelines.set_started(num)
    bench.tick_due()
    assert bench.ticks() == ["/2024-02-03T04:05:10Z"]


def test_a_new_version_ticks_by_its_own_inputs(bench: Bench) -> None:
    bench.create("@every 10s", "@every 10s")
    bench.create("@every 60s", version=2)
    assert bench.tick_due() == 60


def test_an_update_leaves_the_ticks_of_a_schedule_that_stays_as_they_are(bench: Bench) -> None:
    bench.create("@every 10s", "@every 10s")
    bench.seconds += 15
    bench.update("@every 10s", "@every 20s")
    # The tick that was due is made, and the next one comes when it would have.
    assert bench.tick_due() == 5
    assert (bench.ticks(), bench.ticks(OTHER_TICKS)) == (["/2024-02-03T04:05:10Z"], [])
    bench.seconds += 5
    bench.tick_due()
    assert (len(bench.ticks()), bench.ticks(OTHER_TICKS)) == (2, [])
    bench.seconds += 15
    bench.tick_due()
    assert bench.ticks(OTHER_TICKS) == ["/2024-02-03T04:05:35Z"]


def test_an_update_may_put_a_start_off(bench: Bench) -> None:
    bench.create("@every 10s")
    bench.seconds += 15
    bench.update("@every 10s", start=START + 100)
    assert bench.tick_due() == 95
    assert bench.ticks() == []


def test_what_has_ticked_does_not_tick_again_when_the_clock_is_set_back(bench: Bench) -> None:
    bench.create("0 * * * *", "@never")
    bench.seconds += 3600
    bench.tick_due()
    bench.seconds -= 3600
    bench.crons.run(PipelineName("default", "p"))
    bench.update("0 * * * *", "@never")
    bench.seconds += 3600
    bench.tick_due()
    assert bench.ticks() == ["/2024-02-03T04:05:00Z", "/2024-02-03T05:00:00Z"]


def test_all_inputs_tick_when_told_to(bench: Bench) -> None:
    bench.create("@never", "@every 10s")
    bench.seconds += 7.9
    bench.crons.run(PipelineName("default", "p"))
    for branch in (TICKS, OTHER_TICKS):
        assert bench.ticks(branch) == ["/2024-02-03T04:05:07Z"]
    assert bench.tick_due() == 10
    bench.create(name="q")
    with pytest.raises(Refused) as caught:
        bench.crons.run(PipelineName("default", "q"))
    assert caught.value.message == "pipeline doesn't have a cron input"


def test_a_cron_whose_repo_is_gone_holds_up_no_other(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.create("@every 10s")
    bench.create("@every 10s", name="q")
    bench.pfs.deletion.delete_repo(TICKS.repo, force=True)
    bench.seconds += 10
    assert bench.tick_due() == 10
    assert bench.ticks(Branch(Repo("default", "q_tick"), "master")) == ["/2024-02-03T04:05:10Z"]
    (record,) = caplog.records
    assert record.getMessage() == "no tick in repo p_tick for cron input tick0: repo default/p_tick not found"


def test_a_cron_that_is_deleted_before_its_turn_has_none(bench: Bench) -> None:
    num = bench.create("@every 10s")
    bench.seconds += 10
    waiting = bench.crons.waiting()
    bench.pipelines.delete(num)
    assert [bench.crons.tick_if_due(each) for each in waiting] == [None]
