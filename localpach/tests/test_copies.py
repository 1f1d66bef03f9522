"""Backups, taken while commits come, and named states: the same ids, hashes, jobs and logs, whole by themselves."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from localpach import __main__ as program
from localpach.directory import Directory
from localpach.proto import pps_pb2
from localpach.states import States
from tests.client import Client
from tests.helpers import last_job, lines, pfs, pipeline, put
from tests.servers import serving

BIG = os.urandom(200_000)


def run(root: Path, *command: object) -> tuple[int, str]:
    """Exit status of a command of localpach, and what it prints."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["localpach", *map(str, command), "--root", str(root)])
        program.main()
    code = ended.value.code
    return (code, out.getvalue()) if isinstance(code, int) else (1, f"{out.getvalue()}{code}\n")


def seen(client: Client) -> dict[str, object]:
    """All that a client can see: commits with the hashes and bytes of their files, jobs and what they logged."""
    found: dict[str, object] = {}
    for repo in client.list_repo():
        for info in client.list_commit(repo.repo.name):
            files = client.glob_file(info.commit, "/**")
            paths = [file.file.path for file in files if not file.file.path.endswith("/")]
            contents = [client.get_file(info.commit, path) for path in paths]
            found[f"{repo.repo.name}@{info.commit.id}"] = (info, files, contents)
    for job in client.pps.ListJob(pps_pb2.ListJobRequest()):
        found[job.job.id] = (job, lines(client, job.job.pipeline.name, job))
    return found


