"""What jobs write: folders moved into commits, and what an earlier job wrote taken over."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from localpach.errors import NotFound, Refused
from localpach.names import Branch, Commit, Repo
from localpach.pfs import outputs, paths
from localpach.pfs.files import Given
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Add, Copy, Delete
from localpach.storage.store import Store

IN = Branch(Repo("default", "in"), "master")
BIG = b"b" * 70_000


def contents(pfs: Pfs, commit: Commit) -> dict[str, bytes]:
    record = pfs.commits.get(commit)
    files = [entry for entry in pfs.files.walk(record, "/") if not entry.is_dir]
    return {entry.path: b"".join(pfs.files.read(record, entry)) for entry in files}


def finish(pfs: Pfs, commit: Commit) -> None:
    """As the finisher does."""
    pfs.commits.finish(commit)
    for record in pfs.commits.finishing():
        pfs.commits.set_finished(record, "")


def add(pfs: Pfs, commit: Commit, folder: Path) -> int:
    """Adds what a command left in a folder that it has seen as /pfs/out and as what it is; gives its bytes."""
    collected = pfs.writes.collect({"/pfs/out": (folder,), str(folder): (folder,)}, "datum", {})
    pfs.writes.apply(commit, collected.changes, collected.batch)
    return collected.size


def test_a_folder_is_moved_into_a_commit(pfs: Pfs, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "none").mkdir()
    (folder / "d" / "e" / "deep").write_bytes(b"deep")
    (folder / "big").write_bytes(BIG)
    (folder / "empty").touch()
    (folder / "link").symlink_to("d/e/deep")
    (folder / "all").symlink_to("d")
    (folder / "d" / "absolute").symlink_to(folder / "big")
    commit = pfs.commits.start(IN)
    size = add(pfs, commit, folder)
    expected = {
        "/d/e/deep": b"deep",
        "/big": BIG,
        "/empty": b"",
        "/link": b"deep",
        "/all/e/deep": b"deep",
        "/all/absolute": BIG,
        "/d/absolute": BIG,
    }
    assert contents(pfs, commit) == expected
    assert size == sum(map(len, expected.values()))
    assert {pfs.files.entry(pfs.commits.get(commit), path).datum for path in expected} == {"datum"}


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "nowhere", "/etc"])
def test_a_link_that_leads_out_is_refused(pfs: Pfs, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "link").symlink_to(target)
    commit = pfs.commits.start(IN)
    with pytest.raises(Refused, match=f"^/link in /pfs/out is a link to {target}: (only links to |there is nothing)"):
        add(pfs, commit, folder)
    assert contents(pfs, commit) == {}


@pytest.mark.parametrize("links", [{"d/up": ".."}, {"d/e": "../other", "other/d": "../d"}])
def test_links_that_lead_round_are_refused(pfs: Pfs, tmp_path: Path, links: dict[str, str]) -> None:
    folder = tmp_path / "out"
    for link, target in links.items():
        (folder / link).parent.mkdir(parents=True)
        (folder / link).symlink_to(target)
    with pytest.raises(Refused, match=r"in /pfs/out is a link to a directory that it is in itself"):
        add(pfs, pfs.commits.start(IN), folder)


@pytest.mark.parametrize("holds", ["files", "nothing"])
def test_links_that_multiply_are_refused(pfs: Pfs, tmp_path: Path, holds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 20 links leads to 20 that lead to the same directory of directories."""
    monkeypatch.setattr(outputs, "LINKED", 300)
    folder, there = tmp_path / "out", tmp_path / "out" / "there"
    for number in range(20):
        (there / str(number)).mkdir(parents=True)
        if holds == "files":
            (there / str(number) / "f").touch()
        for source, target in (("first", "second"), ("second", "there")):
            (folder / source).mkdir(exist_ok=True)
            (folder / source / str(number)).symlink_to(f"../{target}")
    with pytest.raises(Refused, match="links in /pfs/out lead to more than 300 files and directories"):
        add(pfs, pfs.commits.start(IN), folder)


