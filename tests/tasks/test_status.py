"""`make status`, line by line."""

from __future__ import annotations

import re

import pytest
from python_pachyderm import Client

from tasks.status import main
from tests.jobs import last_job, pfs, pipeline, put

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def shown(capsys: pytest.CaptureFixture[str]) -> list[list[list[str]]]:
    """The tables' lines, split into cells."""
    assert main() == 0
    tables = capsys.readouterr().out.split("\n\n")
    assert tables.pop() == ""
    return [[re.split(r" {2,}", line) for line in table.splitlines()] for table in tables]


def test_without_anything_there_are_the_heads(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == [
        [["REPO", "CREATED", "SIZE", "DESCRIPTION"]],
        [["REPO", "BRANCH", "COMMIT", "FINISHED", "SIZE"]],
        [["PIPELINE", "JOB", "STARTED", "PROGRESS", "STATE"]],
    ]


def test_what_there_is(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.create_repo("big", description="of a mebibyte")
    client.create_repo("small", description="of one less")
    big = put(client, "big", {"/a": bytes(1024**2)})
    small = put(client, "small", {"/a": bytes(1024**2 - 1)})
    opened = client.start_commit("small", "side").id
    pipeline(client, "fails", "exit 3", pfs("small"))
    pipeline(client, "goes_well", "cp /pfs/big/a /pfs/out", pfs("big"))
    well, bad = last_job(client, "goes_well"), last_job(client, "fails")
    repos, commits, jobs = shown(capsys)
    by_name = {line[0]: line for line in repos[1:]}
    assert by_name["big"][2:] == ["1.0MiB", "of a mebibyte"]
    assert by_name["small"][2:] == ["1024.0KiB", "of one less"]
    assert re.fullmatch(TIME, by_name["big"][1])
    by_id = {(line[0], line[2]): line for line in commits[1:]}
    assert by_id["big", big][1::3] == ["master", "1.0MiB"]
    assert re.fullmatch(TIME, by_id["big", big][3])
    assert by_id["small", small][4] == "1024.0KiB"
    assert by_id["small", opened][1:4] == ["side", opened, "-"]
    states = {line[0]: line for line in jobs[1:]}
    assert states["goes_well"][1::2] == [well.job.id, "1 + 0 / 1"]
    assert states["goes_well"][4] == "success"
    assert re.fullmatch(TIME, states["goes_well"][2])
    assert states["fails"][3:] == ["0 + 0 / 1", f"failure {bad.reason}"]


def test_columns_stand_below_one_another(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.create_repo("a", description="1")
    client.create_repo("a_longer_name", description="2")
    main()
    head, *lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert {line[head.index("DESCRIPTION") :] for line in lines} == {"1", "2"}


def test_what_can_not_be_had_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", "127.0.0.1:1")
    assert main() == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"Connecting to Pachyderm at 127\.0\.0\.1:1 failed: nobody listens there.*\n", printed.err)
