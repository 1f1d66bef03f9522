"""Reading files: pages, ranges, patterns, histories, and what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from localpach.errors import Corrupt
from localpach.names import Branch, Repo
from localpach.pfs.service import Pfs
from localpach.proto import pfs_pb2
from localpach.storage.store import Store
from localpach.waiting import Bulletin
from tests.client import Client, commit_of
from tests.helpers import put, refused

NAMES = ["/a", "/b/", "/b/x", "/b/y", "/b/z/", "/b/z/deep", "/c"]


@pytest.fixture
def commit(client: Client) -> pfs_pb2.Commit:
    """A commit of some files."""
    client.create_repo("in")
    files = {name: name.encode() * 2 for name in NAMES if not name.endswith("/")}
    return commit_of(("in", put(client, "in", files)))


def paths(answers: Any) -> list[str]:
    return [info.file.path for info in answers]


def test_lists_are_paged_both_ways(client: Client, commit: pfs_pb2.Commit) -> None:
    def listed(path: str, marker: str = "", **fields: Any) -> list[str]:
        request = pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=commit, path=path), **fields)
        if marker:
            request.paginationMarker.CopyFrom(pfs_pb2.File(commit=commit, path=marker))
        return paths(client.pfs.ListFile(request))

    assert listed("/b") == listed("/b/") == listed("b") == ["/b/x", "/b/y", "/b/z/"]
    assert listed("/b", number=2) == ["/b/x", "/b/y"]
    assert listed("/b", "/b/x") == ["/b/y", "/b/z/"]
    assert listed("/b", "/b/x", number=1) == ["/b/y"]
    assert listed("/b", reverse=True, number=9) == ["/b/z/", "/b/y", "/b/x"]
    assert listed("/b", "/b/z/", reverse=True, number=1) == ["/b/y"]
    assert listed("/", "/b/") == ["/c"]
    assert listed("/", "/b/", reverse=True, number=9) == ["/a"]
    assert listed("/a") == ["/a"]
    assert listed("/none") == listed("/a/none") == []


def test_walks_are_paged_both_ways(client: Client, commit: pfs_pb2.Commit) -> None:
    def walked(path: str, marker: str = "", **fields: Any) -> list[str]:
        request = pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=commit, path=path), **fields)
        if marker:
            request.paginationMarker.CopyFrom(pfs_pb2.File(commit=commit, path=marker))
        return paths(client.pfs.WalkFile(request))

    assert walked("/") == ["/", *NAMES]
    assert walked("/b") == walked("/b/") == NAMES[1:6]
    assert walked("/a") == ["/a"]
    assert walked("/", "/b/y", number=2) == ["/b/z/", "/b/z/deep"]
    assert walked("/", reverse=True, number=3) == ["/c", "/b/z/deep", "/b/z/"]
    assert walked("/", "/b/y", reverse=True, number=9) == ["/b/x", "/b/", "/a", "/"]
    assert refused(lambda: walked("/", reverse=True)) == ("UNKNOWN", "number must be > 0 when reverse is true")
    code, details = refused(lambda: walked("/none"))
    assert (code, details) == ("NOT_FOUND", f"commit/{commit.id} does not contain item: (/none)")


def test_an_empty_commit_has_a_root_and_nothing_else(client: Client) -> None:
    client.create_repo("in")
    commit = client.start_commit("in", "master")
    root = pfs_pb2.File(commit=commit, path="/")
    assert paths(client.pfs.WalkFile(pfs_pb2.WalkFileRequest(file=root))) == ["/"]
    assert client.list_file(commit, "/") == client.glob_file(commit, "/**") == []
    assert client.pfs.InspectFile(pfs_pb2.InspectFileRequest(file=root)).size_bytes == 0
    assert paths(client.glob_file(commit, "/")) == ["/"]
    assert client.diff_file(commit, "/") == []


def test_what_is_not_there_is_named(client: Client, commit: pfs_pb2.Commit) -> None:
    sentence = f"file /none not found in repo default/in at commit {commit.id}"
    file = pfs_pb2.File(commit=commit, path="/none")
    assert refused(lambda: client.pfs.InspectFile(pfs_pb2.InspectFileRequest(file=file))) == ("NOT_FOUND", sentence)
    assert refused(lambda: client.get_file(commit, "/none")) == ("NOT_FOUND", sentence)
    text = "cannot get directory or non-regular file. Use GetFileTAR instead"
    assert refused(lambda: client.get_file(commit, "/b")) == ("UNKNOWN", text)
    assert refused(lambda: client.get_file(commit, "/b/*")) == (
        "UNKNOWN",
        "matched multiple files. Use GetFileTAR instead",
    )


def test_patterns_look_no_deeper_than_they_can_match(client: Client, commit: pfs_pb2.Commit) -> None:
    for pattern, expected in (
        ("/*", ["/a", "/b/", "/c"]),
        ("/*/*", ["/b/x", "/b/y", "/b/z/"]),
        ("/b/*", ["/b/x", "/b/y", "/b/z/"]),
        ("/b/**", ["/b/x", "/b/y", "/b/z/", "/b/z/deep"]),
        ("b/z/d*", ["/b/z/deep"]),
        ("/none/*", []),
        ("/a/*", []),
        ("/b", ["/b/"]),
        ("/", ["/"]),
        ("/none", []),
    ):
        assert paths(client.glob_file(commit, pattern)) == expected, pattern


def test_bytes_are_read_from_an_offset_over_all_pieces(client: Client) -> None:
    client.create_repo("in")
    pieces = [b"a" * 70_000, b"b" * 10, b"c" * 70_000]
    with client.commit("in", "master") as commit:
        for piece in pieces:
            client.put_file_bytes(commit, "/f", piece, append=True)
    whole = b"".join(pieces)
    for offset in (0, 1, 69_999, 70_000, 70_005, 70_010, len(whole) - 1, len(whole)):
        request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path="/f"), offset=offset)
        assert b"".join(chunk.value for chunk in client.pfs.GetFile(request)) == whole[offset:]


def test_the_history_of_a_path_names_the_commits_that_changed_it(client: Client) -> None:
    client.create_repo("in")
    changes: list[dict[str, bytes]] = [{"/x": b"1"}, {"/f": b"1"}, {"/x": b"2"}, {"/f": b"2"}, {"/f": b"2"}]
    ids = [put(client, "in", files) for files in changes]
    with client.commit("in", "master") as last:
        client.delete_file(last, "/f")
    client.wait_commit(last)

    def found(path: str, **fields: Any) -> tuple[list[str], str, list[int]]:
        request = pfs_pb2.FindCommitsRequest(start=last, file_path=path, **fields)
        answers = list(client.pfs.FindCommits(request))
        searched = [each.commits_searched for each in answers]
        return [each.found_commit.id for each in answers[:-1]], answers[-1].last_searched_commit.id, searched

    assert found("/f") == ([last.id, ids[3], ids[1]], ids[0], [0, 2, 4, 6])
    assert found("/f", limit=2) == ([last.id, ids[3]], ids[3], [0, 2, 3])
    assert found("/x") == ([ids[2], ids[0]], ids[0], [3, 5, 6])
    assert found("/none") == ([], ids[0], [6])


def test_differences_are_to_the_parent_or_to_another_path(client: Client) -> None:
    client.create_repo("in")
    first = commit_of(("in", put(client, "in", {"/a": b"1", "/d/x": b"1", "/d/y": b"1"})))
    second = commit_of(("in", put(client, "in", {"/d/x": b"2", "/e/x": b"2"})))

    def diff(new: pfs_pb2.Commit, path: str, old: pfs_pb2.Commit | None = None, old_path: str = "") -> list[Any]:
        found = client.diff_file(new, path, old, old_path)
        return [(each.new_file.file.path, each.old_file.file.path) for each in found]

    assert diff(first, "/") == [(path, "") for path in ("/", "/a", "/d/", "/d/x", "/d/y")]
    assert diff(second, "/") == [("/", "/"), ("/d/", "/d/"), ("/d/x", "/d/x"), ("/e/", ""), ("/e/x", "")]
    assert diff(second, "/d") == [("/d/", "/d/"), ("/d/x", "/d/x")]
    assert diff(second, "/a") == diff(second, "/none") == diff(second, "/", second, "/") == []
    assert diff(second, "/e", first, "/e") == [("/e/", ""), ("/e/x", "")]
    assert diff(first, "/e", second, "/e") == [("", "/e/"), ("", "/e/x")]
    assert diff(second, "/e", second, "/none") == [("/e/", ""), ("/e/x", "")]
    assert diff(second, "/none", second, "/e") == [("", "/e/"), ("", "/e/x")]
    assert diff(second, "/", second, "/d") == [
        ("/", ""),
        ("/a", ""),
        ("/e/", ""),
        ("/e/x", ""),
    ]
    assert client.diff_file(second, "/d/x")[0].old_file.file.commit.id == first.id


IN = Branch(Repo("default", "in"), "master")


def filled(pfs: Pfs) -> dict[str, bytes]:
    """Commits with small and big files and what was written over since; the newest commit's files."""
    files = {"/small": b"small", "/d/big": b"b" * 100_000}
    for number in range(2):
        commit = pfs.commits.start(IN)
        for path, data in files.items():
            pfs.writes.put(commit, path, data + b"%d" % number, "x")
        pfs.commits.finish(commit)
        for record in pfs.commits.finishing():
            pfs.commits.set_finished(record, "")
    return files


