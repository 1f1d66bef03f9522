"""A damaged database ends `serve` and `fsck` with a sentence, and `fsck --repair` with all that can still be read."""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from localpach import __main__ as program
from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import last_job, lines, pfs, pipeline, put, shell
from tests.servers import serving

FILES = {f"/d{number % 7}/f{number}": b"%d " % number * (number % 50 + 1) for number in range(60)}
BIG = b"0123456789" * 10_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with files, a pipeline and its job."""
    root = tmp_path_factory.mktemp("whole") / "root"
    with serving(root) as server:
        server.client.create_repo("in")
        put(server.client, "in", FILES | {"/big": BIG})
        pipeline(server.client, "copy", "echo done; cp -r /pfs/in/. /pfs/out/", pfs("in", "/"))
        assert last_job(server.client, "copy").state == pps_pb2.JOB_SUCCESS
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "root"))


def run(root: Path, *command: str) -> tuple[int, str]:
    """What a command of localpach gives and prints; any other error than one that it ends with is the test's."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), pytest.raises(SystemExit) as ended:
        patch.setattr(program, "_end_signals", ended_at_once)
        patch.setattr(sys, "argv", ["localpach", *command, "--root", str(root)])
        program.main()
    code = ended.value.code
    return (code, out.getvalue()) if isinstance(code, int) else (1, f"{out.getvalue()}{code}\n")


def ended_at_once() -> int:
    """Has `serve` end as soon as it serves."""
    readable, writable = os.pipe()
    os.write(writable, b"1")
    os.close(writable)
    return readable


def execute(root: Path, statement: str) -> None:
    connection = sqlite3.connect(root / "metadata.sqlite", isolation_level=None)
    connection.executescript(statement)
    connection.close()


def files(client: Client, repo: str) -> dict[str, bytes]:
    found = [info.file.path for info in client.glob_file((repo, "master"), "/**") if not info.file.path.endswith("/")]
    return {path: client.get_file((repo, "master"), path) for path in found}


def test_nothing_is_wrong_with_a_whole_one(root: Path) -> None:
    assert run(root, "fsck", "--repair", "--read-data") == (0, "all is well\n")
    assert not list(root.glob("*.damaged-*"))


DAMAGES = {
    "no database": lambda file: file.write_bytes(b"SQLite format 4\0" + b"x" * 5000),
    "emptied": lambda file: file.write_bytes(b""),
    "gone": lambda file: file.unlink(),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-20_000]),
    "a header overwritten": lambda file: file.write_bytes(b"\0" * 100 + file.read_bytes()[100:]),
    "pages overwritten": lambda file: file.write_bytes(
        file.read_bytes()[:8192] + b"\xff" * 8192 + file.read_bytes()[16384:]
    ),
}
STATEMENTS = [
    "DROP TABLE jobs",
    "PRAGMA foreign_keys = OFF; DROP TABLE repos",
    "DROP TABLE contents",
    "DROP INDEX jobs_to_do",
    "ALTER TABLE commits DROP COLUMN collisions",
    "ALTER TABLE nodes RENAME COLUMN data TO dada",
    "PRAGMA user_version = -5",
]


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file(root: Path, name: str) -> None:
    DAMAGES[name](root / "metadata.sqlite")
    check(root)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_schema_that_is_not_ours(root: Path, statement: str) -> None:
    execute(root, statement)
    check(root)


def check(root: Path) -> None:
    """It is told in one sentence, repaired, and served."""
    code, told = run(root, "fsck")
    assert code == 1
    assert "--repair" in told or "database: " in told
    if "fsck --repair --root" in told:
        assert run(root, "serve", "--port", "0") == (1, told)
    code, told = run(root, "fsck", "--repair")
    assert code == 0, told
    assert "the damaged database is kept as" in told
    assert run(root, "fsck", "--read-data") == (0, "all is well\n")
    with serving(root) as server:
        for info in server.client.list_repo():
            if info.branches:
                found = files(server.client, info.repo.name)
                assert found.items() <= (FILES | {"/big": BIG}).items()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(15))
def test_a_page_overwritten_at_random_is_told_and_repaired(root: Path, seed: int) -> None:
    draw = random.Random(seed)
    file = root / "metadata.sqlite"
    data = bytearray(file.read_bytes())
    place = draw.randrange(0, len(data) - 4096)
    data[place : place + 4096] = draw.randbytes(4096)
    file.write_bytes(data)
    code, told = run(root, "fsck", "--read-data")
    if code == 0:
        # A page that nothing uses.
        return
    code, told = run(root, "fsck", "--repair")
    assert code == 0, told
    with serving(root) as server:
        for info in server.client.list_repo():
            for branch in info.branches:
                assert branch.name
        server.client.create_repo("new")
        put(server.client, "new", {"/a": b"1"})
        pipeline(server.client, "next", "cp /pfs/new/* /pfs/out/", pfs("new"))
        assert last_job(server.client, "next").state == pps_pb2.JOB_SUCCESS


@pytest.mark.parametrize("kept", [True, False])
def test_damaged_records_of_pipelines_and_jobs_are_named_and_taken_out(root: Path, kept: bool) -> None:
    with serving(root) as server:
        server.client.start_commit("in", "master")
        if kept:
            server.client.create_pipeline("copy", transform=shell("true"), input=pfs("in", "/"), update=True)
        job = server.client.list_job("copy")[0]
    execute(root, f"UPDATE jobs SET info = x'ff' WHERE id = '{job.job.id}'")
    execute(root, "UPDATE pipeline_versions SET info = x'ff' WHERE rowid = (SELECT max(rowid) FROM pipeline_versions)")
    version = 2 if kept else 1
    damaged = [
        f"pipeline default/copy: the record of its version {version} is damaged",
        f"job default/copy@{job.job.id}: its record is damaged",
    ]
    assert run(root, "fsck") == (1, "\n".join([*damaged, "2 problems found\n"]))
    lost = [f"lost: {sentence}" for sentence in damaged]
    assert run(root, "fsck", "--repair") == (0, "\n".join([*lost, "all is well\n"]))
    with serving(root) as server:
        assert server.client.inspect_commit(("copy", job.job.id)).error == "the record of its job was lost"
        assert [info.version for info in server.client.list_pipeline()] == [1] * kept
        server.client.finish_commit(("in", "master"))
        if kept:
            assert job.job.id not in [each.job.id for each in server.client.list_job("copy", history=-1)]
            put(server.client, "in", {"/next": b"1"})
            assert last_job(server.client, "copy").state == pps_pb2.JOB_SUCCESS


def test_what_is_lost_is_listed_by_path_and_the_rest_stays(root: Path) -> None:
    execute(root, "PRAGMA writable_schema = ON; DELETE FROM contents WHERE data = x'" + FILES["/d3/f52"].hex() + "'")
    for file in (root / "objects").glob("*/*"):
        file.unlink()
    code, told = run(root, "fsck")
    assert (code, told.count("content ")) == (1, 2)
    code, told = run(root, "fsck", "--repair")
    assert code == 0
    lost = sorted(line.split(":")[2].split(" ")[0] for line in told.splitlines() if line.startswith("lost: "))
    assert lost == ["/big", "/big", "/d3/f52", "/d3/f52"]
    with serving(root) as server:
        left = {path: data for path, data in FILES.items() if path != "/d3/f52"}
        assert files(server.client, "in") == files(server.client, "copy") == left
        job = last_job(server.client, "copy")
        assert "done" in lines(server.client, "copy", job)
