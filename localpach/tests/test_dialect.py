"""Since Pachyderm 2.11 a commit names its repo and no branch: who is answered so, where, and that it is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from localpach.proto import pfs_pb2
from tests.client import Client
from tests.helpers import last_job, pfs, pipeline, put
from tests.servers import Server, serving, token

SDK = "pachyderm-sdk"
# All that answers with commits, each by what it is asked.
ASKED: dict[str, Callable[[Client, pfs_pb2.Commit], Any]] = {
    "InspectCommit": lambda client, commit: client.inspect_commit(commit),
    "ListCommit": lambda client, commit: client.list_commit("in"),
    "ListCommitSet": lambda client, commit: client.pfs.ListCommitSet(
        pfs_pb2.ListCommitSetRequest(project=pfs_pb2.Project(name="default"))
    ),
    "InspectCommitSet": lambda client, commit: client.pfs.InspectCommitSet(
        pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=commit.id))
    ),
    "ListBranch": lambda client, commit: client.list_branch("out"),
    "ListFile": lambda client, commit: client.list_file(commit, "/"),
    "DiffFile": lambda client, commit: client.diff_file(commit, "/"),
    "ListJob": lambda client, commit: client.list_job("out"),
    "InspectJob": lambda client, commit: client.inspect_job(commit.id, "out"),
    "ListDatum": lambda client, commit: client.list_datum("out", commit.id),
    "InspectPipeline": lambda client, commit: client.inspect_pipeline("out"),
    "FindCommits": lambda client, commit: client.pfs.FindCommits(
        pfs_pb2.FindCommitsRequest(start=commit, file_path="/a")
    ),
}


def commits_in(message: Message) -> Iterator[pfs_pb2.Commit]:
    """All commits in a message, however deep."""
    if isinstance(message, pfs_pb2.Commit):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from commits_in(each)


@pytest.fixture(scope="module")
def worked(server: Server) -> pfs_pb2.Commit:
    """The output commit of a job."""
    client = server.client
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    pipeline(client, "out", "cp /pfs/in/a /pfs/out/", pfs("in"))
    return last_job(client, "out").output_commit


def branches(server: Server, commit: pfs_pb2.Commit, rpc: str, agent: tuple[str, str]) -> set[bool]:
    """Whether the commits in an answer name a branch; all else that names a commit is there."""
    client = Client(server.address, token(server.root), agent)
    answer = ASKED[rpc](client, commit)
    found = [commit for each in ([answer] if isinstance(answer, Message) else answer) for commit in commits_in(each)]
    client.channel.close()
    assert all(commit.repo.name and commit.repo.type and commit.repo.project.name and commit.id for commit in found)
    return {bool(commit.branch.name or commit.branch.repo.name) for commit in found}


@pytest.mark.parametrize("rpc", ASKED)
def test_a_commit_names_no_branch_wherever_one_is(server: Server, worked: pfs_pb2.Commit, rpc: str) -> None:
    assert branches(server, worked, rpc, (SDK, "v2.12.2")) == {False}
    assert branches(server, worked, rpc, (SDK, "v2.7.6")) == {True}


@pytest.mark.parametrize(
    ("agent", "named"),
    [
        ((SDK, "v2.11.0"), False),
        ((SDK, "v3.0"), False),
        ((SDK, "v2.10.9"), True),
        ((SDK, "unspecified"), True),
        (("another", "v2.12.2"), True),
        (("", ""), True),
    ],
    ids=str,
)
def test_the_dialect_is_the_caller_s(
    server: Server, worked: pfs_pb2.Commit, agent: tuple[str, str], named: bool
) -> None:
    assert branches(server, worked, "InspectCommit", agent) == {named}


@pytest.mark.parametrize("version", ["2.7", "2.11"])
def test_a_dialect_is_for_everybody(tmp_path: Path, version: str) -> None:
    with serving(tmp_path, dialect=version) as server:
        server.client.create_repo("in")
        commit_id = put(server.client, "in", {"/a": b"1"})
        newer = Client(server.address, token(tmp_path), (SDK, "v2.12.2"))
        for client in (server.client, newer):
            assert client.inspect_commit(("in", commit_id)).commit.HasField("branch") is (version == "2.7")
        newer.channel.close()


def test_what_is_answered_so_can_be_asked_for(tmp_path: Path) -> None:
    """Each commit that a client was told of goes back to the server as it came, from its start to its end."""
    with serving(tmp_path, dialect="2.11") as server:
        client = server.client
        client.create_repo("in")
        commit = client.start_commit("in", "master")
        assert not commit.HasField("branch")
        client.put_file_bytes(commit, "/a", b"1")
        client.finish_commit(commit)
        (info,) = client.list_commit("in")
        client.wait_commit(info.commit)
        assert client.get_file(info.commit, "/a") == b"1"
        assert [each.file.commit for each in client.list_file(info.commit, "/")] == [info.commit]
        pipeline(client, "out", "cp /pfs/in/a /pfs/out/", pfs("in"))
        job = last_job(client, "out")
        assert client.get_file(job.output_commit, "/a") == b"1"
        client.create_branch("in", "b", head_commit=info.commit)
        assert [each.head for each in client.list_branch("in")] == [info.commit] * 2
        newer = client.start_commit("in", "master")
        client.copy_file(info.commit, "/a", newer, "/b")
        client.finish_commit(newer)
        client.wait_commit(newer)
        assert {each.new_file.file.path for each in client.diff_file(newer, "/", info.commit, "/")} == {"/", "/b"}
        assert client.inspect_commit(newer).parent_commit == info.commit
