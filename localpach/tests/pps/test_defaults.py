"""Specs that come as JSON, the defaults that they are merged with, and pipelines made anew."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localpach.pfs.service import Pfs
from localpach.pps.defaults import Defaults
from localpach.proto import pfs_pb2, pps_pb2, transaction_pb2
from localpach.storage.store import Store
from localpach.waiting import Bulletin
from tests.client import Client
from tests.helpers import last_job, put, refused

SPEC: dict[str, Any] = {
    "pipeline": {"name": "p"},
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/* /pfs/out/"]},
    "input": {"pfs": {"repo": "in", "glob": "/*"}},
}


@pytest.fixture
def source(client: Client) -> Client:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    return client


def create(client: Client, spec: dict[str, Any], **orders: bool) -> dict[str, Any]:
    """Makes a pipeline of a spec; gives its effective spec."""
    request = pps_pb2.CreatePipelineV2Request(create_pipeline_request_json=json.dumps(spec), **orders)
    effective: dict[str, Any] = json.loads(client.pps.CreatePipelineV2(request).effective_create_pipeline_request_json)
    return effective


def set_cluster(client: Client, request: dict[str, Any], **orders: bool) -> list[str]:
    """Sets the cluster's defaults; gives the names of the pipelines that they affect."""
    text = json.dumps({"create_pipeline_request": request})
    request_ = pps_pb2.SetClusterDefaultsRequest(cluster_defaults_json=text, **orders)
    return sorted(each.name for each in client.pps.SetClusterDefaults(request_).affected_pipelines)


def set_project(client: Client, request: dict[str, Any], project: str = "", **orders: bool) -> list[str]:
    text = json.dumps({"createPipelineRequest": request})
    request_ = pps_pb2.SetProjectDefaultsRequest(
        project=pfs_pb2.Project(name=project), project_defaults_json=text, **orders
    )
    return sorted(each.name for each in client.pps.SetProjectDefaults(request_).affected_pipelines)


def inspect(client: Client) -> pps_pb2.PipelineInfo:
    request = pps_pb2.InspectPipelineRequest(pipeline=pps_pb2.Pipeline(name="p"), details=True)
    info: pps_pb2.PipelineInfo = client.pps.InspectPipeline(request)
    return info


def test_a_spec_that_is_json_makes_a_pipeline(source: Client) -> None:
    effective = create(source, SPEC)
    assert effective == SPEC | {"outputBranch": "master", "datumTries": "3", "reprocessSpec": "until_success"}
    assert last_job(source, "p").state == pps_pb2.JOB_SUCCESS
    assert json.loads(inspect(source).details_json) == SPEC
    assert json.loads(inspect(source).effective_spec_json) == effective
    code, text = refused(lambda: create(source, SPEC))
    assert (code, text) == ("ALREADY_EXISTS", 'pipeline "default/p" already exists')
    create(source, SPEC, update=True)
    assert inspect(source).version == 2


def test_a_dry_run_makes_nothing(source: Client) -> None:
    assert create(source, SPEC, dry_run=True)["datumTries"] == "3"
    assert not source.list_pipeline()
    create(source, SPEC | {"dryRun": True})
    with source.transaction():
        create(source, SPEC, dry_run=True)
    assert not source.list_pipeline()
    code, _ = refused(lambda: create(source, SPEC | {"pipeline": {"name": ""}}, dry_run=True))
    assert code == "UNKNOWN"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "the spec can't be read as JSON"),
        ("[]", "the spec must be a JSON object"),
        ('{"pipelin": {}}', 'unexpected field "pipelin" in pps_v2.CreatePipelineRequest'),
        ('{"pipeline": {"nam": "p"}}', 'unexpected field "nam" in pps_v2.Pipeline'),
        ('{"input": {"cross": [{"pfs": {"repos": "in"}}]}}', 'unexpected field "repos" in pps_v2.PFSInput'),
        ('{"pipeline": {"name": "p"}, "datumTries": "many"}', "malformed spec"),
        ('{"pipeline": "p"}', "malformed spec"),
    ],
)
def test_what_is_no_spec_is_refused_with_the_place(source: Client, text: str, reason: str) -> None:
    request = pps_pb2.CreatePipelineV2Request(create_pipeline_request_json=text)
    code, told = refused(lambda: source.pps.CreatePipelineV2(request))
    assert code == "UNKNOWN"
    assert told.startswith(reason)


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        (40, "request.Pipeline cannot be nil"),
        (50, "the spec can't be read as JSON: it is nested more than 100 deep"),
        (50_000, "the spec can't be read as JSON"),
    ],
)
def test_a_spec_is_nested_as_deeply_as_can_be_sent(source: Client, levels: int, reason: str) -> None:
    text = '{"input": ' + '{"cross": [' * levels + "{}" + "]}" * levels + "}"
    request = pps_pb2.CreatePipelineV2Request(create_pipeline_request_json=text)
    code, told = refused(lambda: source.pps.CreatePipelineV2(request))
    assert (code, told[: len(reason)]) == ("UNKNOWN", reason)


