"""Debug dumps, storage checks, and features that are off, through python-pachyderm; and a disk that fills up."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from python_pachyderm import Client
from python_pachyderm.service import (
    debug_grpc,
    debug_proto,
    enterprise_proto,
    license_grpc,
    license_proto,
    pfs_grpc,
    pfs_proto,
    pps_grpc,
    pps_proto,
)

from tests.localpach.conftest import Server

TMPFS_SERVER = (
    'mkdir -p "$1" && mount -t tmpfs -o size=24m tmpfs "$1" && '
    'exec "$2" -m localpach serve --root "$1/data" --port 0 --no-auth --missing-image host'
)


def test_a_dump_tells_of_repos_pipelines_and_logs_but_not_the_token(server: Server, client: Client) -> None:
    client.create_repo("in")
    client.create_pipeline(
        "echo",
        transform=pps_proto.Transform(cmd=["sh", "-c", "echo said aloud"], image="host"),
        input=pps_proto.Input(pfs=pps_proto.PFSInput(repo="in", glob="/*")),
    )
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/a", b"1")
    client.wait_commit(commit.id)
    packed = b"".join(chunk.content.content for chunk in client.dump())
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        files = {m.name: archive.extractfile(m).read().decode() for m in archive}  # type: ignore[union-attr]
    assert files["pachd/fsck.txt"] == ""
    assert '"name": "in"' in files["source-repos/repos.json"]
    assert "said aloud" in files["pipelines/default/echo/spec.json"]
    assert "JOB_SUCCESS" in files["pipelines/default/echo/jobs.json"]
    assert "said aloud" in files[f"pipelines/default/echo/logs/{commit.id}.json"]
    assert (server.root / "token").read_text() not in "".join(files.values())


def test_checking_storage_counts_and_reads_contents(server: Server, client: Client) -> None:
    stub = pfs_grpc.APIStub(client._channel)
    client.create_repo("in")
    big = os.urandom(300_000)
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/small", b"1")
        client.put_file_bytes(commit, "/big", big)
    request = pfs_proto.CheckStorageRequest(read_chunk_data=True)
    assert stub.CheckStorage(request).chunk_object_count >= 2
    stored = next(p for p in (server.root / "objects").glob("*/*") if p.read_bytes() == big)
    stored.chmod(0o600)
    stored.write_bytes(bytes(len(big)))
    with pytest.raises(grpc.RpcError, match="damaged"):
        stub.CheckStorage(request)
    stored.write_bytes(big)


def test_a_file_set_is_one_shard(client: Client) -> None:
    stub = pfs_grpc.APIStub(client._channel)
    client.create_repo("in")
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/a", b"1")
    id = stub.GetFileSet(pfs_proto.GetFileSetRequest(commit=commit)).file_set_id
    shards = stub.ShardFileSet(pfs_proto.ShardFileSetRequest(file_set_id=id)).shards
    assert [(shard.lower, shard.upper) for shard in shards] == [("", "")]
    with pytest.raises(grpc.RpcError, match="not found"):
        stub.ShardFileSet(pfs_proto.ShardFileSetRequest(file_set_id="0" * 32))


def test_what_is_off_says_so(client: Client) -> None:
    pfs, pps = pfs_grpc.APIStub(client._channel), pps_grpc.APIStub(client._channel)
    for call in (
        lambda: pfs.ActivateAuth(pfs_proto.ActivateAuthRequest()),
        lambda: pps.ActivateAuth(pps_proto.ActivateAuthRequest()),
    ):
        with pytest.raises(grpc.RpcError, match="the auth service is not activated"):
            call()
    assert client.get_activation_code().activation_code == ""
    client.deactivate_enterprise()


def test_profiles_and_the_program_can_be_had(client: Client) -> None:
    packed = b"".join(client.profile_cpu(Duration(nanos=200_000_000)))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        lines = archive.extractfile("pachd/cpu").read().decode().splitlines()  # type: ignore[union-attr]
    counts = {stack: int(count) for stack, _, count in (line.rpartition(" ") for line in lines)}
    assert any(stack.startswith("controller;") for stack in counts)
    assert max(counts.values()) > 1
    assert b"".join(client.binary())
    stub = debug_grpc.DebugStub(client._channel)
    with pytest.raises(grpc.RpcError, match='unable to find profile "heap"'):
        list(stub.Profile(debug_proto.ProfileRequest(profile=debug_proto.Profile(name="heap"))))


def test_the_log_says_more_or_less_for_a_time(client: Client) -> None:
    stub = debug_grpc.DebugStub(client._channel)
    request = debug_proto.SetLogLevelRequest(pachyderm="OFF", duration=Duration(nanos=1_000_000))
    assert stub.SetLogLevel(request).affected_pods == ["pachd"]
    with pytest.raises(grpc.RpcError, match="no log level set"):
        stub.SetLogLevel(debug_proto.SetLogLevelRequest())


def test_there_is_no_licence(client: Client) -> None:
    stub = license_grpc.APIStub(client._channel)
    assert stub.GetActivationCode(license_proto.GetActivationCodeRequest()).state == enterprise_proto.NONE
    assert not stub.ListClusters(license_proto.ListClustersRequest()).clusters
    assert not stub.ListUserClusters(license_proto.ListUserClustersRequest()).clusters
    stub.DeleteCluster(license_proto.DeleteClusterRequest(id="none"))
    stub.DeleteAll(license_proto.DeleteAllRequest())
    with pytest.raises(grpc.RpcError, match="no enterprise features"):
        stub.Activate(license_proto.ActivateRequest(activation_code="code"))
    with pytest.raises(grpc.RpcError, match="no enterprise features"):
        client.activate_enterprise("server", "id", "secret")
    with pytest.raises(grpc.RpcError, match="the auth service is not activated"):
        client.list_idp_connectors()


@pytest.fixture
def small_disk(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A client of a server whose data directory is a disk of 24 MiB."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this kernel gives no user namespaces to mount a small disk in")
    command = ["unshare", "-Urm", "sh", "-c", TMPFS_SERVER, "sh", str(tmp_path / "disk"), sys.executable]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    port = None
    for line in process.stderr or ():
        found = re.search(r"at 127\.0\.0\.1:(\d+)", line)
        if found:
            port = int(found[1])
            break
    assert port, "the server did not start"
    yield Client("127.0.0.1", port)
    process.terminate()
    process.wait(30)
    process.stderr.close()  # type: ignore[union-attr]


def test_a_full_disk_refuses_that_call_and_hurts_nothing_else(small_disk: Client) -> None:
    client = small_disk
    client.create_repo("in")
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/kept", b"kept")
    second = client.start_commit("in", "master")
    with pytest.raises(grpc.RpcError) as caught:
        client.put_file_bytes(second, "/big", io.BytesIO(os.urandom(64 << 20)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
    client.put_file_bytes(second, "/after", b"after")
    client.finish_commit(second)
    assert client.get_file(second, "/kept").read() == b"kept"
    assert client.get_file(second, "/after").read() == b"after"
    assert not list(client.fsck())
