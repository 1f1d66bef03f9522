"""No token gets into what Prefect keeps."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.serializers import JSONSerializer
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, get_current_settings, temporary_settings
from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import JobResult, PachydermCredentials, PachydermError, PachydermPipeline
from server import Server

SPEC = {
    "pipeline": {"name": "p"},
    "input": {"pfs": {"repo": "in", "glob": "/"}},
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/a /pfs/out/"]},
}


def kept(folder: Path) -> bytes:
    """All that there is in a folder, results decoded."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            found.append(content)
            try:
                found.append(base64.b64decode(json.loads(content)["result"]))
            except (ValueError, KeyError, TypeError):
                continue
    return b"\n".join(found)


@pytest.fixture
def credentials(server: Server) -> PachydermCredentials:
    return PachydermCredentials(address=server.address, auth_token=SecretStr(server.token))


def test_a_result_that_is_kept_has_no_token_and_can_be_read(
    prefect: None,
    server: Server,
    client: Client,
    credentials: PachydermCredentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @task(persist_result=True)
    def run() -> JobResult:
        job = PachydermPipeline(credentials=credentials, spec=SPEC).trigger()
        job.wait_for_completion()
        return job.fetch_result()

    @flow
    def leak() -> JobResult:
        return run()

    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        leak()
        database = Path(str(get_current_settings().server.database.connection_url).partition("///")[2])
    found = kept(tmp_path)
    assert b"JobResult" in found
    assert server.token.encode() not in found + kept(database.parent)

    (file,) = (each for each in tmp_path.iterdir() if b"result" in each.read_bytes())
    again = pickle.loads(base64.b64decode(json.loads(file.read_bytes())["result"]))
    with pytest.raises(PachydermError, match=r"token .* was not kept"):
        monkeypatch.setenv("PACHD_ADDRESS", "elsewhere:1")
        again.read("/a")
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)
    assert again.read("/a") == b"one"


def test_credentials_that_come_back_take_the_token_from_their_block(
    prefect: None, server: Server, client: Client, credentials: PachydermCredentials
) -> None:
    credentials.save("kept", overwrite=True)
    stored = pickle.dumps(PachydermCredentials.load("kept"))
    assert server.token.encode() not in stored
    assert [each.repo.name for each in pickle.loads(stored).get_client().list_repo()] == ["in"]


def test_a_result_that_is_kept_as_json_takes_the_token_anew(
    server: Server, client: Client, credentials: PachydermCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = JSONSerializer().dumps(JobResult("in", client.inspect_branch("in", "master").head.id, [], credentials))
    assert server.token.encode() not in kept
    again = JSONSerializer().loads(kept)
    with pytest.raises(PachydermError, match=r"token .* was not kept"):
        monkeypatch.setenv("PACHD_ADDRESS", "elsewhere:1")
        again.read("/a")
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)
    assert again.read("/a") == b"one"


def test_credentials_that_are_kept_as_json_take_the_token_from_their_block(
    prefect: None, server: Server, client: Client, credentials: PachydermCredentials
) -> None:
    credentials.save("kept-as-json", overwrite=True)
    kept = JSONSerializer().dumps(PachydermCredentials.load("kept-as-json"))
    assert server.token.encode() not in kept
    again = JSONSerializer().loads(kept)
    assert again.place == "block/kept-as-json"
    assert [each.repo.name for each in again.get_client().list_repo()] == ["in"]