def test_what_no_commit_reaches_is_freed(pfs: Pfs, store: Store) -> None:
    filled(pfs)
    pfs.fsck.collect()
    before = pfs.objects.stored()
    assert pfs.fsck.collect() == 0
    head = pfs.commits.head(IN)
    assert head is not None
    pfs.commit_sets.drop(head.commit.id)
    assert pfs.fsck.collect() > 100_000
    assert len(pfs.objects.stored()) < len(before)
    assert list(pfs.fsck.check(read_data=True)) == []
    assert pfs.fsck.check_contents(True) == len(pfs.objects.stored()) == 2
    pfs.deletion.delete_everything()
    pfs.fsck.collect()
    with store.read() as connection:
        assert [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("contents", "nodes")
        ] == [0, 0]


def test_damage_is_told_once_for_what_many_commits_hold(pfs: Pfs, store: Store) -> None:
    filled(pfs)
    assert list(pfs.fsck.check()) == list(pfs.fsck.check(read_data=True)) == []
    (ref,) = (each for each in pfs.objects.stored() if each.size == len(b"small0small1"))
    with store.write() as connection:
        connection.execute("UPDATE contents SET data = x'00' WHERE hash = ?", (bytes.fromhex(ref.hash),))
    (problem,) = pfs.fsck.check()
    assert problem.startswith(f"content {ref.hash} is damaged in the database")
    with pytest.raises(Corrupt) as caught:
        pfs.fsck.check_contents(True)
    assert caught.value.message.startswith("content ")
    assert pfs.fsck.check_contents(False) >= 2
    with store.write() as connection:
        connection.execute("DELETE FROM nodes")
    fresh = Pfs(store, Bulletin(store.after_commit))
    assert len(list(fresh.fsck.check())) == 2
    assert all("is missing from the database" in sentence for sentence in fresh.fsck.check())
