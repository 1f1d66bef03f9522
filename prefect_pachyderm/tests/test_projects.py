"""A day's work in `default` and in another project, on a Pachyderm that names a commit's branch and on one that does not (2.11
and later), beside things of the same names in the other project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, runtime
from python_pachyderm.service import pfs_proto, pps_proto

from prefect_pachyderm import (
    PachydermError,
    PachydermJob,
    PachydermPipeline,
    commit,
    events,
    list_datums,
    run_cron,
    run_pipeline,
)
from prefect_pachyderm.follow import new_commits, report_commit
from prefect_pachyderm.runs import noted_jobs
from prefect_pachyderm.waits import stop_jobs
from server import Server

Named = Callable[[str], str]
PROJECTS = ("default", "other")


def spec(project: str, name: str, script: str, **input: Any) -> dict[str, Any]:
    return {
        "pipeline": {"name": name, "project": {"name": project}},
        "input": input,
        "transform": {"image": "host", "cmd": ["sh"], "stdin": [script]},
    }


def copy_of(project: str) -> dict[str, Any]:
    return spec(project, "p", "cp /pfs/in/a /pfs/out/", pfs={"repo": "in", "glob": "/*"})


@pytest.fixture(scope="module", params=["2.7", "2.11"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("localpach"), dialect=request.param)
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=PROJECTS)
def project(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment names the server, whose other project has a repo `in` and a pipeline `p`, which has done its work."""
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)
    client = server.client
    client.delete_all()
    client.create_project("other", update=True)
    (beside,) = set(PROJECTS) - {request.param}
    client.create_repo("in", project_name=beside)
    head = client.start_commit("in", "master", project_name=beside)
    client.put_file_bytes(head, "/a", b"not this")
    client.finish_commit(head)
    PachydermPipeline(spec=copy_of(beside)).trigger().wait_for_completion()
    return str(request.param)


@pytest.fixture
def named(project: str) -> Named:
    return lambda name: name if project == "default" else f"{project}/{name}"


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The ids of the related resources of each event, by the resource's."""
    found: dict[str, list[str]] = {}

    def take(event: str, resource: dict[str, str], related: list[dict[str, str]], **rest: Any) -> None:
        found[resource["prefect.resource.id"]] = [each["prefect.resource.id"] for each in related]

    monkeypatch.setattr(events, "emit_event", take)
    return found


def test_a_day_s_work(prefect: None, server: Server, project: str, named: Named, emitted: dict[str, list[str]]) -> None:
    noted: list[str] = []

    @flow
    def work() -> tuple[str, PachydermJob]:
        made = commit(named("in"), {"a": b"one"})
        assert commit(named("in"), {"a": b"one"}) == made
        job = PachydermPipeline(spec=copy_of(project)).trigger()
        job.wait_for_completion()
        assert dict(job.fetch_result()) == {"/a": b"one"}
        assert PachydermPipeline(spec=copy_of(project)).trigger().job_id == job.job_id
        again = run_pipeline(named("p"))
        again.wait_for_completion()
        assert again.job_id != job.job_id
        noted.extend(name for name, _, _ in noted_jobs(UUID(runtime.flow_run.id)))
        return made, again

    made, job = work()
    assert job.pipeline == named("p")
    assert set(noted) == {named("p")}
    (datum,) = list_datums(named("p"), job.job_id)
    assert datum.inputs == (f"{named('in')}@{made}:/a",)
    assert emitted[f"pachyderm.commit.{named('in')}@{made}"] == [f"pachyderm.branch.{named('in')}@master"]
    assert emitted[f"pachyderm.job.{named('p')}@{job.job_id}"] == [
        f"pachyderm.pipeline.{named('p')}",
        f"pachyderm.commit.{named('p')}@{job.job_id}",
        f"pachyderm.commit.{named('in')}@{made}",
    ]
    PachydermPipeline(spec=copy_of(project)).delete_pipeline()
    assert f"pachyderm.pipeline.{named('p')}" in emitted
    assert [info.pipeline.project.name for info in server.client.list_pipeline()] == [*({*PROJECTS} - {project})]


@pytest.mark.slow
def test_a_job_is_stopped_where_it_is(prefect: None, server: Server, project: str, named: Named) -> None:
    sleeping = copy_of(project) | {"transform": {"image": "host", "cmd": ["sleep", "300"]}}

    @flow(on_failure=[stop_jobs])
    def work() -> None:
        commit(named("in"), {"a": b"one"})
        PachydermPipeline(spec=sleeping).trigger()
        raise ValueError

    with pytest.raises(ValueError):
        work()
    infos = server.client.list_job("p", project_name=project)
    assert [info.state for info in infos] == [pps_proto.JOB_KILLED]


@pytest.mark.slow
def test_a_cron_ticks_where_it_is(prefect: None, project: str, named: Named) -> None:
    PachydermPipeline(spec=spec(project, "c", "true", cron={"name": "tick", "spec": "@yearly"})).trigger()

    @flow
    def tick() -> PachydermJob:
        return run_cron(named("c"))

    job = tick()
    job.wait_for_completion()
    assert job.pipeline == named("c")


@pytest.mark.slow
def test_a_stopped_pipeline_is_named_as_pachctl_names_it(server: Server, project: str, named: Named) -> None:
    server.client.create_repo("in", project_name=project)
    pipeline = PachydermPipeline(spec=copy_of(project))
    pipeline.trigger()
    server.client.stop_pipeline("p", project_name=project)
    option = "" if project == "default" else " --project other"
    with pytest.raises(PachydermError, match=f"^Pipeline {named('p')} is stopped .*`pachctl start pipeline p{option}`"):
        pipeline.trigger()


@pytest.mark.slow
def test_commits_are_followed_where_they_are(
    prefect: None, server: Server, project: str, named: Named, emitted: dict[str, list[str]]
) -> None:
    beside = ("other_in", "master"), (named("in"), "b")

    @flow
    def follow() -> tuple[str, str]:
        first = commit(named("in"), {"a": b"one"})
        report_commit(named("in"), "master", first)
        for repo, branch in beside:
            report_commit(repo, branch, commit(repo, {"a": b"beside"}, branch))
        second = commit(named("in"), {"a": b"two"})
        info: pfs_proto.CommitInfo = next(iter(new_commits(named("in"), "master")))
        report_commit(named("in"), "master", info.commit.id)
        return second, info.commit.id

    second, found = follow()
    assert found == second
    assert emitted[f"pachyderm.commit.{named('in')}@{second}"] == [f"pachyderm.branch.{named('in')}@master"]
