"""No token gets into what Prefect keeps, and no value of a secret."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.blocks.system import Secret
from prefect.serializers import JSONSerializer
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, get_current_settings, temporary_settings
from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import (
    JobResult,
    PachydermCredentials,
    PachydermError,
    PachydermPipeline,
    create_secret,
    delete_secret,
)
from server import Server

SPEC = {
    "pipeline": {"name": "p"},
    "input": {"pfs": {"repo": "in", "glob": "/"}},
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/a /pfs/out/"]},
}


def takes_token_anew(result: JobResult, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that comes back is read once the environment names its Pachyderm, with the token, and not before."""
    with pytest.raises(PachydermError, match=r"token .* was not kept"):
        monkeypatch.setenv("PACHD_ADDRESS", "elsewhere:1")
        result.read("/a")
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)
    assert result.read("/a") == b"one"


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
    takes_token_anew(again, server, monkeypatch)


def test_credentials_that_come_back_take_the_token_from_their_block(
    prefect: None, server: Server, client: Client, credentials: PachydermCredentials
) -> None:
    credentials.save("kept", overwrite=True)
    stored = pickle.dumps(PachydermCredentials.load("kept"))
    assert server.token.encode() not in stored
    assert [each.repo.name for each in pickle.loads(stored).get_client().list_repo()] == ["in"]


def test_a_pipeline_gets_the_values_of_a_secret(
    prefect: None, client: Client, credentials: PachydermCredentials, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    values = {"one": "planted-1", "two": "1e5", "three": 'planted 3\n"ü"'}
    Secret.model_validate({"value": values["one"]}).save("planted", overwrite=True)
    Secret.model_validate({"value": values["two"]}).save("number", overwrite=True)

    @flow(persist_result=True)
    def make() -> None:
        blocks: dict[str, Any] = {"one": Secret.load("planted"), "two": Secret.load("number")}
        create_secret("mine", {**blocks, "three": SecretStr(values["three"])}, credentials)

    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}), caplog.at_level("DEBUG"):
        make()
    script = 'for key in one two three; do printf %s "$(printenv $key)" > /pfs/out/$key; done'
    secrets = [{"name": "mine", "key": key, "env_var": key} for key in values]
    spec = {**SPEC, "transform": {"image": "host", "cmd": ["sh"], "stdin": [script], "secrets": secrets}}
    job = PachydermPipeline(credentials=credentials, spec=spec).trigger()
    job.wait_for_completion()
    result = job.fetch_result()
    assert {key: result.read(f"/{key}").decode() for key in values} == values
    assert b"planted" not in kept(tmp_path)
    assert "planted-1" not in caplog.text

    with pytest.raises(PachydermError, match=r"^Creating secret mine failed: .*already exists") as caught:
        create_secret("mine", {"one": SecretStr("planted-2")}, credentials)
    assert "planted" not in str(caught.value)
    delete_secret("mine", credentials)
    assert list(client.list_secret()) == []
    delete_secret("mine", credentials)


def test_a_value_of_a_secret_is_text(credentials: PachydermCredentials) -> None:
    with pytest.raises(PachydermError, match=r"^The value of one is no text.* a dict\.$") as caught:
        create_secret("mine", {"one": Secret.model_validate({"value": {"a": "planted"}})}, credentials)
    assert "planted" not in str(caught.value)


def test_a_result_that_is_kept_as_json_takes_the_token_anew(
    server: Server, client: Client, credentials: PachydermCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = JSONSerializer().dumps(JobResult("in", client.inspect_branch("in", "master").head.id, [], credentials))
    assert server.token.encode() not in kept
    again = JSONSerializer().loads(kept)
    takes_token_anew(again, server, monkeypatch)


def test_credentials_that_are_kept_as_json_take_the_token_from_their_block(
    prefect: None, server: Server, client: Client, credentials: PachydermCredentials
) -> None:
    credentials.save("kept-as-json", overwrite=True)
    kept = JSONSerializer().dumps(PachydermCredentials.load("kept-as-json"))
    assert server.token.encode() not in kept
    again = JSONSerializer().loads(kept)
    assert again.place == "block/kept-as-json"
    assert [each.repo.name for each in again.get_client().list_repo()] == ["in"]
