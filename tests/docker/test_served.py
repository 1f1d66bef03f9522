"""What is served to a container's command alone, and a service's container: all by its own loopback, for it has no network."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from docker import DockerClient
from google.protobuf.wrappers_pb2 import BytesValue
from python_pachyderm import Client
from python_pachyderm.service import pfs_proto, pps_proto

from tests.docker.conftest import FULL_BASE
from tests.jobs import content, last_job, lines, pfs, put, until
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SECONDS = 120
# The ports of its loopback where somebody listens, and its networks.
SURROUNDINGS = """
import os
rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
print([int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"], os.listdir("/sys/class/net"), flush=True)
"""
# As `batch_all_datums` of pachyderm_sdk does it.
BATCH = """
import grpc
channel = grpc.insecure_channel("localhost:" + os.environ["PPS_WORKER_GRPC_PORT"])
call = channel.unary_unary("/pachyderm.worker.Worker/NextDatum")
error = b""
while True:
    call(b"\\n" + bytes([len(error)]) + error if error else b"")
    [name] = os.listdir("/pfs/in")
    data = open("/pfs/in/" + name).read()
    open("/pfs/out/" + name, "w").write(data * 2)
    try:
        open("/pfs/in/" + name, "w")
    except OSError as failure:
        print("datum", name, os.listdir("/pfs/out"), failure.strerror, flush=True)
    error = b"it is bad" if data == "bad" else b""
"""
S3 = """
import base64, email.utils, hashlib, hmac, urllib.error, urllib.request
key = os.environ["AWS_ACCESS_KEY_ID"]
def ask(method, path, body=None):
    date = email.utils.formatdate(usegmt=True)
    text = f"{method}\\n\\n\\n\\nx-amz-date:{date}\\n{path}"
    signed = base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()
    headers = {"x-amz-date": date, "Authorization": f"AWS {key}:{signed}", "Content-Type": ""}
    url = os.environ["S3_ENDPOINT"] + path
    return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)).read()
ask("PUT", "/out/copy", ask("GET", "/in/a") * 2)
try:
    ask("GET", "/secret/a")
except urllib.error.HTTPError as error:
    print(error.code)
"""
SPOUT = """
import grpc, http.server
channel = grpc.insecure_channel(os.environ["PACHD_PEER_SERVICE_HOST"] + ":" + os.environ["PACHD_PEER_SERVICE_PORT"])
for method, requests in {steps}:
    try:
        list(channel.stream_stream(method)(iter(requests)))
        print("told: yes", flush=True)
    except grpc.RpcError as error:
        print("told:", error.details(), flush=True)
