"""Requests that fit the wire and make no sense: each is refused by what is wrong with it."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from localpach.api.times import MAX_SECONDS, check_times
from localpach.errors import Malformed
from localpach.proto import debug_pb2, pfs_pb2, pps_pb2, transaction_pb2
from tests.client import Client, repo_of
from tests.helpers import last_job, pfs, pipeline, put, refused, shell
from tests.rpcs import rpc
from tests.servers import Server

# Those that the wire can carry, which are more than there are.
SECONDS = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from((0, 1, MAX_SECONDS, MAX_SECONDS + 1, -62135596801))
NANOS = st.integers(-(1 << 31), (1 << 31) - 1) | st.sampled_from((0, 999_999_999, 10**9, -1))


@given(SECONDS, NANOS)
def test_what_is_let_in_is_a_time_that_there_is(seconds: int, nanos: int) -> None:
    """A duration has one sign, and a moment a year of four digits."""
    signs = {(part > 0) - (part < 0) for part in (seconds, nanos)} - {0}
    length = len(signs) < 2 and abs(nanos) < 10**9 and abs(seconds) <= MAX_SECONDS
    moment = 0 <= nanos < 10**9 and -62135596800 <= seconds < 253402300800
    for request, is_right in (
        (pps_pb2.CreatePipelineRequest(datum_timeout=Duration(seconds=seconds, nanos=nanos)), length),
        (cross_of(Timestamp(seconds=seconds, nanos=nanos)), moment),
    ):
        try:
            check_times(request)
        except Malformed:
            assert not is_right
        else:
            assert is_right


def cross_of(start: Timestamp) -> Message:
    """A spec with a moment deep down."""
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(start=start))
    return pps_pb2.CreatePipelineRequest(input=pps_pb2.Input(cross=[pps_pb2.Input(union=[cron])]))


ODD = (
    (pps_pb2.DESCRIPTOR, "GetLogs", pps_pb2.GetLogsRequest(since=Duration(nanos=1 << 30)), "since: .*[Nn]anos"),
    (pps_pb2.DESCRIPTOR, "GetLogs", pps_pb2.GetLogsRequest(since=Duration(seconds=1 << 34)), "a hundred years"),
    (pps_pb2.DESCRIPTOR, "RenderTemplate", pps_pb2.RenderTemplateRequest(template="[1]"), "neither a spec nor a list"),
    (pps_pb2.DESCRIPTOR, "RenderTemplate", pps_pb2.RenderTemplateRequest(template="null"), "neither a spec nor a list"),
    (debug_pb2.DESCRIPTOR, "Dump", debug_pb2.DumpRequest(limit=-1), "limit: -1 is less than nothing"),
    (debug_pb2.DESCRIPTOR, "SetLogLevel", debug_pb2.SetLogLevelRequest(pachyderm=77), "no log level set"),  # type: ignore[arg-type]
    (
        transaction_pb2.DESCRIPTOR,
        "BatchTransaction",
        transaction_pb2.BatchTransactionRequest(requests=[transaction_pb2.TransactionRequest()]),
        "request 1 of 1: it is of no kind",
    ),
    (
        transaction_pb2.DESCRIPTOR,
        "BatchTransaction",
        transaction_pb2.BatchTransactionRequest(
            requests=[transaction_pb2.TransactionRequest(update_job_state=pps_pb2.UpdateJobStateRequest())]
        ),
        "request 1 of 1: it is of no kind",
    ),
)


@pytest.mark.parametrize(("file", "method", "request_", "sentence"), ODD, ids=[each[1] for each in ODD])
def test_a_request_is_refused_with_a_sentence(
    server: Server, client: Client, file: object, method: str, request_: Message, sentence: str
) -> None:
    service: ServiceDescriptor
    (service,) = file.services_by_name.values()  # type: ignore[attr-defined]
    call = rpc(client.channel, service.methods_by_name[method])
    metadata = (("authn-token", (server.root / "token").read_text()),)
    with pytest.raises(grpc.RpcError, match=sentence):
        answer = call(request_, metadata=metadata)
        list(answer)


@pytest.mark.parametrize("seconds", [-1, 1 << 62])
def test_a_file_set_is_kept_for_a_time_that_there_is(client: Client, seconds: int) -> None:
    id = client.pfs.CreateFileSet(iter(())).file_set_id
    request = pfs_pb2.RenewFileSetRequest(file_set_id=id, ttl_seconds=seconds)
    assert refused(lambda: client.pfs.RenewFileSet(request))[1].startswith(f"ttl_seconds: {seconds} is less than")


@pytest.mark.parametrize("type", ["meta", "spec"])
def test_a_pipeline_can_be_deleted_whose_repo_is_gone_already(client: Client, type: str) -> None:
    """With a job that still runs, and one that is over."""
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    for name, script in (("over", "true"), ("waits", "sleep 600")):
        pipeline(client, name, script, pfs("in"))
    last_job(client, "over")
    for name in ("over", "waits"):
        repo = repo_of(name)
        repo.type = type
        client.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo, force=True))
        client.delete_pipeline(name)
    assert client.list_pipeline() == []
    assert [info.repo.name for info in client.list_repo("")] == ["in"]


def test_a_timeout_may_be_as_long_as_a_life(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    long = Duration(seconds=MAX_SECONDS)
    client.create_pipeline("p", transform=shell("true"), input=pfs("in"), datum_timeout=long, job_timeout=long)
    assert last_job(client, "p").state == pps_pb2.JOB_SUCCESS
