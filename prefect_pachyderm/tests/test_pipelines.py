"""Pipelines from jsonnet templates: what is changed, what is left alone, and what an update would end."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, runtime
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import JobGone, PachydermError, PachydermJob, PachydermPipeline, events, pipelines
from prefect_pachyderm.pipelines import are_up_to_date, create_pipelines, jobs_in_the_way
from prefect_pachyderm.runs import noted_jobs
from prefect_pachyderm.specs import Template
from server import Server

SPEC = """
function(script, input='in') {
  pipeline: { name: 'of_' + input },
  input: { pfs: { repo: input, glob: '/' } },
  transform: { image: 'host', cmd: ['sh'], stdin: [script] },
  datum_tries: 1,
}
"""
SPEC_AS_JSON = {
    "pipeline": {"name": "of_in"},
    "input": {"pfs": {"repo": "in", "glob": "/"}},
    "transform": {"image": "host", "cmd": ["sleep", "602"]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.jsonnet"
    path.write_text(SPEC)
    return path


@pytest.fixture(autouse=True)
def _named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)


@flow
def create(templates: list[Template]) -> dict[str, str]:
    return create_pipelines(templates)


def versions(client: Client) -> dict[str, int]:
    return {info.pipeline.name: info.version for info in client.list_pipeline()}


def test_only_what_has_changed_is_sent(
    prefect: None, client: Client, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)
    first, second = Template(file, {"script": "true"}), Template(file, {"script": "true", "input": "of_in"})
    assert not are_up_to_date(client, [first, second])
    jobs = create([first, second])
    assert jobs.keys() == {"of_in", "of_of_in"}
    assert len(set(jobs.values())) == 1
    for name, job in jobs.items():
        PachydermJob(name, job).wait_for_completion()
    assert are_up_to_date(client, [first, second])
    assert create([first, second]) == jobs
    assert versions(client) == {"of_in": 1, "of_of_in": 1}
    other = Template(file, {"script": "echo other", "input": "of_in"})
    assert not are_up_to_date(client, [first, other])
    changed = create([first, other])
    assert versions(client) == {"of_in": 1, "of_of_in": 2}
    assert changed["of_in"] == jobs["of_in"]
    assert changed["of_of_in"] != jobs["of_of_in"]
    assert create_pipelines.name == "create pipelines"
    made, left = "created or updated", "is up to date"
    assert [message for message in caplog.messages if message.startswith("Pipeline ")] == [
        f"Pipeline {name} {done}"
        for now in ((made, made), (left, left), (left, made))
        for name, done in zip(("of_in", "of_of_in"), now, strict=True)
    ]


def test_a_job_that_ended_badly_is_tried_again(prefect: None, client: Client, file: Path) -> None:
    template = Template(file, {"script": "exit 1"})
    failed = create([template])["of_in"]
    client.wait_commit(("of_in", failed))
    assert not are_up_to_date(client, [template])
    assert create([template])["of_in"] != failed


def test_jobs_in_the_way_are_those_an_update_would_end(prefect: None, client: Client, file: Path) -> None:
    there, other = (Template(file, {"script": f"sleep {seconds}"}) for seconds in (300, 301))
    assert jobs_in_the_way(client, [there]) == []
    job = create([there])["of_in"]
    assert jobs_in_the_way(client, [there]) == []
    assert jobs_in_the_way(client, [other]) == [("of_in", job)]
    PachydermJob("of_in", job).stop("the test is over")
    assert jobs_in_the_way(client, [other]) == []


@pytest.mark.parametrize("by_block", [False, True])
def test_a_job_that_begins_while_the_run_is_interrupted_is_stopped(
    by_block: bool, prefect: None, client: Client, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template(file, {"script": "sleep 600"})
    first = create([template])["of_in"]

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipelines, "note_job", interrupt)
        with pytest.raises(KeyboardInterrupt):
            if by_block:
                PachydermPipeline(spec={**SPEC_AS_JSON, "description": "another"}).trigger()
            else:
                create([Template(file, {"script": "sleep 601"})])
    newest = client.inspect_branch("of_in", "master").head.id
    assert newest != first
    (info,) = client.inspect_job(newest, "of_in")
    assert info.state == pps_proto.JOB_KILLED
    assert info.reason == "the flow run was cancelled"


def test_who_ends_a_flow_run_knows_the_jobs_of_its_pipelines(prefect: None, client: Client, file: Path) -> None:
    runs: list[UUID] = []

    @flow
    def start() -> None:
        runs.append(UUID(runtime.flow_run.id))
        create_pipelines([Template(file, {"script": "true"}), Template(file, {"script": "true", "input": "of_in"})])

    start()
    assert sorted(name for name, _, _ in noted_jobs(runs[0])) == ["of_in", "of_of_in"]


def test_a_template_that_does_not_render_is_a_sentence(prefect: None, client: Client, file: Path) -> None:
    with pytest.raises(PachydermError, match=r"^Creating the pipelines failed: ") as caught:
        create([Template(file, {})])
    assert "script" in str(caught.value)


QUICK = {**SPEC_AS_JSON, "transform": {"image": "host", "cmd": ["true"]}}


@pytest.mark.parametrize("keep_repo", [False, True])
def test_a_deleted_pipeline_leaves_its_output_only_where_told_to(keep_repo: bool, client: Client) -> None:
    pipeline = PachydermPipeline(spec=QUICK)
    job = pipeline.trigger()
    job.wait_for_completion()
    pipeline.delete_pipeline(keep_repo=keep_repo)
    assert versions(client) == {}
    assert {info.repo.name for info in client.list_repo()} == ({"in", "of_in"} if keep_repo else {"in"})
    with pytest.raises(JobGone):
        job.wait_for_completion()
    pipeline.delete_pipeline()


def test_a_pipeline_is_deleted_by_the_twin(client: Client) -> None:
    PachydermPipeline(spec=QUICK).trigger()
    asyncio.run(PachydermPipeline(spec=QUICK).adelete_pipeline())
    assert versions(client) == {}


def test_a_pipeline_whose_output_is_read_is_not_deleted(client: Client) -> None:
    PachydermPipeline(spec=QUICK).trigger()
    reader = {**QUICK, "pipeline": {"name": "reader"}, "input": {"pfs": {"repo": "of_in", "glob": "/"}}}
    PachydermPipeline(spec=reader).trigger()
    with pytest.raises(PachydermError, match=r"^Deleting pipeline of_in failed: .*reader"):
        PachydermPipeline(spec=QUICK).delete_pipeline()
    assert versions(client) == {"of_in": 1, "reader": 1}


def test_each_deletion_is_an_event_of_its_own(prefect: None, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted: list[tuple[str, str, object]] = []

    def record(event: str, resource: dict[str, str], *, id: object, **_: object) -> None:
        emitted.append((event, resource["prefect.resource.id"], id))

    monkeypatch.setattr(events, "emit_event", record)
    pipeline = PachydermPipeline(spec=QUICK)
    for _ in range(2):
        pipeline.trigger()
        pipeline.delete_pipeline()
    pipeline.delete_pipeline()
    deleted = [(resource, id) for event, resource, id in emitted if event == "pachyderm.pipeline.deleted"]
    assert [resource for resource, _ in deleted] == ["pachyderm.pipeline.of_in"] * 2
    assert len({id for _, id in deleted}) == 2


@pytest.mark.parametrize("spec", [SPEC_AS_JSON, {**SPEC_AS_JSON, "description": "another"}])
def test_a_pipeline_that_is_stopped_is_told(spec: dict[str, Any], prefect: None, client: Client) -> None:
    job = PachydermPipeline(spec=SPEC_AS_JSON).trigger()
    job.stop("the test is over")
    client.stop_pipeline("of_in")
    with pytest.raises(PachydermError, match=r"^Pipeline of_in is stopped .*`pachctl start pipeline of_in`\.$"):
        PachydermPipeline(spec=spec).trigger()
    assert versions(client) == {"of_in": 1}
    client.start_pipeline("of_in")
    again = PachydermPipeline(spec=spec).trigger()
    assert again.job_id != job.job_id
    again.stop("the test is over")


def test_the_output_may_be_on_another_branch(prefect: None, client: Client, tmp_path: Path) -> None:
    spec = {
        **SPEC_AS_JSON,
        "output_branch": "live",
        "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/a /pfs/out/"]},
    }
    job = PachydermPipeline(spec=spec).trigger()
    job.wait_for_completion()
    assert job.fetch_result().read("/a") == b"one"
    assert job.job_id == client.inspect_branch("of_in", "live").head.id
    template = tmp_path / "spec.jsonnet"
    template.write_text(f"function(text) {json.dumps(spec)} + {{ description: text }}")
    made = create([Template(template, {"text": "another"})])
    assert made == {"of_in": client.inspect_branch("of_in", "live").head.id} != {"of_in": job.job_id}