def test_a_time_in_a_spec_is_one_that_can_be(source: Client) -> None:
    code, told = refused(lambda: create(source, SPEC | {"datumTimeout": "9000000000s"}))
    assert (code, "datum_timeout" in told) == ("INVALID_ARGUMENT", True)


def test_the_project_overrules_the_cluster_and_the_user_both(source: Client) -> None:
    set_cluster(source, {"datum_tries": 5, "description": "cluster", "autoscaling": True, "salt": "cluster"})
    set_project(source, {"datumTries": 6, "description": "project"})
    effective = create(source, SPEC | {"description": "user", "autoscaling": False, "salt": None})
    assert (effective["datumTries"], effective["description"], effective["autoscaling"]) == (6, "user", False)
    assert "salt" not in effective
    details = inspect(source).details
    assert (details.datum_tries, details.description, details.autoscaling) == (6, "user", False)
    assert details.salt != "cluster"


def test_defaults_of_another_project_count_nothing(source: Client) -> None:
    source.create_project("other")
    set_project(source, {"datumTries": 6}, project="other")
    assert create(source, SPEC)["datumTries"] == "3"
    request = pps_pb2.GetProjectDefaultsRequest(project=pfs_pb2.Project(name="other"))
    kept = source.pps.GetProjectDefaults(request)
    assert json.loads(kept.project_defaults_json) == {"createPipelineRequest": {"datumTries": 6}}
    assert kept.created_at.seconds
    source.pfs.DeleteProject(pfs_pb2.DeleteProjectRequest(project=pfs_pb2.Project(name="other")))
    code, _ = refused(lambda: source.pps.GetProjectDefaults(request))
    assert code == "NOT_FOUND"
    code, _ = refused(lambda: set_project(source, {}, project="other"))
    assert code == "NOT_FOUND"


def test_defaults_hold_for_requests_of_older_clients_too(source: Client) -> None:
    set_cluster(source, {"datumTries": 7})
    request = pps_pb2.CreatePipelineRequest(
        pipeline=pps_pb2.Pipeline(name="p"), transform=pps_pb2.Transform(image="host")
    )
    source.pps.CreatePipeline(request)
    info = inspect(source)
    assert info.details.datum_tries == 7
    assert json.loads(info.details_json) == {"pipeline": {"name": "p"}, "transform": {"image": "host"}}


def test_older_clients_find_no_spec_as_json_and_later_defaults_hold_for_theirs(source: Client) -> None:
    request = pps_pb2.CreatePipelineRequest(
        pipeline=pps_pb2.Pipeline(name="p"), transform=pps_pb2.Transform(image="host")
    )
    source.pps.CreatePipeline(request)
    assert inspect(source).details_json == ""
    assert set_cluster(source, {"datumTries": 5, "description": "new"}, regenerate=True) == ["p"]
    info = inspect(source)
    assert (info.version, info.details.datum_tries, info.details.description) == (2, 5, "new")


def test_defaults_that_are_none_are_refused(source: Client) -> None:
    code, text = refused(lambda: set_cluster(source, {"datumTrie": 1}))
    assert (code, text) == ("UNKNOWN", 'unexpected field "datumTrie" in pps_v2.CreatePipelineRequest')
    request = pps_pb2.SetClusterDefaultsRequest(cluster_defaults_json="no JSON")
    code, text = refused(lambda: source.pps.SetClusterDefaults(request))
    assert text.startswith("the defaults can't be read as JSON")
    assert source.pps.GetClusterDefaults(pps_pb2.GetClusterDefaultsRequest()).cluster_defaults_json == "{}"


def test_new_defaults_regenerate_the_pipelines_that_they_change(source: Client) -> None:
    create(source, SPEC)
    create(source, SPEC | {"pipeline": {"name": "own"}, "datumTries": 9})
    assert set_cluster(source, {"datumTries": 9}, regenerate=True, dry_run=True) == ["p"]
    assert source.pps.GetClusterDefaults(pps_pb2.GetClusterDefaultsRequest()).cluster_defaults_json == "{}"
    assert inspect(source).version == 1
    assert set_cluster(source, {"description": "new"}) == []
    assert inspect(source).version == 1
    assert set_cluster(source, {"description": "new"}, regenerate=True) == ["own", "p"]
    assert (inspect(source).version, inspect(source).details.description) == (2, "new")
    assert set_cluster(source, {"description": "new"}, regenerate=True) == []
    assert set_project(source, {"description": "newer"}, regenerate=True, reprocess=True) == ["own", "p"]
    job = last_job(source, "p")
    assert (job.pipeline_version, job.data_processed, job.data_skipped) == (3, 1, 0)


