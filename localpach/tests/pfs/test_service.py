"""What is put into PFS comes back: files, commits, branches, transactions."""

from __future__ import annotations

import io
import os
import tarfile
from typing import Any

import grpc
import pytest

from localpach.proto import pfs_pb2
from tests.client import Client, CommitLike, branch_of
from tests.helpers import put


def names(client: Client, commit: CommitLike, path: str = "/") -> list[str]:
    return [info.file.path for info in client.list_file(commit, path)]


def test_files_of_every_size_come_back(client: Client) -> None:
    client.create_repo("data")
    sizes = [1, 100, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 3 << 20]
    files = {f"/f{size}": os.urandom(size) for size in sizes}
    put(client, "data", files)
    for path, data in files.items():
        assert client.get_file(("data", "master"), path) == data


def test_a_commit_keeps_what_came_before_it(client: Client) -> None:
    client.create_repo("data")
    first = put(client, "data", {"/a": b"1", "/d/b": b"2"})
    put(client, "data", {"/a": b"new", "/c": b"3"})
    assert names(client, ("data", "master")) == ["/a", "/c", "/d/"]
    assert names(client, ("data", first)) == ["/a", "/d/"]
    assert client.get_file(("data", first), "/a") == b"1"


def test_a_big_directory_changes_file_by_file(client: Client) -> None:
    client.create_repo("data")
    put(client, "data", {f"/many/f{number:05}": b"%d" % number for number in range(1500)})
    with client.commit("data", "master") as commit:
        client.delete_file(commit, "/many/f00700")
        client.put_file_bytes(commit, "/many/f00701", b"changed")
    client.wait_commit(commit)
    found = names(client, ("data", "master"), "/many")
    assert len(found) == 1499
    assert found == sorted(found)
    assert "/many/f00700" not in found
    assert client.get_file(("data", "master"), "/many/f00701") == b"changed"
    diffs = client.diff_file(("data", "master"), "/")
    assert {(d.new_file or d.old_file).file.path for d in diffs} >= {"/many/f00701"}


def test_a_failed_stream_changes_nothing(client: Client) -> None:
    client.create_repo("data")
    with pytest.raises(grpc.RpcError), client.modify_file_client(("data", "master")) as modify:
        modify.put_file_from_bytes("/good", b"1")
        modify.put_file_from_bytes("/bad*", b"2")
    assert not client.list_branch("data")


def test_provenance_makes_downstream_commits_in_one_set(client: Client) -> None:
    client.create_repo("up")
    client.create_repo("down")
    client.create_branch("down", "derived", provenance=[branch_of("up", "master")])
    id = put(client, "up", {"/a": b"1"})
    found = [info.commit.repo.name for info in client.inspect_commit_set(id)]
    assert found == ["up", "down"]
    with pytest.raises(grpc.RpcError, match="cannot start a commit on an output branch"):
        client.start_commit("down", "derived")


def test_a_transaction_happens_whole_or_not_at_all(client: Client) -> None:
    with client.transaction():
        client.create_repo("one")
        client.create_repo("two")
    assert {info.repo.name for info in client.list_repo()} == {"one", "two"}
    with pytest.raises(grpc.RpcError, match="already exists"), client.transaction():
        client.create_repo("three")
        client.create_repo("one")
    assert {info.repo.name for info in client.list_repo()} == {"one", "two"}


def test_a_tar_holds_what_a_directory_holds(client: Client) -> None:
    client.create_repo("data")
    put(client, "data", {"/d/a": b"1", "/d/sub/b": b"22", "/e": b"3"})
    packed = client.get_file_tar(("data", "master"), "/d")
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        found = {info.name.strip("/"): info.size for info in tar}
    assert found == {"d": 0, "d/a": 1, "d/sub": 0, "d/sub/b": 2}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/*", ["/a1", "/a2", "/b/"]),
        ("/**", ["/a1", "/a2", "/b/", "/b/a3", "/b/c/", "/b/c/d"]),
        ("/a?", ["/a1", "/a2"]),
        ("/{a1,b/a3}", ["/a1", "/b/a3"]),
        ("/a[!1]", ["/a2"]),
        ("**/a3", ["/b/a3"]),
        ("/b/!(c)", ["/b/a3"]),
        ("/@(a1|zz)", ["/a1"]),
    ],
)
def test_globs(client: Client, pattern: str, expected: list[str]) -> None:
    client.create_repo("data")
    put(client, "data", dict.fromkeys(("/a1", "/a2", "/b/a3", "/b/c/d"), b"x"))
    assert [info.file.path for info in client.glob_file(("data", "master"), pattern)] == expected


def test_a_file_set_is_added_to_a_commit(client: Client) -> None:
    client.create_repo("data")
    put(client, "data", {"/a": b"1"})
    with client.commit("data", "master") as commit:
        client.put_file_bytes(commit, "/b", b"2" * 100_000)
    client.wait_commit(commit)
    id = client.pfs.GetFileSet(pfs_pb2.GetFileSetRequest(commit=commit)).file_set_id
    client.create_repo("copy")
    with client.commit("copy", "master") as commit:
        client.pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=id))
    client.wait_commit(commit)
    assert names(client, ("copy", "master")) == ["/a", "/b"]


def test_commits_are_listed_by_line_range_and_number(client: Client) -> None:
    client.create_repo("line")
    made = []
    for number in range(6):
        with client.commit("line", "master") as commit:
            client.put_file_bytes(commit, f"/{number}", b"x")
        made.append(commit.id)
    with client.commit("line", "other") as aside:
        pass

    def listed(**options: Any) -> list[str]:
        return [info.commit.id for info in client.list_commit("line", **options)]

    line = [("line", id) for id in made]
    assert listed() == [aside.id, *reversed(made)]
    assert listed(number=2) == [aside.id, made[5]]
    assert listed(to_commit=line[4]) == [*reversed(made[:5])]
    assert listed(to_commit=line[4], from_commit=line[1]) == [made[4], made[3], made[2]]
    assert listed(to_commit=line[4], from_commit=line[1], number=2) == [made[4], made[3]]
    assert listed(reverse=True, number=2) == [made[0], made[1]]
    for options, refusal in (
        ({"to_commit": line[4], "reverse": True}, "cannot use 'Reverse' while also using 'From' or 'To'"),
        ({"from_commit": line[4]}, "cannot use `from` commit without `to` commit"),
        ({"to_commit": ("aside", "master")}, "`from` and `to` commits need to be from repo default/line"),
    ):
        with pytest.raises(grpc.RpcError, match=refusal):
            listed(**options)
