"""File sets: changes that no commit has yet, kept for a while."""

from __future__ import annotations

import pytest

from localpach import clock
from localpach.errors import NotFound
from localpach.names import Branch, Repo
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Add
from localpach.proto import pfs_pb2
from tests.client import Changes, Client
from tests.helpers import put, refused

NONE_SUCH = "1" * 32
NONE = "file set {} not found: it was never made, or its time to live is over"


def made(client: Client, changes: Changes) -> str:
    id: str = client.pfs.CreateFileSet(iter(changes.requests[1:])).file_set_id
    return id


def as_commit(id: str) -> pfs_pb2.Commit:
    repo = pfs_pb2.Repo(name="__filesets__")
    return pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo), id=id)


def files(client: Client, commit: pfs_pb2.Commit) -> dict[str, bytes]:
    found = [info.file.path for info in client.glob_file(commit, "/**") if info.file_type == pfs_pb2.FILE]
    return {path: client.get_file(commit, path) for path in found}


def test_a_file_set_is_read_like_a_commit_and_added_to_others(client: Client) -> None:
    client.create_repo("a")
    first = put(client, "a", {"/old": b"old", "/gone": b"gone", "/d/x": b"x"})
    changes = Changes(("a", "master"))
    changes.put_file_from_bytes("/new", b"new")
    changes.put_file_from_bytes("/big", b"b" * 100_000)
    changes.delete_file("/gone")
    changes.copy_file(("a", first), "/d", "/copy")
    id = made(client, changes)
    expected = {"/new": b"new", "/big": b"b" * 100_000, "/copy/x": b"x"}
    assert files(client, as_commit(id)) == expected
    for branch in ("master", "fresh"):
        with client.commit("a", branch) as commit:
            client.put_file_bytes(commit, "/copy/x", b"replaced")
            client.pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=id))
        before = {"/old": b"old", "/d/x": b"x"} if branch == "master" else {}
        assert files(client, commit) == {**before, **expected}


def test_a_copy_that_appends_leaves_what_is_there(client: Client) -> None:
    client.create_repo("a")
    first = put(client, "a", {"/d/x": b"x"})
    changes = Changes(("a", "master"))
    changes.copy_file(("a", first), "/d", "/copy")
    changes.requests[-1].copy_file.append = True
    id = made(client, changes)
    with client.commit("a", "master") as commit:
        client.put_file_bytes(commit, "/copy/kept", b"k")
        client.pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=id))
    assert files(client, commit) == {"/d/x": b"x", "/copy/kept": b"k", "/copy/x": b"x"}


def test_file_sets_are_composed_in_order(client: Client) -> None:
    client.create_repo("a")
    ids = []
    for data in (b"1", b"2"):
        changes = Changes(("a", "master"))
        changes.put_file_from_bytes("/f", data)
        ids.append(made(client, changes))
    for order in (ids, ids[::-1]):
        request = pfs_pb2.ComposeFileSetRequest(file_set_ids=order)
        id = client.pfs.ComposeFileSet(request).file_set_id
        assert files(client, as_commit(id)) == {"/f": b"2" if order == ids else b"1"}


def test_a_file_set_that_is_not_there_is_refused(client: Client) -> None:
    client.create_repo("a")
    commit = client.start_commit("a", "master")
    for call in (
        lambda: client.pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=NONE_SUCH)),
        lambda: client.pfs.RenewFileSet(pfs_pb2.RenewFileSetRequest(file_set_id=NONE_SUCH, ttl_seconds=9)),
        lambda: client.pfs.ComposeFileSet(pfs_pb2.ComposeFileSetRequest(file_set_ids=[NONE_SUCH])),
        lambda: client.list_file(as_commit(NONE_SUCH), "/"),
    ):
        assert refused(call) == ("NOT_FOUND", NONE.format(NONE_SUCH))


class Clock:
    """A time that the test sets, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = clock.now() / 1_000_000
        monkeypatch.setattr(clock, "now_ns", lambda: int(self.seconds * 1_000_000_000))


def test_a_file_set_lives_for_half_an_hour_or_as_long_as_it_is_renewed(
    pfs: Pfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def lives(id: str) -> bool:
        try:
            pfs.file_sets.as_commit(id)
        except NotFound:
            return False
        return True

    def make(data: bytes) -> str:
        batch = pfs.writes.batch()
        return pfs.file_sets.create([Add("/f", "", (batch.add(data),))], batch)

    short, long = make(b"short"), make(b"long")
    pfs.file_sets.renew(long, 3600)
    pfs.fsck.collect()
    clock.seconds += 1799
    assert pfs.fsck.collect() == 0
    assert (lives(short), lives(long)) == (True, True)
    clock.seconds += 2
    assert (lives(short), lives(long)) == (False, True)
    with pytest.raises(NotFound):
        pfs.file_sets.renew(short, 3600)
    assert pfs.fsck.collect() >= len(b"short")
    assert lives(long)
    clock.seconds += 3600 - 1801 - 1
    assert lives(long)
    clock.seconds += 2
    assert not lives(long)
    clock.seconds -= 4
    pfs.file_sets.remove_expired()
    assert lives(long)
    clock.seconds += 4
    pfs.file_sets.remove_expired()
    clock.seconds -= 4
    assert not lives(long)


def test_a_file_set_of_a_commit_holds_all_of_it(pfs: Pfs) -> None:
    commit = pfs.commits.start(Branch(Repo("default", "in"), "master"))
    pfs.writes.put(commit, "/f", b"1", "x")
    pfs.writes.put(commit, "/f", b"2", "y")
    record = pfs.file_sets.as_commit(pfs.file_sets.of_commit(commit))
    assert record.root == pfs.commits.get(commit).root
    assert (record.commit.repo.name, record.finished, record.parent) == ("__filesets__", None, None)
