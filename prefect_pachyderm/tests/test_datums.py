"""The datums of a job, each with what it has read and what became of it."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import (
    JobFailed,
    PachydermCredentials,
    PachydermError,
    PachydermJob,
    PachydermPipeline,
    list_datums,
)
from server import Server

SPEC = {
    "pipeline": {"name": "each"},
    "input": {"pfs": {"repo": "in", "glob": "/*"}},
    "transform": {
        "image": "host",
        "cmd": ["sh"],
        "stdin": ["sleep 0.1; ! test -e /pfs/in/bad && cp /pfs/in/* /pfs/out/"],
    },
    "datum_tries": 1,
}


@pytest.fixture
def credentials(server: Server) -> PachydermCredentials:
    return PachydermCredentials(address=server.address, auth_token=SecretStr(server.token))


def put(client: Client, path: str) -> str:
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, path, b"two")
    return str(commit.id)


def test_each_datum_is_listed_with_what_became_of_it(client: Client, credentials: PachydermCredentials) -> None:
    first = str(client.inspect_branch("in", "master").head.id)
    job = PachydermPipeline(credentials=credentials, spec=SPEC).trigger()
    job.wait_for_completion()
    (datum,) = list_datums("each", job.job_id, credentials)
    assert (datum.state, datum.inputs) == ("SUCCESS", (f"in@{first}:/a",))
    assert 0.1 <= datum.seconds < 60
    assert datum.id == next(client.list_datum("each", job.job_id)).datum.id

    second = put(client, "/b")
    PachydermJob("each", second, credentials).wait_for_completion()
    states = {datum.inputs[0].rpartition(":")[2]: datum.state for datum in list_datums("each", second, credentials)}
    assert states == {"/a": "SKIPPED", "/b": "SUCCESS"}

    third = put(client, "/bad")
    with pytest.raises(JobFailed):
        PachydermJob("each", third, credentials).wait_for_completion()
    failed = [datum for datum in list_datums("each", third, credentials) if datum.state == "FAILED"]
    assert [datum.inputs for datum in failed] == [(f"in@{third}:/bad",)]


def test_datums_of_no_job_are_one_sentence(client: Client, credentials: PachydermCredentials) -> None:
    with pytest.raises(PachydermError, match=r"^Listing the datums of each@0{32} failed: .*\.$"):
        list_datums("each", "0" * 32, credentials)