def fill(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/small": b"1", "/d/big": BIG})
    pipeline(client, "copy", "echo copied; cp -r /pfs/in/. /pfs/out/", pfs("in"))
    assert last_job(client, "copy").state == pps_pb2.JOB_SUCCESS


def inode(root: Path) -> list[int]:
    return sorted(file.stat().st_ino for file in (root / "objects").glob("*/*"))


def test_a_backup_is_restored_elsewhere_with_the_same_ids_and_hashes(tmp_path: Path) -> None:
    root, backup, other = (tmp_path / name for name in ("root", "backup", "other"))
    with serving(root) as server:
        fill(server.client)
        assert run(root, "backup", backup) == (0, f"backed up to {backup}: 1 big contents are new\n")
        kept = inode(backup)
        put(server.client, "in", {"/more": b"2", "/d/more": BIG[1:]})
        last_job(server.client, "copy")
        assert run(root, "backup", backup) == (0, f"backed up to {backup}: 1 big contents are new\n")
        assert set(kept) < set(inode(backup))
        before = seen(server.client)
    assert run(other, "restore", backup) == (0, f"restored to {other}\n")
    assert run(other, "fsck", "--read-data") == run(backup, "fsck", "--read-data") == (0, "all is well\n")
    with serving(other) as server:
        assert seen(server.client) == before
        put(server.client, "in", {"/next": b"3"})
        assert last_job(server.client, "copy").state == pps_pb2.JOB_SUCCESS
    assert run(other, "restore", backup) == (1, f"localpach: {other} has data already; name another --root\n")


def test_a_backup_is_of_one_moment_while_commits_come(tmp_path: Path) -> None:
    root = tmp_path / "root"
    ended = threading.Event()
    acknowledged: list[str] = []
    with serving(root) as server:
        server.client.create_repo("in")

        def write() -> None:
            while not ended.is_set():
                number = str(len(acknowledged)).encode()
                acknowledged.append(put(server.client, "in", {"/a": number, "/b": number + BIG}))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(2):
                least = len(acknowledged)
                backup = tmp_path / f"backup{number}"
                assert run(root, "backup", backup)[0] == 0
                assert run(backup, "fsck", "--read-data") == (0, "all is well\n")
                with serving(backup) as copy:
                    commits = copy.client.list_commit("in")
                    assert len(commits) >= least
                    for info in commits:
                        if info.HasField("finished"):
                            number_in = copy.client.get_file(info.commit, "/a")
                            assert copy.client.get_file(info.commit, "/b") == number_in + BIG
        finally:
            ended.set()
            writer.join(60)


def test_what_is_damaged_is_named_and_the_rest_is_backed_up(tmp_path: Path) -> None:
    root, backup = tmp_path / "root", tmp_path / "backup"
    with serving(root) as server:
        fill(server.client)
    (place,) = (root / "objects").glob("*/*")
    place.chmod(0o600)
    place.write_bytes(b"x" * len(BIG))
    code, told = run(root, "backup", backup)
    assert code == 1
    assert told.splitlines()[1].startswith(f"content {place.parent.name}{place.name}: ")
    with serving(backup) as server:
        assert server.client.get_file(("in", "master"), "/small") == b"1"


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    root, other, empty = (tmp_path / name for name in ("root", "other", "empty"))
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with serving(root):
        assert run(root, "backup", other) == (
            1,
            f"localpach: {other} holds something else than a data directory of localpach; name an empty folder\n",
        )
        for command in (("backup", root), ("state", "load", "none")):
            assert run(root, *command)[0] == 1
    assert run(tmp_path / "new", "restore", empty) == (1, f"localpach: {empty} is not a data directory of localpach\n")
    assert [file.name for file in other.iterdir()] == ["thesis.txt"]


def test_a_state_is_loaded_again_and_shares_big_contents(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        fill(server.client)
        first = seen(server.client)
        assert run(tmp_path, "state", "save", "first") == (0, "saved as first\n")
        put(server.client, "in", {"/more": b"2"})
        last_job(server.client, "copy")
        second = seen(server.client)
        assert run(tmp_path, "state", "save", "second") == (0, "saved as second\n")
        server.client.delete_all()
        code, told = run(tmp_path, "state", "load", "first")
        assert (code, "another localpach serves" in told) == (1, True)
    assert inode(tmp_path) == inode(tmp_path / "states" / "first") == inode(tmp_path / "states" / "second")
    assert run(tmp_path, "gc")[1] != "freed 0 bytes\n"
    assert inode(tmp_path) == []
    for name, then in (("first", first), ("second", second), ("first", first)):
        assert run(tmp_path, "state", "load", name) == (0, f"{name} is loaded\n")
        assert run(tmp_path, "fsck", "--read-data") == (0, "all is well\n")
        with serving(tmp_path) as server:
            assert seen(server.client) == then
    listed = run(tmp_path, "state", "list")[1].splitlines()
    assert [line.split("\t")[0] for line in listed] == ["first", "second"]


def test_states_have_names_of_their_own(tmp_path: Path) -> None:
    with serving(tmp_path):
        assert run(tmp_path, "state", "save", "a")[0] == 0
        assert run(tmp_path, "state", "save", "a") == (
            1,
            f"localpach: there is a state a of {tmp_path}; choose another name\n",
        )
        for name in ("../a", ".a", "a/b", ""):
            for verb in ("save", "load"):
                assert run(tmp_path, "state", verb, name)[0] == 1
    assert sorted(file.name for file in (tmp_path / "states").iterdir()) == [".lock", "a"]


def test_a_state_is_not_loaded_while_somebody_reads_the_database(tmp_path: Path) -> None:
    """What he keeps from being written to it would be lost with the log that it stands in."""
    root = tmp_path / "root"
    with serving(root) as server:
        server.client.create_repo("old")
        assert run(root, "state", "save", "a")[0] == 0
        server.client.create_repo("new")
        # As a kill would leave it.
        killed = tmp_path / "killed"
        shutil.copytree(root, killed)
    with closing(sqlite3.connect(killed / "metadata.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM repos").fetchall()
        code, told = run(killed, "state", "load", "a")
        assert "another program reads" in told
        assert code == 1
    with serving(killed) as server:
        assert {info.repo.name for info in server.client.list_repo()} == {"old", "new"}
    assert run(killed, "state", "load", "a")[0] == 0
    with serving(killed) as server:
        assert [info.repo.name for info in server.client.list_repo()] == ["old"]


def test_what_a_kill_has_left_of_copies_goes_with_the_next(tmp_path: Path) -> None:
    root, backup = tmp_path / "root", tmp_path / "backup"
    with serving(root) as server:
        fill(server.client)
        assert run(root, "backup", backup)[0] == 0
        for place in (backup / "tmp" / ".copy.0" / "logs", root / "states" / ".a.new" / "logs"):
            place.mkdir(parents=True)
            (place / "1").write_text("1")
        (backup / ".metadata.sqlite.new-wal").write_text("1")
        assert run(root, "backup", backup)[0] == 0
        assert run(root, "fsck") == (0, "all is well\n")
    assert not list((backup / "tmp").iterdir())
    assert not list(backup.glob(".metadata*"))
    with serving(root):
        assert [file.name for file in (root / "states").iterdir()] == [".lock"]


def test_a_backup_that_can_only_be_read_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, backup, other = (tmp_path / name for name in ("root", "backup", "other"))
    with serving(root) as server:
        fill(server.client)
        before = seen(server.client)
        assert run(root, "backup", backup)[0] == 0
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != backup)
    opened = []
    connect = sqlite3.connect

    def only_read(database: Any, **options: Any) -> sqlite3.Connection:
        opened.append(str(database))
        opened_one: sqlite3.Connection = connect(database, **options)
        return opened_one

    monkeypatch.setattr(sqlite3, "connect", only_read)
    assert run(other, "restore", backup)[0] == 0
    assert [each for each in opened if str(backup) in each] == [f"{(backup / 'metadata.sqlite').as_uri()}?immutable=1"]
    with serving(other) as server:
        assert seen(server.client) == before


def test_looking_whether_a_directory_is_served_keeps_nobody_from_serving_it(tmp_path: Path) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            assert Directory(tmp_path).is_served in (True, False)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    Directory(tmp_path).create()
    for looker in lookers:
        looker.start()
    try:
        for _ in range(300):
            with Directory(tmp_path).locked():
                pass
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_states_that_are_deleted_by_two_at_once_are_gone(tmp_path: Path) -> None:
    with serving(tmp_path):
        states = States(tmp_path)
        for number in range(5):
            states.save(f"a{number}")
            with ThreadPoolExecutor(3) as pool:
                done = [pool.submit(states.delete, f"a{number}") for _ in range(2)]
                listed = pool.submit(states.list)
            assert [each.exception() for each in done] == [None, None]
            assert listed.exception() is None
        assert states.list() == []
