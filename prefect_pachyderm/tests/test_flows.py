"""The ready flow: run, deployed, cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.types.entrypoint import EntrypointType
from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import JobFailed, JobResult, PachydermCredentials, PachydermPipeline, run_pachyderm_pipeline
from prefect_pachyderm.waits import stop_jobs
from server import Server

SPEC = {
    "pipeline": {"name": "copy"},
    "input": {"pfs": {"repo": "in", "glob": "/"}},
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/a /pfs/out/"]},
    "datum_tries": 1,
}


@pytest.fixture
def credentials(server: Server) -> PachydermCredentials:
    return PachydermCredentials(address=server.address, auth_token=SecretStr(server.token))


def test_a_run_ends_with_the_files_of_the_job(prefect: None, client: Client, credentials: PachydermCredentials) -> None:
    pipeline = PachydermPipeline(credentials=credentials, spec=SPEC)
    result = run_pachyderm_pipeline(pipeline)
    assert result.files == ["/a"]
    assert result.read("/a") == b"one"

    @flow
    async def outer() -> JobResult:
        return run_pachyderm_pipeline(pipeline)

    assert asyncio.run(outer()).job_id == result.job_id


def test_a_run_fails_with_its_job(prefect: None, client: Client, credentials: PachydermCredentials) -> None:
    failing = {**SPEC, "transform": {"image": "host", "cmd": ["false"]}}
    with pytest.raises(JobFailed):
        run_pachyderm_pipeline(PachydermPipeline(credentials=credentials, spec=failing))


def test_it_is_deployed_with_a_block(
    prefect: None, server: Server, client: Client, credentials: PachydermCredentials
) -> None:
    credentials.save("mine", overwrite=True)
    stored = {"credentials": PachydermCredentials.load("mine"), "spec": SPEC}
    PachydermPipeline.model_validate(stored).save("copy", overwrite=True)
    deployment: Any = run_pachyderm_pipeline.to_deployment(
        "copy",
        parameters={"pipeline": PachydermPipeline.load("copy")},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    with get_client(sync_client=True) as prefect_client:
        kept = prefect_client.read_deployment(deployment.apply())
    assert server.token not in kept.model_dump_json()
    assert kept.entrypoint
    for entrypoint in (kept.entrypoint, "prefect_pachyderm.flows:run_pachyderm_pipeline"):
        loaded: Flow[..., JobResult] = load_flow_from_entrypoint(entrypoint)
        assert loaded.on_cancellation_hooks == [stop_jobs]
        assert loaded(**kept.parameters).files == ["/a"]