def test_a_pipeline_is_run_again_with_what_its_user_wrote(source: Client) -> None:
    create(source, SPEC)
    last_job(source, "p")
    rerun = pps_pb2.RerunPipelineRequest(pipeline=pps_pb2.Pipeline(name="p"))
    source.pps.RerunPipeline(rerun)
    job = last_job(source, "p")
    assert (job.pipeline_version, job.data_processed, job.data_skipped) == (2, 0, 1)
    rerun.reprocess = True
    source.pps.RerunPipeline(rerun)
    job = last_job(source, "p")
    assert (job.pipeline_version, job.data_processed, job.data_skipped) == (3, 1, 0)
    assert json.loads(inspect(source).details_json) == SPEC
    rerun.pipeline.name = "missing"
    assert refused(lambda: source.pps.RerunPipeline(rerun))[0] == "NOT_FOUND"


def test_what_must_exist_is_missed(source: Client) -> None:
    missing = pps_pb2.Pipeline(name="missing")
    source.pps.DeletePipeline(pps_pb2.DeletePipelineRequest(pipeline=missing))
    source.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=missing))
    for call in (
        lambda: source.pps.DeletePipeline(pps_pb2.DeletePipelineRequest(pipeline=missing, must_exist=True)),
        lambda: source.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=missing, must_exist=True)),
    ):
        assert refused(call)[0] == "NOT_FOUND"


MARKS = st.dictionaries(st.sampled_from("ab"), st.none() | st.sampled_from("xyz"), max_size=2)
METADATA = st.dictionaries(st.sampled_from(["annotations", "labels"]), st.none() | MARKS, max_size=2)
SPECS = st.fixed_dictionaries({}, optional={"metadata": st.none() | METADATA, "description": st.none() | st.text()})


def patched(target: Any, patch: Any) -> Any:
    """RFC 7396, as its pseudocode has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


@given(SPECS, SPECS, SPECS)
def test_defaults_are_merged_as_json_patches_are(
    cluster: dict[str, Any], project: dict[str, Any], user: dict[str, Any]
) -> None:
    with TemporaryDirectory() as folder, closing(Store(Path(folder))) as store:
        defaults = Defaults(store, Pfs(store, Bulletin(store.after_commit)))
        defaults.set(None, json.dumps({"createPipelineRequest": cluster}))
        defaults.set("default", json.dumps({"createPipelineRequest": project}))
        spec = defaults.spec(json.dumps(user))
    expected = patched(patched(patched({}, cluster), project), user)
    shown = json.loads(spec.effective)
    assert {name: shown.get(name) for name in ("metadata", "description")} == {
        name: expected.get(name) for name in ("metadata", "description")
    }
    assert spec.request.description == expected.get("description", "")
    assert dict(spec.request.metadata.labels) == expected.get("metadata", {}).get("labels", {})


def test_a_transaction_makes_a_pipeline_of_a_spec(source: Client) -> None:
    with source.transaction():
        effective = create(source, SPEC)
        (info,) = source.transactions.ListTransaction(transaction_pb2.ListTransactionRequest()).transaction_info
        (kept,) = info.requests
        assert kept.create_pipeline_v2.create_pipeline_request.pipeline.name == "p"
        assert json.loads(kept.create_pipeline_v2.user_json) == SPEC
        assert json.loads(kept.create_pipeline_v2.effective_json) == effective
        assert not source.list_pipeline()
    assert json.loads(inspect(source).details_json) == SPEC
    with source.transaction():
        create(source, SPEC | {"description": "changed"}, update=True)
    assert (inspect(source).version, inspect(source).details.description) == (2, "changed")


def test_a_batch_makes_a_pipeline_with_or_without_json(source: Client) -> None:
    request = pps_pb2.CreatePipelineRequest(
        pipeline=pps_pb2.Pipeline(name="q"), transform=pps_pb2.Transform(image="host")
    )
    made = [
        transaction_pb2.TransactionRequest(create_pipeline_v2={"user_json": json.dumps(SPEC)}),
        transaction_pb2.TransactionRequest(create_pipeline_v2={"create_pipeline_request": request}),
    ]
    source.transactions.BatchTransaction(transaction_pb2.BatchTransactionRequest(requests=made))
    assert {info.pipeline.name for info in source.list_pipeline()} == {"p", "q"}
    request.update = True
    again = [transaction_pb2.TransactionRequest(create_pipeline_v2={"create_pipeline_request": request})]
    source.transactions.BatchTransaction(transaction_pb2.BatchTransactionRequest(requests=again))
    assert {info.pipeline.name: info.version for info in source.list_pipeline()} == {"p": 1, "q": 2}
