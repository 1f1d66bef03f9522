"""RPCs by HTTP with JSON."""

from __future__ import annotations

import base64
import io
import json
import socket
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from google.protobuf.json_format import MessageToDict

from localpach.api.server import Server as LocalpachServer
from localpach.errors import Precondition
from localpach.proto import debug_pb2, pfs_pb2
from tests.client import Client
from tests.helpers import put, until
from tests.servers import Server, token

Ask = Callable[..., requests.Response]


@pytest.fixture
def address(server: Server) -> str:
    found: str = json.loads((server.root / "address").read_text())["json_address"]
    return found


@pytest.fixture
def ask(server: Server, client: Client, address: str) -> Ask:
    """Calls an RPC with a body and the token, and with other headers, if there are any; nothing is on the server."""

    def ask(rpc: str, body: object = None, **headers: str) -> requests.Response:
        given = {"authn-token": token(server.root)} | {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, str) else json.dumps(body or {})
        return requests.post(f"http://{address}/api/{rpc}", data=data, headers=given, timeout=30)

    return ask


def results(answer: requests.Response) -> list[Any]:
    """The messages of a stream."""
    assert answer.status_code == 200
    return [json.loads(line)["result"] for line in answer.text.splitlines()]


def test_a_call_answers_with_the_message(ask: Ask, client: Client) -> None:
    assert ask("pfs_v2.API/CreateRepo", {"repo": {"name": "in"}}).json() == {}
    answer = ask("pfs_v2.API/InspectRepo", {"repo": {"name": "in", "type": "user"}})
    assert answer.headers["Content-Type"] == "application/json"
    request = pfs_pb2.InspectRepoRequest(repo=pfs_pb2.Repo(name="in", type="user"))
    # What is empty is there, too.
    expected = MessageToDict(client.pfs.InspectRepo(request), always_print_fields_with_no_presence=True)
    assert answer.json() == expected
    assert expected["description"] == ""


def test_names_of_fields_are_those_of_json_or_of_the_proto_and_others_are_ignored(ask: Ask) -> None:
    for text in ('{"clientVersion": {"major": 2}, "later": 1}', '{"client_version": {"major": 2}}'):
        assert ask("admin_v2.API/InspectCluster", text).json()["versionWarnings"] == []
    assert ask("versionpb_v2.API/GetVersion", "").json()["major"] == 2


def test_a_stream_answers_with_lines(ask: Ask, client: Client) -> None:
    assert results(ask("pfs_v2.API/ListRepo")) == []
    for name in "abc":
        client.create_repo(name)
    assert {each["repo"]["name"] for each in results(ask("pfs_v2.API/ListRepo"))} == {"a", "b", "c"}
    big = bytes(range(256)) * 20_000
    put(client, "a", {"/big": big})
    file = {"commit": {"branch": {"repo": {"name": "a", "type": "user"}, "name": "master"}}, "path": "/big"}
    pieces = results(ask("pfs_v2.API/GetFile", {"file": file}))
    assert b"".join(map(base64.b64decode, pieces)) == big


def test_a_stream_is_sent_as_values_that_follow_each_other(ask: Ask, client: Client) -> None:
    client.create_repo("in")
    place = {"branch": {"repo": {"name": "in", "type": "user"}, "name": "master"}}
    data = base64.b64encode(b"text").decode()
    body = json.dumps({"setCommit": place}) + "\n" + json.dumps({"addFile": {"path": "/a", "raw": data}})
    assert ask("pfs_v2.API/ModifyFile", body).json() == {}
    assert client.get_file(("in", "master"), "/a") == b"text"


