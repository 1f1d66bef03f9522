"""Histories that a seed decides in which clients squash, drop and delete, amid kills and a full disk: what must hold holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localpach.names import Branch, Commit, Repo
from localpach.pps.fsck import PpsFsck
from localpach.pps.jobs import JobName
from localpach.pps.records import OVER, PipelineName
from localpach.proto import pps_pb2
from tests.faults.simulation import Machine
from tests.faults.taking_back import BATCH, DATA, EVERY, HOUR, READS, TakingBack
from tests.pps.bench import copy_all

SEEDS = int(os.environ.get("SEEDS", "4"))


def settle(project: TakingBack) -> None:
    """Makes anew what is gone, and some last commits, which all has to follow."""
    project.machine.dismiss()
    head = project.head(DATA)
    if head.finishing is None:
        project.finish(head.commit)
    project.make_branch()
    for name in READS:
        project.create(name, update=True)
        project.resume(name)
    for number in range(EVERY):
        project.start()
        project.put(project.begun, "/last", str(number).encode())
        project.finish(project.begun)
        project.machine.run(HOUR)


def check(project: TakingBack) -> None:
    pfs, pps, store = project.machine.pfs, project.machine.pps, project.machine.store
    assert [*pfs.fsck.check(read_data=True), *PpsFsck(store, pfs).check()] == []
    assert not [*(project.machine.root / "work").iterdir(), *(project.machine.root / "tmp").iterdir()]
    head = project.head(DATA)
    line = {each.commit.id for each in (head, *pfs.commits.ancestors(head))}
    assert line >= project.commits.keys()
    for id, files in project.commits.items():
        assert project.files(pfs.commits.get(Commit(DATA.repo, id))) == files, id
    assert not [id for id in project.removed if pfs.commit_sets.commits(id)]
    with store.read() as connection:
        assert connection.execute("SELECT id FROM commits WHERE finished IS NULL").fetchall() == []
    for job in pps.queries.select(None, (), -1, reverse=False):
        assert job.state in OVER, job
        assert pfs.commits.exists(job.output), job
    _check_batch(project)
    for name, source in READS.items():
        output, given = project.head(Branch(Repo("default", name), "master")), project.head(source)
        job = pps.jobs.get(JobName(PipelineName("default", name), output.commit.id))
        assert job.state == pps_pb2.JOB_SUCCESS, job
        assert given.num in {each.num for each in pfs.commits.provenance(output)}
        assert project.files(output) == project.files(given), name


def _check_batch(project: TakingBack) -> None:
    """As many commits make it follow as its trigger says."""
    data, batch = project.head(DATA), project.head(BATCH)
    line = [each.num for each in (data, *project.machine.pfs.commits.ancestors(data))]
    assert line.index(batch.num) < EVERY


def live(root: Path, seed: str, days: float, rarely: int) -> None:
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(root, seed, 1_822_527_000, copy_all, patch)
        project = TakingBack(machine)
        machine.rarely = rarely
        machine.run(days * 24 * HOUR)
        settle(project)
        check(project)
        machine.store.close()
    print(f"seed {seed}: {machine.starts - 1} kills, {machine.faults} faults, {len(project.commits)} commits, ", end="")
    print(f"{len(project.removed)} sets removed, {sum('refused' in each for each in machine.history)} refusals")


@pytest.mark.slow
def test_many_seeds(tmp_path: Path) -> None:
    for seed in map(str, range(SEEDS)):
        live(tmp_path / seed, seed, 9, 300)