def test_files_lie_no_deeper_than_can_be_gone_down_to(pfs: Pfs) -> None:
    """Wherever they come from: a client, or a copy of a directory to below another."""
    deepest = "/d" * paths.LEVELS
    commit = pfs.commits.start(IN)
    pfs.writes.put(commit, deepest, b"1", "")
    assert contents(pfs, commit) == {deepest: b"1"}
    assert [entry.path for entry in pfs.files.glob(pfs.commits.get(commit), "/**")][-1] == deepest
    root = pfs.commits.get(commit).root
    copy = Copy(root, "/", "/d", "", append=False)
    for change in (Add(f"{deepest}/f", "", ()), Add("/f" * 100_000, "", ()), copy):
        with pytest.raises(Refused, match=f"it goes more than {paths.LEVELS} directories deep") as caught:
            pfs.writes.apply(commit, [change], pfs.writes.batch())
        assert len(caught.value.message) < 200
    assert contents(pfs, commit) == {deepest: b"1"}
    finish(pfs, commit)
    after = pfs.commits.start(IN)
    pfs.writes.apply(after, [Delete("/d/", "")], pfs.writes.batch())
    assert contents(pfs, after) == {}
    assert len(list(pfs.files.diff((pfs.commits.get(after), "/"), None))) == paths.LEVELS + 1


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused(pfs: Pfs, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out" / "d").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / "d")
    if kind == "pipe":
        os.mkfifo("it")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("it")
    with pytest.raises(Refused) as caught:
        add(pfs, pfs.commits.start(IN), tmp_path / "out")
    sentence = "/d/it in /pfs/out is neither a file nor a directory: write regular files there"
    assert caught.value.message == sentence


def test_a_name_that_no_path_can_have_is_refused(pfs: Pfs, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a*b").touch()
    with pytest.raises(Refused, match=r"path \(/a\*b\) invalid: globbing character"):
        add(pfs, pfs.commits.start(IN), tmp_path / "out")


def test_what_some_datums_wrote_is_not_carried_on(pfs: Pfs) -> None:
    source = pfs.commits.start(IN)
    batch = pfs.writes.batch()
    changes = [
        Add("/both", "kept", (batch.add(b"k"),)),
        Add("/both", "gone", (batch.add(b"g"),)),
        Add("/kept", "kept", (batch.add(b"kept"),)),
        Add("/d/gone", "gone", (batch.add(b"gone"),)),
    ]
    pfs.writes.apply(source, changes, batch)
    finish(pfs, source)
    pfs.repos.create(Repo("default", "copy"))
    some, all = (pfs.commits.start(Branch(Repo("default", "copy"), name)) for name in ("some", "all"))
    pfs.writes.carry(source, all, set())
    pfs.writes.carry(source, some, {"gone", "never"})
    assert contents(pfs, all) == contents(pfs, source)
    assert pfs.commits.get(all).root == pfs.commits.get(source).root
    assert contents(pfs, some) == {"/both": b"k", "/kept": b"kept"}
    pfs.writes.put(some, "/both", b"new", "kept")
    pfs.writes.put(some, "more", b"m", "other")
    assert contents(pfs, some) == {"/both": b"knew", "/kept": b"kept", "/more": b"m"}
    finish(pfs, some)
    assert pfs.commits.get(some).error == ""


def test_changes_are_made_all_or_none(pfs: Pfs, store: Store) -> None:
    batch = pfs.writes.batch()
    with pytest.raises(NotFound, match="repo default/none not found"):
        pfs.writes.apply_to_branch(
            Branch(Repo("default", "none"), "master"), [Add("/a", "", (batch.add(b"1"),))], batch
        )
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM contents").fetchone()[0] == 0


def test_a_branch_is_written_to_in_its_open_head_or_in_a_commit_of_no_length(pfs: Pfs) -> None:
    def write(path: str) -> None:
        batch = pfs.writes.batch()
        pfs.writes.apply_to_branch(IN, [Add(path, "", (batch.add(b"1"),))], batch)

    write("/a")
    first = pfs.commits.head(IN)
    assert first is not None
    assert first.finishing is not None
    assert first.started == first.finishing
    for record in pfs.commits.finishing():
        pfs.commits.set_finished(record, "")
    second = pfs.commits.start(IN)
    write("/b")
    batch = pfs.writes.batch()
    pfs.writes.apply_to_branch(IN, [Delete("/a", "")], batch)
    head = pfs.commits.head(IN)
    assert head is not None
    assert (head.commit, head.finishing, contents(pfs, second)) == (second, None, {"/b": b"1"})


def test_a_view_is_laid_out_with_links_or_copies(pfs: Pfs, tmp_path: Path) -> None:
    commit = pfs.commits.start(IN)
    files = {"/big": BIG, "/d/small": b"s", "/d/empty": b"", "/d/e/long": BIG * 2}
    for path, data in files.items():
        pfs.writes.put(commit, path, data, "x")
    pfs.writes.put(commit, "/two", BIG, "x")
    pfs.writes.put(commit, "/two", BIG, "y")
    files["/two"] = BIG * 2
    finish(pfs, commit)
    for given in (Given.LINKS, Given.COPIES):
        target = tmp_path / f"view{given}"
        assert pfs.files.export(commit, "/", target / "in", given) == sum(map(len, files.values()))
        laid = {f"/{path.relative_to(target / 'in')}": path for path in (target / "in").rglob("*") if path.is_file()}
        assert {path: file.read_bytes() for path, file in laid.items()} == files
        linked = {path for path, file in laid.items() if file.stat().st_nlink > 1}
        assert linked == ({"/big", "/d/e/long"} if given is Given.LINKS else set())
        assert {path for path, file in laid.items() if not file.stat().st_mode & 0o222} == linked
        assert pfs.files.export(commit, "/d/small", target / "other" / "deep" / "s", given) == 1
        assert (target / "other" / "deep" / "s").read_bytes() == b"s"
        assert pfs.files.export(commit, "d", target / "other", given) == 1 + len(BIG) * 2
        assert (target / "other" / "e" / "long").read_bytes() == BIG * 2
    assert pfs.files.export(commit, "/", tmp_path / "names", Given.NAMES) == 0
    laid = {
        f"/{path.relative_to(tmp_path / 'names')}": path for path in (tmp_path / "names").rglob("*") if path.is_file()
    }
    assert laid.keys() == files.keys()
    assert not any(file.stat().st_size for file in laid.values())
    with pytest.raises(NotFound) as caught:
        pfs.files.export(commit, "/none", tmp_path / "x", Given.COPIES)
    assert caught.value.message == f"file /none not found in repo default/in at commit {commit.id}"


def test_a_child_of_a_commit_that_is_about_to_finish_has_what_that_will_hold(pfs: Pfs) -> None:
    """An output that nobody wrote to holds what came before it, and is finished by another thread."""
    first = pfs.commits.start(IN)
    pfs.writes.put(first, "/a", b"1", "")
    finish(pfs, first)
    up, out = Branch(Repo("default", "up"), "master"), Branch(Repo("default", "in"), "out")
    pfs.repos.create(up.repo)
    pfs.provenance.create_branch(out, head=lambda: pfs.commits.get(first))
    pfs.provenance.create_branch(out, provenance=[up])
    head = pfs.commits.head(out)
    assert head is not None
    assert head.parent == pfs.commits.get(first).num
    pfs.commits.finish(head.commit)
    child = pfs.commits.start(IN, parent=lambda: pfs.commits.get(head.commit))
    assert contents(pfs, child) == {"/a": b"1"}