@pytest.mark.parametrize(
    ("rpc", "body", "status", "code", "message"),
    [
        ("pfs_v2.API/InspectRepo", '{"repo": {"name": "none", "type": "user"}}', 404, 5, "repo default/none not found"),
        ("pfs_v2.API/ListBranch", '{"repo": {"name": "none", "type": "user"}}', 404, 5, "repo default/none not found"),
        ("pfs_v2.API/CreateRepo", '{"repo": {"name": "a b"}}', 500, 2, "name (a b) invalid"),
        ("pfs_v2.API/Egress", "{}", 501, 12, "here only pipelines send commits"),
        ("pfs_v2.API/CreateRepo", '{"repo": 1}', 400, 3, "Failed to parse repo"),
        ("pfs_v2.API/CreateRepo", "{", 400, 3, "Expecting property name"),
        ("pfs_v2.API/CreateRepo", "{} {}", 400, 3, "more than one request"),
        ("pfs_v2.API/Nothing", "{}", 404, 5, "/api/pfs_v2.API/Nothing is no RPC"),
        ("nothing", "{}", 404, 5, "/api/nothing is no RPC"),
    ],
)
def test_errors_have_codes_and_sentences(ask: Ask, rpc: str, body: str, status: int, code: int, message: str) -> None:
    answer = ask(rpc, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"].startswith(message)


def test_what_is_nested_without_end_is_no_request(ask: Ask) -> None:
    answer = ask("pfs_v2.API/CreateRepo", "[" * 100_000)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_the_token_is_asked_for(ask: Ask) -> None:
    for given in ("", "wrong"):
        answer = ask("pfs_v2.API/ListRepo", authn_token=given)
        assert (answer.status_code, answer.json()["code"]) == (401, 16)


def test_transactions_are_named_by_a_header(ask: Ask, client: Client) -> None:
    id = ask("transaction_v2.API/StartTransaction").json()["id"]
    ask("pfs_v2.API/CreateRepo", {"repo": {"name": "later"}}, pach_transaction=id)
    assert client.list_repo() == []
    ask("transaction_v2.API/FinishTransaction", {"transaction": {"id": id}})
    assert [info.repo.name for info in client.list_repo()] == ["later"]


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example:80"}, {"Host": "evil.localhost"}],
)
def test_pages_of_other_sites_are_refused(ask: Ask, headers: dict[str, str]) -> None:
    answer = ask("pfs_v2.API/ListRepo", **headers)
    assert (answer.status_code, answer.json()["code"]) == (403, 7)


def test_its_own_pages_may_ask(ask: Ask, address: str) -> None:
    assert ask("pfs_v2.API/ListRepo", Origin=f"http://{address}").status_code == 200


def waiting(client: Client, rpc: str) -> bool:
    """Whether a thread of the server is busy with an RPC."""
    profile = debug_pb2.ProfileRequest(profile=debug_pb2.Profile(name="goroutine"))
    packed = b"".join(chunk.value for chunk in client.debug.Profile(profile))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        stacks = archive.extractfile("pachd/goroutine")
        return stacks is not None and rpc.encode() in stacks.read()


def test_a_stream_ends_for_who_has_gone(server: Server, client: Client, address: str) -> None:
    body = json.dumps({"repo": {"name": "in", "type": "user"}})
    lines = ["POST /api/pfs_v2.API/SubscribeCommit HTTP/1.1", f"Host: {address}", f"authn-token: {token(server.root)}"]
    request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request.encode())
        until(lambda: waiting(client, "SubscribeCommit"))
    until(lambda: not waiting(client, "SubscribeCommit"))


def raw(address: str, headers: list[str]) -> str:
    """The answer to a request without a body, to the end of the connection: what would come next is no request."""
    host, _, port = address.partition(":")
    lines = ["POST /api/pfs_v2.API/ListRepo HTTP/1.1", f"Host: {address}", *headers, "", ""]
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@pytest.mark.parametrize("length", [None, "-1", "x", str(1 << 40)])
def test_a_body_has_a_length_that_can_be(server: Server, address: str, length: str | None) -> None:
    headers = [f"authn-token: {token(server.root)}", *([f"Content-Length: {length}"] if length else [])]
    answer = raw(address, headers)
    assert answer.splitlines()[0].split()[1] == "413"
    assert "the request needs a Content-Length" in answer


def test_what_strangers_send_is_not_read(address: str) -> None:
    # Which never comes.
    answer = raw(address, ["Content-Length: 1000000"])
    assert answer.splitlines()[0].split()[1] == "401"


def test_a_port_that_is_taken_is_named(server: Server, address: str, tmp_path: Any) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(Precondition, match=f"port {port} of 127.0.0.1 is taken; choose another with --json-port"):
        LocalpachServer(tmp_path, json_port=port)


def free_pair() -> int:
    """A port that is free, as is the one after it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first, suppress(OSError):
            port: int = first.getsockname()[1]
            socket.create_server(("127.0.0.1", port + 1)).close()
            return port


def test_the_next_port_is_taken_unless_it_is_another_s(tmp_path: Path) -> None:
    port = free_pair()
    with socket.create_server(("127.0.0.1", port + 1)):
        running = LocalpachServer(tmp_path, port=port)
        running.start()
        found = json.loads((tmp_path / "address").read_text())["json_address"]
        assert requests.post(f"http://{found}/api/pfs_v2.API/ListRepo", data="{}", timeout=30).status_code == 401
        running.close()
    again = LocalpachServer(tmp_path, port=port)
    again.start()
    assert json.loads((tmp_path / "address").read_text())["json_address"] == f"127.0.0.1:{port + 1}"
    again.close()
