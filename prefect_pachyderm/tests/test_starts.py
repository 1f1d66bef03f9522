"""New jobs of pipelines that are there: each call gives another, and it is the pipeline's newest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, runtime
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import PachydermError, PachydermJob, PachydermPipeline, pipelines, run_cron, run_pipeline
from prefect_pachyderm.runs import noted_jobs
from server import Server

SPEC = {
    "pipeline": {"name": "copy"},
    "description": "as it was",
    "input": {"pfs": {"repo": "in", "glob": "/*"}},
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/* /pfs/out/"], "env": {"A": "1"}},
    "datum_tries": 1,
    "job_timeout": "600s",
    "parallelism_spec": {"constant": 1},
    "metadata": {"labels": {"a": "b"}},
}
CRON = {
    **SPEC,
    "input": {"cron": {"name": "tick", "spec": "@yearly"}},
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/tick/* /pfs/out/"]},
}


@pytest.fixture(autouse=True)
def _named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)


def done(job: PachydermJob) -> PachydermJob:
    job.wait_for_completion()
    return job


def details(client: Client) -> pps_proto.PipelineInfo.Details:
    """All that does not change by itself from version to version."""
    found = next(iter(client.inspect_pipeline("copy", details=True))).details
    for field in ("salt", "created_at", "workers_available", "workers_requested"):
        found.ClearField(field)
    return found


def test_a_pipeline_runs_anew_as_it_is(prefect: None, client: Client) -> None:
    first, before = done(PachydermPipeline(spec=SPEC).trigger()), details(client)
    runs: list[UUID] = []

    @flow
    def again() -> PachydermJob:
        runs.append(UUID(runtime.flow_run.id))
        return done(run_pipeline("copy"))

    second = again()
    assert second.job_id not in ("", first.job_id)
    assert [(name, job) for name, job, _ in noted_jobs(runs[0])] == [("copy", second.job_id)]
    assert second.fetch_result().read("/a") == b"one"
    (info,) = client.inspect_job(second.job_id, "copy")
    assert (info.data_processed, info.data_skipped) == (1, 0)
    assert details(client) == before
    assert PachydermPipeline(spec=SPEC).trigger().job_id == second.job_id


def test_a_cron_pipeline_ticks_now(prefect: None, client: Client) -> None:
    first = PachydermPipeline(spec=CRON).trigger()
    assert first.job_id

    @flow
    def tick() -> PachydermJob:
        return done(run_cron("copy"))

    jobs = [tick(), tick()]
    assert len({first.job_id, *(job.job_id for job in jobs)}) == 3
    assert jobs[1].job_id == client.inspect_branch("copy", "master").head.id
    assert jobs[1].fetch_result().files


@pytest.mark.parametrize(("run", "spec"), [(run_pipeline, SPEC), (run_cron, CRON)])
def test_a_job_that_begins_while_the_run_is_interrupted_is_stopped(
    run: Callable[[str], PachydermJob],
    spec: dict[str, Any],
    prefect: None,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = {**spec, "transform": {"image": "host", "cmd": ["sleep", "600"]}}
    first = PachydermPipeline(spec=slow).trigger()

    @flow
    def start() -> None:
        run("copy")

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipelines, "note_job", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start()
    newest = client.inspect_branch("copy", "master").head.id
    assert newest != first.job_id
    (info,) = client.inspect_job(newest, "copy")
    assert (info.state, info.reason) == (pps_proto.JOB_KILLED, "the flow run was cancelled")


def test_what_can_not_run_is_one_sentence(prefect: None, client: Client) -> None:
    @flow
    def none() -> None:
        with pytest.raises(PachydermError, match=r"^Running pipeline copy failed: .*copy.* not found"):
            run_pipeline("copy")
        with pytest.raises(PachydermError, match=r"^Running pipeline copy failed: .*copy.* not found"):
            run_cron("copy")
        job = done(PachydermPipeline(spec=SPEC).trigger())
        with pytest.raises(PachydermError, match="doesn't have a cron input"):
            run_cron("copy")
        client.stop_pipeline("copy")
        with pytest.raises(PachydermError, match=r"^Pipeline copy is stopped"):
            run_pipeline("copy")
        assert client.inspect_branch("copy", "master").head.id == job.job_id

    none()
