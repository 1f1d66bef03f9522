"""Spouts: commands that run for ever and write to their output as clients do."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client, commit_of
from tests.helpers import content, last_job, pfs, pipeline, put, refused, shell, until
from tests.servers import Server, serving

SECONDS = 60.0
# Asks what it is told to, at the address that its environment tells: methods, each with its requests as bytes.
CLIENT = r"""python3 - <<'END'
import os, time
import grpc
channel = grpc.insecure_channel(os.environ["PACHD_PEER_SERVICE_HOST"] + ":" + os.environ["PACHD_PEER_SERVICE_PORT"])
for method, requests in {steps}:
    try:
        list(channel.stream_stream(method)(iter(requests)))
        print("told: yes")
    except grpc.RpcError as error:
        print("told:", error.details())
print("done", flush=True)
time.sleep(600)
END
"""
SOURCE = commit_of(("source", "master"))
SECRET = commit_of(("secret", "master"))
Step = tuple[str, list[bytes]]


def ask(method: str, *requests: Message, service: str = "pfs_v2.API") -> Step:
    return f"/{service}/{method}", [request.SerializeToString() for request in requests]


def change(commit: pfs_pb2.Commit, change: pfs_pb2.ModifyFileRequest) -> Step:
    """One change of a commit."""
    return ask("ModifyFile", pfs_pb2.ModifyFileRequest(set_commit=commit), change)


def add(commit: pfs_pb2.Commit, path: str, data: bytes) -> Step:
    added = pfs_pb2.AddFile(path=path, raw=BytesValue(value=data))
    return change(commit, pfs_pb2.ModifyFileRequest(add_file=added))


@pytest.fixture(autouse=True)
def _sandboxed(server: Server) -> None:
    if "NO sandbox" in json.loads((server.root / "address").read_text())["weakness"]:
        pytest.skip("this kernel gives no sandboxes")


def spout(client: Client, script: str, **more: object) -> None:
    client.create_pipeline("source", transform=shell(script), spout=pps_pb2.Spout(), **more)


def said(client: Client) -> list[str]:
    request = pps_pb2.GetLogsRequest(pipeline=pps_pb2.Pipeline(name="source"))
    return [each.message for each in client.pps.GetLogs(request)]


def told(client: Client, *steps: Step) -> list[str]:
    """What a spout is answered that asks all that."""
    spout(client, CLIENT.format(steps=repr(steps)))
    until(lambda: "done" in said(client), SECONDS)
    return [line.removeprefix("told: ") for line in said(client) if line.startswith("told: ")]


def test_what_a_spout_writes_makes_commits_and_jobs(client: Client, server: Server) -> None:
    answers = told(
        client,
        ask("StartCommit", pfs_pb2.StartCommitRequest(branch=SOURCE.branch)),
        add(SOURCE, "/a", b"one"),
        ask("FinishCommit", pfs_pb2.FinishCommitRequest(commit=SOURCE)),
        add(SOURCE, "/b", b"two"),
    )
    assert answers == ["yes"] * 4
    info = client.inspect_pipeline("source")
    assert (info.type, info.state) == (pps_pb2.PipelineInfo.PIPELINE_TYPE_SPOUT, pps_pb2.PIPELINE_RUNNING)
    assert (len(client.list_commit("source")), client.list_job("source")) == (2, [])
    pipeline(client, "copy", "cp /pfs/source/* /pfs/out", pfs("source", "/"))
    assert last_job(client, "copy").state == pps_pb2.JOB_SUCCESS
    assert (content(client, "copy", "/a"), content(client, "copy", "/b")) == (b"one", b"two")
    # It ends with its pipeline, and nothing is left; what it is deleting itself is left to it.
    for name in ("left", ".spout-deleted.0"):
        (server.root / "work" / name).mkdir()
    put(client, "source", {"/c": b"3"})
    until(lambda: not (server.root / "work" / "left").exists(), SECONDS)
    assert sorted(each.name[:6] for each in server.root.glob("work/*")) == [".spout", "spout-"]
    client.stop_pipeline("source")
    until(lambda: not list(server.root.glob("work/*")), SECONDS)


# What is none of a spout's business.
FOREIGN = (
    add(SECRET, "/x", b"1"),
    add(pfs_pb2.Commit(branch=SOURCE.branch, repo=SECRET.branch.repo), "/x", b"1"),
    change(
        SOURCE,
        pfs_pb2.ModifyFileRequest(
            copy_file=pfs_pb2.CopyFile(dst="/x", src=pfs_pb2.File(commit=SECRET, path="/a")),
        ),
    ),
    ask("GetFile", pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=SECRET, path="/a"))),
    ask("StartCommit", pfs_pb2.StartCommitRequest(branch=SECRET.branch)),
    ask("StartCommit", pfs_pb2.StartCommitRequest(branch=SOURCE.branch, parent=SECRET)),
    ask("InspectRepo", pfs_pb2.InspectRepoRequest(repo=pfs_pb2.Repo(name="source", type="spec"))),
    ask("InspectCommit", pfs_pb2.InspectCommitRequest(commit=pfs_pb2.Commit(id="0" * 32))),
    ask("ListRepo", pfs_pb2.ListRepoRequest()),
    ask("DeleteAll", Empty()),
    ask("CreateFileSet", pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path="/x"))),
)
URL = pfs_pb2.AddFile(path="/x", url=pfs_pb2.AddFile.URLSource(URL="http://127.0.0.1:1/"))


def test_a_spout_reaches_nothing_but_its_output(client: Client) -> None:
    client.create_repo("secret")
    put(client, "secret", {"/a": b"1"})
    mine, url, deletion, *foreign = told(
        client,
        add(SOURCE, "/mine", b"1"),
        change(SOURCE, pfs_pb2.ModifyFileRequest(add_file=URL)),
        ask("DeletePipeline", pps_pb2.DeletePipelineRequest(all=True), service="pps_v2.API"),
        *FOREIGN,
    )
    assert (mine, url) == ("yes", "a spout has no URLs fetched for it: put the bytes")
    assert deletion.startswith("DeletePipeline is not a part of Pachyderm that localpach has")
    assert len(foreign) == len(FOREIGN)
    assert all("writes to its own output and reads that" in answer for answer in foreign), foreign
    assert [each.file.path for each in client.list_file(("source", "master"), "/")] == ["/mine"]
    assert [each.file.path for each in client.list_file(("secret", "master"), "/")] == ["/a"]


def test_a_spout_that_ends_is_started_again_until_a_new_version_comes(client: Client) -> None:
    spout(client, "echo here; exit 3")
    until(lambda: said(client).count("here") >= 2, SECONDS)
    assert "user code has ended: exit status 3; it is started again in 1 s" in said(client)
    spout(client, "echo there; sleep 600", update=True)
    until(lambda: "there" in said(client), SECONDS)
    assert said(client)[-1] == "there"


def test_a_spout_without_a_command_says_so(client: Client) -> None:
    client.create_pipeline("source", transform=pps_pb2.Transform(image="host"), spout=pps_pb2.Spout())
    until(lambda: said(client), SECONDS)
    assert said(client)[0].startswith("user code could not be run: invalid pipeline transform, no command specified;")


def test_a_spout_runs_again_with_its_server(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        spout(server.client, "echo here; sleep 600")
        until(lambda: "here" in said(server.client), SECONDS)
    with serving(tmp_path) as server:
        until(lambda: said(server.client).count("here") == 2, SECONDS)
        server.client.delete_pipeline("source")
        until(lambda: not list(tmp_path.glob("work/*")), SECONDS)


# Each body that comes by HTTP is a change of its output.
HOOK = r"""python3 - <<'END'
import grpc, http.server, os
channel = grpc.insecure_channel(os.environ["PACHD_PEER_SERVICE_HOST"] + ":" + os.environ["PACHD_PEER_SERVICE_PORT"])
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        change = self.rfile.read(int(self.headers["Content-Length"]))
        list(channel.stream_stream("/pfs_v2.API/ModifyFile")(iter([{commit}, change])))
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8000), Hook).serve_forever()
END
"""


def with_port(internal_port: int = 8000, external_port: int = 0) -> pps_pb2.Spout:
    return pps_pb2.Spout(service=pps_pb2.Service(internal_port=internal_port, external_port=external_port))


def post(client: Client, change: bytes) -> bool:
    """Whether the spout has taken a change."""
    told = [line.split()[-1] for line in said(client) if "the service is at" in line]
    try:
        with urlopen(f"http://{told[-1]}/", change, SECONDS) as answer:
            return bool(answer.status == 204)
    except (IndexError, URLError, ConnectionError):
        return False


def test_what_comes_to_a_spouts_port_becomes_a_commit(client: Client) -> None:
    _, (commit, change) = add(SOURCE, "/a", b"one")
    client.create_pipeline("source", transform=shell(HOOK.format(commit=commit)), spout=with_port())
    until(lambda: post(client, change), SECONDS)
    assert content(client, "source", "/a") == b"one"
    [info] = client.list_pipeline(details=True)
    assert (info.type, info.details.spout.service.type) == (pps_pb2.PipelineInfo.PIPELINE_TYPE_SPOUT, "NodePort")


def test_a_spout_has_no_input_nor_a_port_that_is_another_ones(client: Client) -> None:
    client.create_repo("in")
    call = refused(lambda: spout(client, "true", input=pfs("in")))
    assert call == ("UNKNOWN", "spout pipelines (without a service) must not have an input")
    for service, more, begin in (
        (with_port(), {"input": pfs("in")}, "spout.service: here a spout has no input"),
        (with_port(external_port=80), {}, "spout.service.external_port: 80 is no port"),
        (
            with_port(1650),
            {},
            "spout.service.internal_port: at 1650 a spout",
        ),
    ):
        call = refused(partial(client.create_pipeline, "source", transform=shell("true"), spout=service, **more))
        assert call[1].startswith(begin)
