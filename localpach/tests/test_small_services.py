"""Debug dumps, storage checks, and features that are off; and a disk that fills up."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from localpach.proto import debug_pb2, enterprise_pb2, identity_pb2, license_pb2, pfs_pb2, pps_pb2
from tests.client import Client
from tests.helpers import pfs, pipeline, put
from tests.servers import Server

TMPFS_SERVER = (
    'mkdir -p "$1" && mount -t tmpfs -o size=24m tmpfs "$1" && '
    'exec "$2" -m localpach serve --root "$1/data" --port 0 --no-auth --missing-image host'
)


def unpacked(packed: bytes) -> dict[str, bytes]:
    """The files of a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return {name: file.read() for name, file in files.items() if file}


def test_a_dump_tells_of_repos_pipelines_and_logs_but_not_the_token(server: Server, client: Client) -> None:
    client.create_repo("in")
    pipeline(client, "echo", "echo said aloud", pfs("in"))
    id = put(client, "in", {"/a": b"1"})
    client.wait_commit(id)
    request = client.debug.GetDumpV2Template(debug_pb2.GetDumpV2TemplateRequest()).request
    packed = b"".join(chunk.content.content for chunk in client.debug.DumpV2(request))
    files = {name: data.decode() for name, data in unpacked(packed).items()}
    assert files["pachd/fsck.txt"] == ""
    assert '"name": "in"' in files["source-repos/repos.json"]
    assert "said aloud" in files["pipelines/default/echo/spec.json"]
    assert "JOB_SUCCESS" in files["pipelines/default/echo/jobs.json"]
    assert "said aloud" in files[f"pipelines/default/echo/logs/{id}.json"]
    assert (server.root / "token").read_text() not in "".join(files.values())


def test_checking_storage_counts_and_reads_contents(server: Server, client: Client) -> None:
    client.create_repo("in")
    big = os.urandom(300_000)
    put(client, "in", {"/small": b"1", "/big": big})
    request = pfs_pb2.CheckStorageRequest(read_chunk_data=True)
    assert client.pfs.CheckStorage(request).chunk_object_count >= 2
    stored = next(p for p in (server.root / "objects").glob("*/*") if p.read_bytes() == big)
    stored.chmod(0o600)
    stored.write_bytes(bytes(len(big)))
    with pytest.raises(grpc.RpcError, match="damaged"):
        client.pfs.CheckStorage(request)
    stored.write_bytes(big)


def test_a_file_set_is_one_shard(client: Client) -> None:
    client.create_repo("in")
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/a", b"1")
    id = client.pfs.GetFileSet(pfs_pb2.GetFileSetRequest(commit=commit)).file_set_id
    shards = client.pfs.ShardFileSet(pfs_pb2.ShardFileSetRequest(file_set_id=id)).shards
    assert [(shard.lower, shard.upper) for shard in shards] == [("", "")]
    with pytest.raises(grpc.RpcError, match="not found"):
        client.pfs.ShardFileSet(pfs_pb2.ShardFileSetRequest(file_set_id="0" * 32))


def test_what_is_off_says_so(client: Client) -> None:
    with pytest.raises(grpc.RpcError, match="the auth service is not activated"):
        client.pfs.ActivateAuth(pfs_pb2.ActivateAuthRequest())
    with pytest.raises(grpc.RpcError, match="the auth service is not activated"):
        client.pps.ActivateAuth(pps_pb2.ActivateAuthRequest())
    code = client.enterprise.GetActivationCode(enterprise_pb2.GetActivationCodeRequest())
    assert code.activation_code == ""
    client.enterprise.Deactivate(enterprise_pb2.DeactivateRequest())


def test_profiles_and_the_program_can_be_had(client: Client) -> None:
    profile = debug_pb2.Profile(name="cpu", duration=Duration(nanos=200_000_000))
    chunks = client.debug.Profile(debug_pb2.ProfileRequest(profile=profile))
    lines = unpacked(b"".join(chunk.value for chunk in chunks))["pachd/cpu"].decode().splitlines()
    counts = {stack: int(count) for stack, _, count in (line.rpartition(" ") for line in lines)}
    assert any(stack.startswith("controller;") for stack in counts)
    assert max(counts.values()) > 1
    assert unpacked(b"".join(chunk.value for chunk in client.debug.Binary(debug_pb2.BinaryRequest())))
    with pytest.raises(grpc.RpcError, match='unable to find profile "heap"'):
        list(client.debug.Profile(debug_pb2.ProfileRequest(profile=debug_pb2.Profile(name="heap"))))


def test_the_log_says_more_or_less_for_a_time(client: Client) -> None:
    request = debug_pb2.SetLogLevelRequest(pachyderm="OFF", duration=Duration(nanos=1_000_000))
    assert client.debug.SetLogLevel(request).affected_pods == ["pachd"]
    with pytest.raises(grpc.RpcError, match="no log level set"):
        client.debug.SetLogLevel(debug_pb2.SetLogLevelRequest())


def test_there_is_no_licence(client: Client) -> None:
    assert client.license.GetActivationCode(license_pb2.GetActivationCodeRequest()).state == enterprise_pb2.NONE
    assert not client.license.ListClusters(license_pb2.ListClustersRequest()).clusters
    assert not client.license.ListUserClusters(license_pb2.ListUserClustersRequest()).clusters
    client.license.DeleteCluster(license_pb2.DeleteClusterRequest(id="none"))
    client.license.DeleteAll(license_pb2.DeleteAllRequest())
    with pytest.raises(grpc.RpcError, match="no enterprise features"):
        client.license.Activate(license_pb2.ActivateRequest(activation_code="code"))
    with pytest.raises(grpc.RpcError, match="no enterprise features"):
        client.enterprise.Activate(enterprise_pb2.ActivateRequest(license_server="server", id="id", secret="secret"))
    with pytest.raises(grpc.RpcError, match="the auth service is not activated"):
        client.identity.ListIDPConnectors(identity_pb2.ListIDPConnectorsRequest())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Client]:
    """A client of a server whose data directory is a disk of 24 MiB."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this kernel gives no user namespaces to mount a small disk in")
    command = ["unshare", "-Urm", "sh", "-c", TMPFS_SERVER, "sh", str(tmp_path / "disk"), sys.executable]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found = (re.search(r"at (127\.0\.0\.1:\d+)", line) for line in process.stderr)
    address = next((match[1] for match in found if match), None)
    assert address, "the server did not start"
    yield Client(address)
    process.terminate()
    process.wait(30)
    process.stderr.close()


def test_a_full_disk_refuses_that_call_and_hurts_nothing_else(small_disk: Client) -> None:
    client = small_disk
    client.create_repo("in")
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/kept", b"kept")
    second = client.start_commit("in", "master")
    with pytest.raises(grpc.RpcError) as caught:
        client.put_file_bytes(second, "/big", os.urandom(64 << 20))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    client.put_file_bytes(second, "/after", b"after")
    client.finish_commit(second)
    assert client.get_file(second, "/kept") == b"kept"
    assert client.get_file(second, "/after") == b"after"
    assert not list(client.pfs.Fsck(pfs_pb2.FsckRequest()))
