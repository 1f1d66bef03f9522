"""Random operations on PFS and PPS, against a model that is a few dictionaries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from localpach.proto import pfs_pb2, pps_pb2
from tests.helpers import last_job, pfs, pipeline
from tests.servers import Server, serving

PATHS = st.sampled_from(["/a", "/b", "/d/a", "/d/b", "/d/e/f", "/g/h"])
NAMES = st.sampled_from(["r1", "r2"])
BRANCHES = st.sampled_from(["master", "dev"])
DATA = st.binary(min_size=1, max_size=40) | st.just(b"x" * 70_000)
Tree = dict[str, bytes]


class Machine(RuleBasedStateMachine):
    """One server; `heads` is the content of each branch, `open` that of its open commit."""

    server: Server

    @initialize()
    def begin(self) -> None:
        self.client = self.server.client
        self.client.delete_all()
        self.heads: dict[tuple[str, str], Tree] = {}
        self.open: dict[tuple[str, str], tuple[pfs_pb2.Commit, Tree]] = {}
        self.past: dict[tuple[str, str], Tree] = {}
        self.copies = False
        for name in ("r1", "r2"):
            self.client.create_repo(name)

    @rule(repo=NAMES, branch=BRANCHES)
    def start(self, repo: str, branch: str) -> None:
        key = (repo, branch)
        if key in self.open:
            with pytest.raises(grpc.RpcError, match="has not been finished"):
                self.client.start_commit(repo, branch)
            return
        self.open[key] = (self.client.start_commit(repo, branch), dict(self.heads.get(key, {})))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), path=PATHS, content=DATA, append=st.booleans())
    def put(self, data: st.DataObject, path: str, content: bytes, append: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        commit, tree = self.open[key]
        self.client.put_file_bytes(commit, path, content, append=append)
        tree[path] = tree.get(path, b"") + content if append else content

    @precondition(lambda self: self.open)
    @rule(data=st.data(), path=st.sampled_from(["/a", "/d", "/d/", "/d/e/", "/g/h", "/nothing"]))
    def delete(self, data: st.DataObject, path: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        commit, tree = self.open[key]
        self.client.delete_file(commit, path)
        for each in [each for each in tree if each == path or (path.endswith("/") and each.startswith(path))]:
            del tree[each]

    @precondition(lambda self: self.open and self.past)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        source = data.draw(st.sampled_from(sorted(self.past)))
        commit, tree = self.open[key]
        self.client.copy_file(source, "/", commit, "/copied")
        for path, content in self.past[source].items():
            tree["/copied" + path] = content

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        commit, tree = self.open.pop(key)
        self.client.finish_commit(commit)
        self.heads[key] = tree
        self.past[(key[0], commit.id)] = dict(tree)

    @rule(repo=NAMES, branch=BRANCHES, path=PATHS, content=DATA)
    def put_at_once(self, repo: str, branch: str, path: str, content: bytes) -> None:
        key = (repo, branch)
        self.client.put_file_bytes(key, path, content)
        tree = self.open[key][1] if key in self.open else self.heads.setdefault(key, {})
        tree[path] = content

    @precondition(lambda self: not self.copies)
    @rule()
    def create_pipeline(self) -> None:
        pipeline(self.client, "copies", "cp -r /pfs/r1/. /pfs/out/", pfs("r1", "/", branch="master"))
        self.copies = True

    @precondition(lambda self: self.copies and ("r1", "master") not in self.open)
    @rule()
    def wait_for_the_pipeline(self) -> None:
        job = last_job(self.client, "copies")
        assert job.state == pps_pb2.JOB_SUCCESS, job.reason
        self.check(("copies", "master"), self.heads.get(("r1", "master"), {}))

    @invariant()
    def heads_are_as_the_model_says(self) -> None:
        for key in list(self.heads)[:1]:
            self.check(key, self.open[key][1] if key in self.open else self.heads[key])

    def check(self, key: tuple[str, str], tree: Tree) -> None:
        """The branch holds these very files."""
        found = [info for info in self.client.glob_file(key, "/**") if not info.file.path.endswith("/")]
        assert {info.file.path: info.size_bytes for info in found} == {path: len(data) for path, data in tree.items()}
        for path, data in list(tree.items())[:1]:
            assert self.client.get_file(key, path) == data

    def teardown(self) -> None:
        if hasattr(self, "client"):
            for key, commit in list(self.past.items())[-3:]:
                self.check(key, commit)
            command = [sys.executable, "-m", "localpach", "fsck", "--root", str(self.server.root), "--read-data"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_random_operations() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        machine = type("RandomOperations", (Machine,), {"server": server})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=100,
                stateful_step_count=300,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
            ),
        )
