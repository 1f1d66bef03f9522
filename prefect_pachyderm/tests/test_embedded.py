"""Which Pachyderm is meant, and the embedded server where none is named."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast
from urllib.request import urlopen

import pytest
from prefect import flow, task
from pydantic import SecretStr

from prefect_pachyderm import JobResult, PachydermCredentials, PachydermError, PachydermJob
from prefect_pachyderm.credentials import connect, is_embedded
from prefect_pachyderm.embedded import (
    LocalpachError,
    attach_or_start,
    embedded_root,
    find_localpach,
    page_address,
    run_localpach,
)
from server import Server


def test_where_a_pachyderm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """PACHD_ADDRESS first, then pachctl's context, then the embedded server."""
    context = tmp_path / "config.json"
    named = {"pachd_address": f"grpc://{server.address}", "session_token": server.token}
    context.write_text(json.dumps({"v2": {"active_context": "c", "contexts": {"c": named}}}))
    monkeypatch.setenv("PACH_CONFIG", str(context))
    monkeypatch.delenv("PACHD_ADDRESS", raising=False)
    found = PachydermCredentials.from_environment()
    assert found.address == f"grpc://{server.address}"
    assert found.get_client().get_remote_version().major == 2
    assert server.token not in repr(found)
    monkeypatch.setenv("PACHD_ADDRESS", "elsewhere:1")
    assert PachydermCredentials.from_environment().address == "elsewhere:1"
    context.write_text("no JSON")
    monkeypatch.delenv("PACHD_ADDRESS")
    with pytest.raises(PachydermError, match=r"config\.json"):
        PachydermCredentials.from_environment()


def test_a_block_is_found_by_name_in_asynchronous_flows_too(
    prefect: None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    PachydermCredentials(address=server.address, auth_token=SecretStr(server.token)).save("named")
    monkeypatch.setenv("PACHYDERM_BLOCK", "named")

    @task
    async def look() -> str | None:
        return PachydermCredentials.from_environment().address

    @flow
    async def look_from_everywhere() -> set[str | None]:
        here = PachydermCredentials.from_environment()
        kept = PachydermCredentials.at(here.place)
        in_a_thread = await asyncio.to_thread(PachydermCredentials.from_environment)
        return {here.address, kept.address, in_a_thread.address, await look()}

    assert asyncio.run(look_from_everywhere()) == {server.address}


def test_a_token_that_is_renewed_in_its_block_is_taken(
    prefect: None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    PachydermCredentials(address=server.address, auth_token=SecretStr("old")).save("renewed")
    monkeypatch.setenv("PACHYDERM_BLOCK", "renewed")
    loaded = cast(PachydermCredentials, PachydermCredentials.load("renewed"))
    for refused in (PachydermCredentials(), loaded):
        with pytest.raises(PachydermError, match=r"the token was refused; check the token in the block 'renewed'\. "):
            refused.get_client()
    PachydermCredentials(address=server.address, auth_token=SecretStr(server.token)).save("renewed", overwrite=True)
    for taken in (PachydermCredentials(), loaded):
        assert taken.get_client().get_remote_version().major == 2


def test_a_token_that_is_refused_is_told_by_where_it_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(credentials: PachydermCredentials) -> str:
        with pytest.raises(PachydermError, match="the token was refused; check ") as caught:
            credentials.get_client()
        assert "wrong" not in str(caught.value)
        return str(caught.value).partition("; check ")[2].partition(". (")[0]

    assert told(PachydermCredentials(address=server.address)) == "PACH_PYTHON_AUTH_TOKEN"
    assert told(PachydermCredentials(address=server.address, auth_token=SecretStr("wrong"))) == (
        "the auth_token of the credentials"
    )
    context = {"pachd_address": server.address, "session_token": "wrong"}
    (tmp_path / "config.json").write_text(json.dumps({"v2": {"active_context": "c", "contexts": {"c": context}}}))
    assert told(PachydermCredentials()) == f"the session_token in pachctl's configuration {tmp_path / 'config.json'}"
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", "also wrong")
    assert told(PachydermCredentials()) == "PACH_PYTHON_AUTH_TOKEN"


def program(folder: Path, script: str) -> Path:
    """A program `localpach` of one's own."""
    folder.mkdir()
    path = folder / "localpach"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def lone_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Python beside which there is nothing, and nothing on PATH."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


def test_the_program_beside_python_comes_before_the_one_on_path(lone_python: None, tmp_path: Path) -> None:
    with pytest.raises(LocalpachError, match=r"install localpach, or set PACHD_ADDRESS\.$"):
        connect()
    on_path = program(tmp_path / "path", "exit 0")
    assert find_localpach() == str(on_path)
    beside = program(tmp_path / "bin", "exit 0")
    assert find_localpach() == str(beside)


@pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"address": []}'])
def test_a_server_that_ends_at_once_is_told(lone_python: None, tmp_path: Path, damaged: str) -> None:
    program(tmp_path / "bin", "echo no room >&2; exit 1")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "address").write_text(damaged)
    with pytest.raises(LocalpachError, match=r"did not start; its log is .*server\.log\.$"):
        attach_or_start(tmp_path / "root")
    assert (tmp_path / "root" / "server.log").read_text() == "no room\n"
    with pytest.raises(LocalpachError, match=r"^no room$"):
        run_localpach("status")


