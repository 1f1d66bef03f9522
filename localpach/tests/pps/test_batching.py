"""Commands that ask for datum after datum, in sandboxes, by a client of gRPC."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import content, last_job, lines, pfs, put, shell, until
from tests.servers import Server

pytestmark = pytest.mark.slow

# As `batch_all_datums` of pachyderm_sdk does it.
COMMAND = r"""python3 - <<'END'
import os, time
import grpc
channel = grpc.insecure_channel("localhost:" + os.environ["PPS_WORKER_GRPC_PORT"])
call = channel.unary_unary("/pachyderm.worker.Worker/NextDatum")
def next_datum(error=""):
    call(b"\n" + bytes([len(error)]) + error.encode() if error else b"")
    os.environ.update(line.split("=", 1) for line in open("/pfs/.env").read().splitlines())
print("started", os.environ.get("PACH_DATUM_ID"))
{script}
END
"""
COPY = """
error = ""
while True:
    next_datum(error)
    [name] = os.listdir("/pfs/in")
    print("datum", name, os.listdir("/pfs/out"), os.environ["in"], len(os.environ["PACH_DATUM_ID"]), flush=True)
    data = open("/pfs/in/" + name).read()
    error = "it is bad" if data == "bad" else ""
    open("/pfs/out/" + name, "w").write(data * 2)
    os.symlink("/pfs/in/" + name, "/pfs/out/link-" + name)
"""


@pytest.fixture(autouse=True)
def _sandboxed(server: Server) -> None:
    if "NO sandbox" in json.loads((server.root / "address").read_text())["weakness"]:
        pytest.skip("this kernel gives no sandboxes")


def batching(
    client: Client, script: str, files: dict[str, bytes], err_cmd: list[str] | None = None, **more: Any
) -> pps_pb2.JobInfo:
    """The job of a command that batches, once it is over."""
    client.create_repo("in")
    put(client, "in", files)
    transform = shell(COMMAND.format(script=script), datum_batching=True, err_cmd=err_cmd)
    client.create_pipeline("job", transform=transform, input=pfs("in"), **more)
    return last_job(client, "job")


def test_one_command_has_all_datums_one_after_the_other(client: Client) -> None:
    files = {f"/{number}": str(number).encode() for number in range(5)}
    job = batching(client, COPY, files)
    said = lines(client, "job", job)
    assert job.state == pps_pb2.JOB_SUCCESS, said
    assert said.count("started None") == 1
    assert {line for line in said if line.startswith("datum")} == {f"datum {n} [] /pfs/in/{n} 64" for n in range(5)}
    for path, data in files.items():
        assert content(client, "job", path) == data * 2
        assert content(client, "job", f"/link-{path[1:]}") == data


@pytest.mark.parametrize(("err_cmd", "state"), [([], pps_pb2.JOB_FAILURE), (["true"], pps_pb2.JOB_SUCCESS)])
def test_an_error_fails_its_datum_and_starts_the_command_again(
    client: Client, err_cmd: list[str], state: pps_pb2.JobState
) -> None:
    job = batching(client, COPY, {"/a": b"1", "/b": b"bad", "/c": b"3"}, err_cmd, datum_tries=2)
    said = lines(client, "job", job)
    assert job.state == state, said
    assert sum("it told of an error: it is bad" in line for line in said) == 2
    assert sum(line.startswith("datum b") for line in said) == 2
    assert (job.data_processed, job.data_recovered, job.data_failed) == (2, len(err_cmd), 1 - len(err_cmd))
    if state == pps_pb2.JOB_SUCCESS:
        found = {info.file.path for info in client.list_file(("job", "master"), "/")}
        assert found == {"/a", "/c", "/link-a", "/link-c"}


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("raise SystemExit(3)", "it ended with exit status 3 before it asked for the next datum"),
        ("next_datum()", "it ended with exit status 0 before it asked for the next datum"),
        ("next_datum()\ntime.sleep(600)", "context deadline exceeded"),
        ("next_datum()\nopen('/pfs/in/a', 'w')", "Read-only file system"),
        ("next_datum()\nos.symlink('/etc/passwd', '/pfs/out/x')\nnext_datum()", "/x in /pfs/out is a link to /etc"),
        ("next_datum()\nos.mkfifo('/pfs/out/x')\nnext_datum()", "/x in /pfs/out is neither a file nor a directory"),
    ],
)
def test_what_does_not_go_on_is_told_in_a_sentence(client: Client, script: str, sentence: str) -> None:
    limit = Duration(seconds=2 if "sleep" in script else 60)
    job = batching(client, script, {"/a": b"1"}, datum_tries=1, datum_timeout=limit)
    said = lines(client, "job", job)
    assert job.state == pps_pb2.JOB_FAILURE, said
    assert any(sentence in line for line in said), said


def test_a_job_that_is_stopped_ends_its_command(client: Client, server: Server) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    script = COMMAND.format(script="next_datum()\nopen('/tmp/got', 'w')\ntime.sleep(600)")
    client.create_pipeline("job", transform=shell(script, datum_batching=True), input=pfs("in"))
    until(lambda: list(server.root.glob("work/*/tmp/got")), 120)
    client.stop_job(client.list_job("job")[0].job.id, "job")
    assert last_job(client, "job").state == pps_pb2.JOB_KILLED
    until(lambda: not list(server.root.glob("work/*")), 120)