http.server.HTTPServer(("127.0.0.1", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
SERVICE = pps_proto.Service(internal_port=8000)
SERVE = "cd /pfs/in && exec python3 -m http.server --bind 127.0.0.1 8000"


@pytest.fixture
def client(server: Server, host: DockerClient) -> Iterator[Client]:
    client = server.client
    client.delete_all()
    client.create_repo("in")
    yield client
    client.delete_all()
    until(lambda: not host.api.containers(all=True), SECONDS)


def python(code: str, **more: object) -> pps_proto.Transform:
    return pps_proto.Transform(cmd=["python3", "-c", SURROUNDINGS + code], image=FULL_BASE, **more)


def said(client: Client, name: str) -> list[str]:
    return [message.message for message in client.get_pipeline_logs(name) if message.user]


def test_one_command_has_all_datums_and_changes_none(client: Client) -> None:
    put(client, "in", {"/a": b"1", "/b": b"bad", "/c": b"3"})
    # As somebody to whom none of it belongs.
    transform = python(BATCH, datum_batching=True, user="4321:1234", err_cmd=["true"])
    client.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=2)
    job = last_job(client, "p")
    told = lines(client, "p", job)
    assert (job.state, job.data_processed, job.data_recovered) == (pps_proto.JOB_SUCCESS, 2, 1), told
    assert sum("it told of an error: it is bad" in line for line in told) == 2
    seen = {f"datum {name} ['{name}'] Read-only file system" for name in "abc"}
    assert set(said(client, "p")) == {"[1080] ['lo']", *seen}
    assert {info.file.path for info in client.list_file(("p", "master"), "/")} == {"/a", "/c"}
    assert content(client, "p", "/c") == b"33"


def test_inputs_are_buckets_and_out_is_what_was_written(client: Client) -> None:
    client.create_repo("secret")
    put(client, "secret", {"/a": b"1"})
    put(client, "in", {"/a": b"one"})
    client.create_pipeline("p", transform=python(S3), input=pfs("in", "/", s3=True), s3_out=True, datum_tries=1)
    job = last_job(client, "p")
    assert job.state == pps_proto.JOB_SUCCESS, lines(client, "p", job)
    assert said(client, "p") == ["[600] ['lo']", "404"]
    assert content(client, "p", "/copy") == b"oneone"


def test_a_command_begins_when_what_it_is_served_listens(client: Client) -> None:
    put(client, "in", {"/a": b"one"})
    transform = pps_proto.Transform(cmd=["cat", "/proc/net/tcp"], image=FULL_BASE)
    client.create_pipeline("p", transform=transform, input=pfs("in", "/", s3=True), datum_tries=1)
    job = last_job(client, "p")
    assert job.state == pps_proto.JOB_SUCCESS, lines(client, "p", job)
    assert any(f":{600:04X} " in line for line in said(client, "p"))


def test_a_spout_writes_to_its_output_alone_and_has_a_port(client: Client) -> None:
    steps = [("/pfs_v2.API/ModifyFile", addition(name)) for name in ("p", "in")]
    client.create_pipeline("p", transform=python(SPOUT.format(steps=steps)), spout=pps_proto.Spout(service=SERVICE))
    until(lambda: len(said(client, "p")) >= 3, SECONDS)
    surroundings, mine, other = said(client, "p")[:3]
    assert (surroundings, mine) == ("[1650] ['lo']", "told: yes")
    assert "a spout writes to its own output and reads that" in other
    assert content(client, "p", "/a") == b"one"
    until(lambda: page(client, "etc/os-release"), SECONDS)


def addition(repo: str) -> list[bytes]:
    """What is sent to put a file on a branch."""
    branch = pfs_proto.Branch(repo=pfs_proto.Repo(name=repo, type="user"), name="master")
    added = pfs_proto.AddFile(path="/a", raw=BytesValue(value=b"one"))
    requests = [
        pfs_proto.ModifyFileRequest(set_commit=pfs_proto.Commit(branch=branch)),
        pfs_proto.ModifyFileRequest(add_file=added),
    ]
    return [request.SerializeToString() for request in requests]


def test_a_service_is_at_a_port_of_this_machines_loopback(client: Client, host: DockerClient) -> None:
    put(client, "in", {"/a": b"one"})
    transform = pps_proto.Transform(cmd=["sh"], stdin=[SERVE], image=FULL_BASE)
    client.create_pipeline("p", transform=transform, input=pfs("in", "/"), service=SERVICE)
    until(lambda: page(client, "a") == b"one", SECONDS)
    [container] = host.api.containers()
    assert (container["Ports"], container["HostConfig"]["NetworkMode"]) == ([], "none")
    put(client, "in", {"/a": b"two"})
    until(lambda: page(client, "a") == b"two", SECONDS)


def page(client: Client, path: str) -> bytes | None:
    """What the newest job's service has at a path; None where it does not answer yet."""
    told = [line.message for line in client.get_pipeline_logs("p") if "the service is at" in line.message]
    try:
        with urlopen(f"http://{told[-1].split()[-1]}/{path}", timeout=SECONDS) as answer:
            return bytes(answer.read())
    except (IndexError, URLError, ConnectionError):
        return None
