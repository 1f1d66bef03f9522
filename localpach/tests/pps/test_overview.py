"""How projects and pipelines are doing."""

from __future__ import annotations

import json

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client
from tests.helpers import last_job, pfs, pipeline, put, refused


def project(name: str) -> pfs_pb2.ProjectPicker:
    return pfs_pb2.ProjectPicker(name=name)


def test_projects_tell_of_their_repos_and_pipelines(client: Client) -> None:
    client.create_project("empty")
    client.create_repo("in")
    put(client, "in", {"/a": b"12345"})
    pipeline(client, "good", "true", pfs("in"))
    pipeline(client, "bad", "false", pfs("in"))
    pipeline(client, "idle", "true", pfs("in"))
    for name in ("good", "bad", "idle"):
        last_job(client, name)
    client.stop_pipeline("idle")
    repos = {each.project.name: each for each in client.pfs.ReposSummary(pfs_pb2.ReposSummaryRequest()).summaries}
    assert (repos["default"].user_repo_count, repos["default"].size_bytes) == (4, 5)
    assert (repos["empty"].user_repo_count, repos["empty"].size_bytes) == (0, 0)
    picked = pps_pb2.PipelinesSummaryRequest(projects=[project("default")])
    (summary,) = client.pps.PipelinesSummary(picked).summaries
    assert (summary.active_pipelines, summary.paused_pipelines) == (2, 1)
    assert (summary.failed_pipelines, summary.unhealthy_pipelines) == (1, 0)
    code, _ = refused(lambda: client.pps.PipelinesSummary(pps_pb2.PipelinesSummaryRequest(projects=[project("none")])))
    assert code == "NOT_FOUND"

    (alert,) = client.pps.CheckStatus(pps_pb2.CheckStatusRequest(all=True))
    assert (alert.pipeline.name, list(alert.alerts)) == ("bad", ["its newest job ended with JOB_FAILURE"])
    empty = pps_pb2.CheckStatusRequest(project=pfs_pb2.Project(name="empty"))
    assert list(client.pps.CheckStatus(empty)) == []


def test_a_pipeline_that_can_not_run_is_told_of(client: Client) -> None:
    client.create_repo("in")
    pipeline(client, "p", "true", pfs("in"))
    last_job(client, "p")
    client.delete_repo("in", force=True)
    assert list(client.pps.CheckStatus(pps_pb2.CheckStatusRequest(all=True))) == []


def test_a_project_tells_its_defaults(client: Client) -> None:
    text = json.dumps({"createPipelineRequest": {"datumTries": 4}})
    client.pps.SetProjectDefaults(pps_pb2.SetProjectDefaultsRequest(project_defaults_json=text))
    request = pfs_pb2.InspectProjectV2Request(project=pfs_pb2.Project(name="default"))
    answer = client.pfs.InspectProjectV2(request)
    assert (answer.info.project.name, answer.defaults_json) == ("default", text)
    request.project.name = "none"
    assert refused(lambda: client.pfs.InspectProjectV2(request))[0] == "NOT_FOUND"


def test_pipelines_come_in_pages(client: Client) -> None:
    client.create_repo("in")
    for name in "abc":
        pipeline(client, name, "true", pfs("in"))

    def page(index: int) -> list[str]:
        request = pps_pb2.ListPipelineRequest(page=pps_pb2.PipelinePage(page_size=2, page_index=index))
        return [info.pipeline.name for info in client.pps.ListPipeline(request)]

    assert [page(0), page(1), page(2)] == [["c", "b"], ["a"], []]
