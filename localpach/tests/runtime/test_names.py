"""Names and paths in specs that would lead out of a datum's folder are refused when the pipeline is made."""

from __future__ import annotations

import json

import grpc
import pytest

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import last_job, lines, pfs, put, shell

OUTSIDE = ("..", "../x", "/x", "a/b", "a/../../b", ".", "x\0y", "x=y", "é" * 128)


@pytest.fixture
def source(client: Client) -> Client:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    return client


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_inputs_name_is_one_folders(source: Client, name: str) -> None:
    transform = pps_pb2.Transform(cmd=["true"], image="host")
    with pytest.raises(grpc.RpcError, match=r"input\.pfs\.name: .* can't be a folder's name"):
        source.create_pipeline("p", transform=transform, input=pfs("in", name=name))
    assert source.list_pipeline() == []


@pytest.mark.parametrize("path", ["/..", "/a/../../b", "..", "/", "/.", "/a/./b", "/x\0y"])
def test_a_secret_is_mounted_below_the_root(source: Client, path: str) -> None:
    manifest = {"metadata": {"name": "door"}, "stringData": {"word": "swordfish"}}
    source.pps.CreateSecret(pps_pb2.CreateSecretRequest(file=json.dumps(manifest).encode()))
    secret = pps_pb2.SecretMount(name="door", mount_path=path)
    transform = pps_pb2.Transform(cmd=["true"], image="host", secrets=[secret])
    try:
        with pytest.raises(grpc.RpcError, match=r"transform\.secrets\[0\]\.mount_path: .* is no path of a folder"):
            source.create_pipeline("p", transform=transform, input=pfs("in"))
    finally:
        source.pps.DeleteSecret(pps_pb2.DeleteSecretRequest(secret=pps_pb2.Secret(name="door")))
    assert source.list_pipeline() == []


def test_no_value_of_an_environment_says_what_a_sandbox_is_made_of(source: Client) -> None:
    env = {"A": "x\0--bind\0/\0/tmp"}
    transform = pps_pb2.Transform(cmd=["ls", "/tmp/root"], image="host", env=env)
    source.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=1)
    job = last_job(source, "p")
    assert job.state == pps_pb2.JOB_FAILURE
    assert any("a NUL character in env" in line for line in lines(source, "p", job))


@pytest.mark.parametrize("path", ["/" + "n" * 256, "/d" * 2 + ("/" + "d" * 250) * 20])
def test_a_path_that_is_too_long_fails_its_own_datum_alone(source: Client, path: str) -> None:
    put(source, "in", {path: b"2"})
    source.create_pipeline("p", transform=shell("ls /pfs/in"), input=pfs("in", glob="/*"), datum_tries=1)
    job = last_job(source, "p")
    assert (job.state, job.data_processed, job.data_failed) == (pps_pb2.JOB_FAILURE, 1, 1)
    assert f"a command can't be given {path[:200]}" in job.reason
    assert job.reason.endswith(": Linux takes no name as long; rename it")


def test_who_fails_for_lack_of_a_network_is_told_how_to_get_one(source: Client) -> None:
    script = "import socket; socket.create_connection(('10.0.0.1', 80), 2)"
    transform = pps_pb2.Transform(cmd=["python3", "-c", script], image="host")
    source.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=1)
    job = last_job(source, "p")
    assert any("localpach/network" in line for line in lines(source, "p", job))


def test_the_loopback_of_the_machine_is_no_network(source: Client) -> None:
    transform = pps_pb2.Transform(cmd=["true"], image="host")
    metadata = pps_pb2.Metadata(annotations={"localpach/network": "host"})
    source.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=1, metadata=metadata)
    job = last_job(source, "p")
    assert job.state == pps_pb2.JOB_FAILURE
    assert any("what listens on this machine alone" in line for line in lines(source, "p", job))