def test_a_server_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"
    script = f'if [ -e {killed} ]; then exec {find_localpach()} "$@"; fi; : > {killed}; kill -9 $$'
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "bin", script).with_name("python")))
    attach_or_start(tmp_path / "root")
    run_localpach("stop", "--root", str(tmp_path / "root"))
    assert killed.exists()


@pytest.mark.parametrize(
    "made", ["tmp1a_b2prefect/clone", "prefect-workspace-attempt-x1/clone", "runner_storage/1-2/clone"]
)
def test_what_a_run_keeps_outlives_the_folder_that_prefect_makes_for_it(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LOCALPACH_ROOT")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    mine, clone = tmp_path / "mine", tmp_path / made
    for folder in (mine, clone):
        folder.mkdir(parents=True)
    monkeypatch.chdir(mine)
    assert embedded_root() == mine / ".localpach"
    monkeypatch.chdir(clone)
    assert embedded_root() == tmp_path / "home/.local/share/prefect-pachyderm/.localpach"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert embedded_root() == tmp_path / "data/prefect-pachyderm/.localpach"
    monkeypatch.setenv("LOCALPACH_ROOT", "store")
    with pytest.raises(LocalpachError, match=r"Prefect deletes .*LOCALPACH_ROOT"):
        attach_or_start(embedded_root())


def test_what_somebody_else_runs_is_found_and_never_started(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `make up`, where a run that is cancelled looks for the server that has just ended."""
    root = tmp_path / "root"
    address = attach_or_start(root)
    monkeypatch.setenv("LOCALPACH_START", "false")
    assert attach_or_start(root) == address
    run_localpach("stop", "--root", str(root))
    with pytest.raises(LocalpachError, match=r"LOCALPACH_START .*`localpach serve --root .*`\.$"):
        attach_or_start(root)
    assert not (root / "address").exists()


def test_what_an_embedded_server_has_done_begins_none_anew(tmp_path: Path) -> None:
    """A result that was kept, and the jobs that a worker stops."""
    for credentials in (PachydermCredentials(), pickle.loads(pickle.dumps(PachydermCredentials()))):
        with pytest.raises(
            LocalpachError, match=r"There is no data of localpach in .*; set LOCALPACH_ROOT to where it is\.$"
        ):
            JobResult("p", "1", ["/a"], credentials).read("/a")
    with pytest.raises(LocalpachError, match="There is no data of localpach"):
        PachydermJob("p", "1", PachydermCredentials.at("")).stop("the flow run was cancelled")
    kept = pickle.dumps(PachydermCredentials(address="elsewhere:1", auth_token=SecretStr("token")))
    with pytest.raises(PachydermError, match=r"The token for elsewhere:1 was not kept"):
        pickle.loads(kept).get_client()
    assert not embedded_root().exists()
    # Where it has been, it is started again: a job that is to be stopped would go on when somebody starts it.
    attach_or_start(embedded_root())
    run_localpach("stop", "--root", str(embedded_root()))
    try:
        assert not list(PachydermCredentials.at("").get_client().list_repo())
    finally:
        run_localpach("stop", "--root", str(embedded_root()))


def test_runs_that_start_one_at_once_share_it(server: Server) -> None:
    root = embedded_root()
    assert is_embedded()
    try:
        with ThreadPoolExecutor(3) as pool:
            first, *others = pool.map(attach_or_start, [root] * 3)
        assert all(other == first for other in others)
        assert not list(connect().list_repo())
        with urlopen(page_address(root)) as answer:
            assert b"localpach" in answer.read()
    finally:
        run_localpach("stop", "--root", str(root))
