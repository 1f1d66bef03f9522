"""Keys and values that clients note of things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localpach.proto import admin_pb2, metadata_pb2, pfs_pb2, pps_pb2
from tests.client import Client
from tests.helpers import pfs, pipeline, put, refused
from tests.pfs.test_graph import picked_branch, picked_head, picked_repo

PIPELINE = pps_pb2.PipelinePicker(name=pps_pb2.PipelinePicker.PipelineName(name="p"))
TARGETS: dict[str, Any] = {
    "project": pfs_pb2.ProjectPicker(name="default"),
    "repo": picked_repo("in"),
    "branch": picked_branch("in"),
    "commit": picked_head("in"),
    "pipeline": PIPELINE,
    "cluster": metadata_pb2.ClusterPicker(),
}
SHOWN: dict[str, Callable[[Client], Any]] = {
    "project": lambda client: client.pfs.InspectProject(
        pfs_pb2.InspectProjectRequest(project=pfs_pb2.Project(name="default"))
    ),
    "repo": lambda client: next(info for info in client.list_repo() if info.repo.name == "in"),
    "branch": lambda client: client.list_branch("in")[0],
    "commit": lambda client: client.inspect_commit(("in", "master")),
    "pipeline": lambda client: client.inspect_pipeline("p"),
    "cluster": lambda client: client.admin.InspectCluster(admin_pb2.InspectClusterRequest()),
}


def edit(client: Client, *edits: metadata_pb2.Edit) -> None:
    client.metadata.EditMetadata(metadata_pb2.EditMetadataRequest(edits=edits))


def shown(client: Client, target: str) -> dict[str, str]:
    return dict(SHOWN[target](client).metadata)


@pytest.fixture
def noted(client: Client) -> Client:
    """With one of each thing that metadata are kept of, and none of the cluster."""
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    pipeline(client, "p", "true", pfs("in"))
    edit(client, metadata_pb2.Edit(cluster=metadata_pb2.ClusterPicker(), replace={}))
    return client


@pytest.mark.parametrize("target", TARGETS)
def test_metadata_are_shown_of_what_they_are_about_alone(noted: Client, target: str) -> None:
    edit(noted, metadata_pb2.Edit(**{target: TARGETS[target]}, add_key={"key": "k", "value": "v"}))
    assert {each: shown(noted, each) for each in TARGETS} == {
        each: {"k": "v"} if each == target else {} for each in TARGETS
    }


def test_edits_happen_all_or_none(noted: Client) -> None:
    add = metadata_pb2.Edit(repo=TARGETS["repo"], add_key={"key": "k", "value": "v"})
    told = refused(lambda: edit(noted, add, add))
    assert told == ("UNKNOWN", 'apply edits: edit #1: add_key target key "k" already exists; use edit_key instead')
    assert shown(noted, "repo") == {}
    assert refused(lambda: edit(noted, metadata_pb2.Edit(repo=TARGETS["repo"])))[0] == "UNKNOWN"
    assert refused(lambda: edit(noted, metadata_pb2.Edit(replace={})))[0] == "UNKNOWN"
    missing = metadata_pb2.Edit(repo=picked_repo("missing"), replace={})
    assert refused(lambda: edit(noted, missing))[0] == "NOT_FOUND"


def test_metadata_go_with_what_they_are_about(noted: Client) -> None:
    edit(noted, metadata_pb2.Edit(pipeline=PIPELINE, add_key={"key": "k", "value": "v"}))
    pipeline(noted, "p", "false", pfs("in"), update=True)
    assert shown(noted, "pipeline") == {"k": "v"}
    noted.delete_pipeline("p")
    pipeline(noted, "p", "true", pfs("in"))
    assert shown(noted, "pipeline") == {}


KEYS, VALUES = st.sampled_from("abc"), st.text(max_size=2)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("edit_key"), KEYS, VALUES),
        st.tuples(st.just("add_key"), KEYS, VALUES),
        st.tuples(st.just("delete_key"), KEYS, st.just("")),
    ),
    max_size=6,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES), EDITS)
def test_edits_change_metadata_as_a_dictionary(
    client: Client, first: dict[str, str], edits: list[tuple[str, str, str]]
) -> None:
    client.delete_all()
    client.create_repo("in")
    expected = dict(first)
    edit(client, metadata_pb2.Edit(repo=TARGETS["repo"], replace={"replacement": first}))
    for change, key, value in edits:
        if change == "delete_key":
            expected.pop(key, None)
            edit(client, metadata_pb2.Edit(repo=TARGETS["repo"], delete_key={"key": key}))
        elif change == "edit_key" or key not in expected:
            expected[key] = value
            edit(client, metadata_pb2.Edit(repo=TARGETS["repo"], **{change: {"key": key, "value": value}}))
    assert shown(client, "repo") == expected
