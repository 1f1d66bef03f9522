"""Services: commands that run on a commit until the next one comes, at a port of this machine's loopback."""

from __future__ import annotations

import json
import re
import socket
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import last_job, lines, pfs, pipeline, put, until
from tests.servers import Server

SECONDS = 60.0
SERVE = "cd /pfs/in && exec python3 -m http.server --bind 127.0.0.1 8000"


@pytest.fixture(autouse=True)
def _sandboxed(server: Server) -> None:
    if "NO sandbox" in json.loads((server.root / "address").read_text())["weakness"]:
        pytest.skip("this kernel gives no sandboxes")


def service(client: Client, script: str, glob: str = "/", external_port: int = 0) -> None:
    service = pps_pb2.Service(internal_port=8000, external_port=external_port)
    pipeline(client, "web", script, pfs("in", glob), service=service)


def said(client: Client) -> list[str]:
    return lines(client, "web", client.list_job("web")[0])


def address(client: Client) -> str:
    """Where the service of the newest job is."""
    until(lambda: any("the service is at" in line for line in said(client)), SECONDS)
    return next(re.sub(".* at ", "http://", line) for line in reversed(said(client)) if "the service is at" in line)


def page(client: Client, path: str) -> bytes | None:
    """What the newest job's service has at a path; None where it does not answer yet."""
    try:
        with urlopen(f"{address(client)}/{path}", timeout=SECONDS) as answer:
            data: bytes = answer.read()
            return data
    except (URLError, ConnectionError):
        return None


def test_a_service_shows_the_newest_commit(client: Client, server: Server) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"one"})
    service(client, SERVE)
    until(lambda: page(client, "a") == b"one", SECONDS)
    first = client.list_job("web")[0]
    assert first.state == pps_pb2.JOB_RUNNING
    [info] = client.list_pipeline(details=True)
    assert (info.type, info.details.service.type) == (pps_pb2.PipelineInfo.PIPELINE_TYPE_SERVICE, "NodePort")
    put(client, "in", {"/a": b"two"})
    until(lambda: page(client, "a") == b"two", SECONDS)
    assert client.inspect_job(first.job.id, "web", wait=True).state == pps_pb2.JOB_SUCCESS
    # It ends with its pipeline, and its port is free.
    port = int(address(client).rpartition(":")[2])
    client.stop_pipeline("web")
    assert last_job(client, "web").state == pps_pb2.JOB_KILLED
    until(lambda: not list(server.root.glob("work/*")), SECONDS)
    socket.create_server(("127.0.0.1", port)).close()


def test_a_service_that_ends_is_started_again(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"one"})
    service(client, f"test -e /tmp/once || {{ touch /tmp/once; rm /pfs/in/a; exit 3; }}; {SERVE}")
    until(lambda: page(client, "a") == b"one", SECONDS)
    assert any("exit status 3" in line for line in said(client))


def test_a_service_has_one_datum_and_a_free_port(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"1", "/b": b"2"})
    service(client, SERVE, "/*")
    assert last_job(client, "web").reason == "services must have a single datum"
    client.delete_pipeline("web")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service(client, SERVE, external_port=port)
        sentence = f"service.external_port: port {port} of 127.0.0.1 is taken; choose another"
        assert last_job(client, "web").reason == sentence
