"""Who has no token: nothing of what they send is read, and they hold up nobody. Who has one, and sends what is no request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import grpc
import pytest

from localpach.api import bodies, server
from localpach.proto import pfs_pb2
from tests.client import commit_of
from tests.helpers import until
from tests.rpcs import Metadata
from tests.servers import Server, serving, token
from tests.test_stubs import SERVICES

METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}
PATHS = [*METHODS, "/no.Service/Method"]
# As in Pachyderm's table of RPCs that need no login; WhoAmI tells strangers, too, that there are no accounts.
OPEN = {
    "/admin_v2.API/InspectCluster": "OK",
    "/auth_v2.API/WhoAmI": "UNIMPLEMENTED",
    "/grpc.health.v1.Health/Check": "OK",
    "/grpc.health.v1.Health/Watch": "OK",
    "/versionpb_v2.API/GetVersion": "OK",
}
# A field of a length that does not follow.
MALFORMED = b"\x0a"


@pytest.fixture
def silence() -> Iterator[Callable[[], Iterator[bytes]]]:
    """What gives requests that never come."""
    over = threading.Event()

    def none() -> Iterator[bytes]:
        over.wait()
        yield from ()

    yield none
    over.set()


def end(channel: grpc.Channel, path: str, sent: Iterable[bytes], metadata: Metadata = ()) -> str:
    """The status that a call of bytes ends with."""
    rpc: Callable[..., Iterator[bytes]] = channel.stream_stream(path)
    try:
        list(rpc(iter(sent), metadata=metadata, timeout=60))
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def identity(root: Path) -> Metadata:
    return (("authn-token", token(root)),)


@pytest.mark.parametrize("metadata", [(), (("authn-token", "wrong"),)], ids=("no token", "a wrong token"))
def test_strangers_are_refused_whatever_they_send(
    server: Server, metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    for path in PATHS:
        for sent in (b"", MALFORMED, bytes(100_000)):
            assert end(server.client.channel, path, [sent], metadata) == OPEN.get(path, "UNAUTHENTICATED"), path
    assert not caplog.records


def test_strangers_are_answered_before_they_have_sent_anything(
    server: Server, silence: Callable[[], Iterator[bytes]]
) -> None:
    for path in PATHS:
        assert end(server.client.channel, path, silence()) == OPEN.get(path, "UNAUTHENTICATED"), path


def test_strangers_are_told_no_more_of_the_cluster_than_its_name(server: Server) -> None:
    """Of a version that was not read, nothing is said."""
    rpc: Callable[..., bytes] = server.client.channel.unary_unary("/admin_v2.API/InspectCluster")
    assert b"WARNING" not in rpc(b"")


def test_what_is_no_message_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path) as server:
        for path in METHODS:
            for sent in ([MALFORMED], [MALFORMED] * 3, [b"\xff" * 1000]):
                ended = end(server.client.channel, path, sent, identity(tmp_path))
                assert ended in ("INVALID_ARGUMENT", "UNIMPLEMENTED"), path
    assert not caplog.records


def test_a_call_whose_request_does_not_come_is_ended(
    tmp_path: Path, silence: Callable[[], Iterator[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.1)
    with serving(tmp_path) as server:
        path = "/pfs_v2.API/InspectRepo"
        assert end(server.client.channel, path, silence(), identity(tmp_path)) == "CANCELLED"
        assert end(server.client.channel, path, [], identity(tmp_path)) == "INVALID_ARGUMENT"


def test_more_calls_than_there_are_threads_are_refused_until_some_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CALL_THREADS", 3)
    with serving(tmp_path) as running:
        client = running.client
        client.create_repo("in")
        request = pfs_pb2.SubscribeCommitRequest(repo=commit_of(("in", "")).branch.repo, branch="master")
        waiting = [client.pfs.SubscribeCommit(request) for _ in range(4)]
        ended: list[str] = []
        for call in waiting:
            call.add_done_callback(lambda call: ended.append(call.code().name))
        until(lambda: ended)
        assert ended == ["RESOURCE_EXHAUSTED"]
        for call in waiting:
            call.cancel()
        until(lambda: end(client.channel, "/pfs_v2.API/ListRepo", [b""], identity(tmp_path)) == "OK")
