"""A project on a played machine whose clients take back what was done: they squash and drop commits, delete pipelines and
branches and make them anew, have all run again, stop and start, beside one that commits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from localpach.names import Branch, Commit, Repo
from localpach.pps.records import PipelineName
from localpach.proto import pfs_pb2, pps_pb2
from tests.faults.clients import Clients, Files
from tests.faults.simulation import Machine

HOUR = 3600.0
DATA = Branch(Repo("default", "data"), "master")
BATCH = DATA._replace(name="batch")
# After how many commits of the data the batch follows.
EVERY = 3
# What each pipeline reads, upstream ones first.
READS = {
    "copy": DATA,
    "copied": Branch(Repo("default", "copy"), "master"),
    "batched": BATCH,
}


class TakingBack(Clients):
    """The project: what was acknowledged and may not be gone, and what may not be there again. What a kill came into is
    neither."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.commits: dict[str, Files] = {}
        self.removed: set[str] = set()
        machine.pfs.repos.create(DATA.repo)
        self.make_branch()
        for name in READS:
            self.create(name)
        for make in (self._commit, self._remove, self._remove, self._change_pipelines, self._change_branch):
            machine.add(make)

    def make_branch(self) -> None:
        trigger = pfs_pb2.Trigger(branch=DATA.name, commits=EVERY)
        self.machine.pfs.provenance.create_branch(BATCH, trigger=trigger)

    def create(self, name: str, update: bool = False, reprocess: bool = False) -> None:
        source = READS[name]
        leaf = pps_pb2.PFSInput(repo=source.repo.name, branch=source.name, glob="/*")
        request = pps_pb2.CreatePipelineRequest(
            pipeline=PipelineName("default", name).to_proto(),
            transform=pps_pb2.Transform(cmd=["copy"], image="image"),
            input=pps_pb2.Input(pfs=leaf),
            update=update,
            reprocess=reprocess,
        )
        self.machine.pps.lifecycle.create(request)

    # Clients.

    def _pause(self) -> float:
        return self.random.expovariate(1 / HOUR)

    def _commit(self) -> Iterator[float]:
        """Commits data, in steps; what it has begun may be dropped meanwhile."""
        while True:
            head = self.machine.pfs.commits.head(DATA)
            if head is not None and head.finishing is None:
                yield from self.attempt("finish what was begun", partial(self.finish, head.commit))
            yield self._pause()
            if not (yield from self.attempt("start", self.start)):
                continue
            commit, files = self.begun, self.found
            for _ in range(self.random.randrange(1, 3)):
                path, data = f"/{self.random.randrange(5)}", self.random.randbytes(9)
                if (yield from self.attempt(f"put {path}", partial(self.put, commit, path, data))):
                    files[path] = data
                yield self._pause() / 4
            if (yield from self.attempt("finish", partial(self.finish, commit))):
                self.commits[commit.id] = files

    def start(self) -> None:
        """Begins a commit, and looks at what it begins with."""
        self.begun = self.machine.pfs.commits.start(DATA)
        self.found = self.files(self.machine.pfs.commits.get(self.begun))

    def finish(self, commit: Commit) -> None:
        self.machine.pfs.commits.finish(commit)

    def _remove(self) -> Iterator[float]:
        """Squashes or drops sets, mostly the newest ones."""
        while True:
            yield self._pause() * 2
            repos = [Repo("default", name) for name in ("data", *READS)]
            heads = (self.machine.pfs.commits.head(Branch(repo, "master")) for repo in repos)
            id = self.random.choice([*(each.commit.id for each in heads if each), *[*self.commits][-6:]])
            remove = self.random.choice((self.machine.pfs.commit_sets.squash, self.machine.pfs.commit_sets.drop))
            before = self.commits.pop(id, None)
            if (yield from self.attempt(f"{remove.__name__} {id}", partial(remove, id))):
                self.commits.pop(id, None)
                self.removed.add(id)
            elif before is not None:
                self.commits[id] = before

    def _change_pipelines(self) -> Iterator[float]:
        often = [self.create, self._update, self._run_again, self._stop, self.resume]
        changes = [*often, *often, *often, self._delete, self._cut_out]
        while True:
            yield self._pause()
            name, change = self.random.choice(list(READS)), self.random.choice(changes)
            yield from self.attempt(f"{change.__name__} {name}", partial(change, name))

    def _update(self, name: str) -> None:
        self.create(name, update=True)

    def _run_again(self, name: str) -> None:
        self.create(name, update=True, reprocess=True)

    def _stop(self, name: str) -> None:
        self.machine.pps.lifecycle.stop(PipelineName("default", name))

    def resume(self, name: str) -> None:
        self.machine.pps.lifecycle.start(PipelineName("default", name))

    def _delete(self, name: str) -> None:
        self.machine.pps.lifecycle.delete(PipelineName("default", name))

    def _cut_out(self, name: str) -> None:
        self.machine.pps.lifecycle.delete(PipelineName("default", name), force=True)

    def _change_branch(self) -> Iterator[float]:
        while True:
            yield self._pause() * 4
            force = self.random.random() < 0.5
            yield from self.attempt(f"delete batch, {force}", partial(self.machine.pfs.branches.delete, BATCH, force))
            yield self._pause()
            yield from self.attempt("make batch", self.make_branch)
