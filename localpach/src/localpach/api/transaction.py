"""transaction_v2.API: requests that are kept, and then happen all at once or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty

from localpach.clock import now
from localpach.errors import LocalpachError, NotFound, Refused
from localpach.messages import timestamp
from localpach.names import new_id
from localpach.pfs.records import Gathered
from localpach.proto import pfs_pb2, pps_pb2, transaction_pb2
from localpach.storage.store import Store
from localpach.waiting import Call

# Fields of TransactionRequest by RPC.
FIELDS = {
    "CreateRepo": "create_repo",
    "DeleteRepo": "delete_repo",
    "StartCommit": "start_commit",
    "FinishCommit": "finish_commit",
    "SquashCommitSet": "squash_commit_set",
    "CreateBranch": "create_branch",
    "DeleteBranch": "delete_branch",
    "UpdateJobState": "update_job_state",
    "CreatePipeline": "create_pipeline",
    "CreatePipelineV2": "create_pipeline_v2",
    "StopJob": "stop_job",
}


class _Rehearsed(Exception):
    """Rolls back what was only tried."""


class TransactionServicer:
    """Keeps transactions in the store; a request is tried when it comes, and done when the transaction is finished."""

    def __init__(self, store: Store, servicers: list[object]) -> None:
        self._store = store
        self._calls: dict[str, Callable[[Any, Any], Any]] = {}
        for method, field in FIELDS.items():
            for servicer in servicers:
                if hasattr(servicer, method):
                    self._calls[field] = getattr(servicer, method)

    def stage(self, transaction: str, method: str, request: Any) -> Any:
        """Adds a request to a transaction and gives its answer; None for calls that transactions don't take, and for those
        that change nothing."""
        field = FIELDS.get(method)
        if field not in self._calls or (method == "CreatePipelineV2" and request.dry_run):
            return None
        with self._store.write():
            info = self._load(transaction)
            getattr(info.requests.add(), field).CopyFrom(_kept(request))
        responses = self._rehearse(info)
        del info.responses[:]
        info.responses.extend(responses)
        info.version += 1
        with self._store.write():
            self._load(transaction)
            self._save(info)
        if method == "StartCommit":
            return responses[-1].commit
        if method == "CreatePipelineV2":
            effective = info.requests[-1].create_pipeline_v2.effective_json
            return pps_pb2.CreatePipelineV2Response(effective_create_pipeline_request_json=effective)
        return pfs_pb2.DeleteRepoResponse(deleted=True) if method == "DeleteRepo" else Empty()

    def _rehearse(self, info: transaction_pb2.TransactionInfo) -> list[transaction_pb2.TransactionResponse]:
        responses: list[transaction_pb2.TransactionResponse] = []
        try:
            with self._store.write():
                responses = self._perform(info)
                raise _Rehearsed
        except _Rehearsed:
            return responses

    def _perform(self, info: transaction_pb2.TransactionInfo) -> list[transaction_pb2.TransactionResponse]:
        """Does all requests, in a commit set of the transaction's id."""
        self._store.transaction.gathered(Gathered).commit_set = info.transaction.id
        responses = []
        for number, request in enumerate(info.requests, 1):
            place = f"error running request {number} of {len(info.requests)}"
            field = next((field for field in self._calls if request.HasField(field)), None)
            if field is None:
                raise Refused(f"{place}: it is of no kind that transactions take")
            try:
                answer = self._calls[field](_asked(getattr(request, field)), None)
            except LocalpachError as error:
                raise type(error)(f"{place}: {error.message}") from error
            response = transaction_pb2.TransactionResponse()
            if field == "start_commit":
                response.commit.CopyFrom(answer)
            if field == "create_pipeline_v2":
                request.create_pipeline_v2.effective_json = answer.effective_create_pipeline_request_json
            responses.append(response)
        return responses

    def BatchTransaction(
        self, request: transaction_pb2.BatchTransactionRequest, context: Call
    ) -> transaction_pb2.TransactionInfo:
        info = self._new()
        info.requests.extend(request.requests)
        with self._store.write():
            info.responses.extend(self._perform(info))
        return info

    def StartTransaction(
        self, request: transaction_pb2.StartTransactionRequest, context: Call
    ) -> transaction_pb2.Transaction:
        info = self._new()
        self._save(info)
        return info.transaction

    def _new(self) -> transaction_pb2.TransactionInfo:
        return transaction_pb2.TransactionInfo(
            transaction=transaction_pb2.Transaction(id=new_id()), started=timestamp(now())
        )

    def InspectTransaction(
        self, request: transaction_pb2.InspectTransactionRequest, context: Call
    ) -> transaction_pb2.TransactionInfo:
        return self._load(request.transaction.id)

    def ListTransaction(
        self, request: transaction_pb2.ListTransactionRequest, context: Call
    ) -> transaction_pb2.TransactionInfos:
        with self._store.read() as connection:
            rows = connection.execute("SELECT info FROM transactions ORDER BY rowid").fetchall()
        return transaction_pb2.TransactionInfos(
            transaction_info=[transaction_pb2.TransactionInfo.FromString(row["info"]) for row in rows]
        )

    def FinishTransaction(
        self, request: transaction_pb2.FinishTransactionRequest, context: Call
    ) -> transaction_pb2.TransactionInfo:
        with self._store.write():
            info = self._load(request.transaction.id)
            responses = self._perform(info)
            self._delete(info.transaction.id)
        del info.responses[:]
        info.responses.extend(responses)
        return info

    def DeleteTransaction(self, request: transaction_pb2.DeleteTransactionRequest, context: Call) -> Empty:
        with self._store.write():
            self._delete(self._load(request.transaction.id).transaction.id)
        return Empty()

    def DeleteAll(self, request: transaction_pb2.DeleteAllRequest, context: Call) -> Empty:
        with self._store.write() as connection:
            connection.execute("DELETE FROM transactions")
        return Empty()

    def _load(self, id: str) -> transaction_pb2.TransactionInfo:
        with self._store.read() as connection:
            row = connection.execute("SELECT info FROM transactions WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise NotFound(f"transactions {id} not found")
        return transaction_pb2.TransactionInfo.FromString(row["info"])

    def _save(self, info: transaction_pb2.TransactionInfo) -> None:
        with self._store.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO transactions VALUES (?, ?)", (info.transaction.id, info.SerializeToString())
            )

    def _delete(self, id: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM transactions WHERE id = ?", (id,))


def _kept(request: Any) -> Any:
    """The form in which a transaction keeps a request."""
    if not isinstance(request, pps_pb2.CreatePipelineV2Request):
        return request
    text = request.create_pipeline_request_json
    try:
        shown = json_format.Parse(text, pps_pb2.CreatePipelineRequest())
    except json_format.ParseError as error:
        raise Refused(f"malformed spec: {error}") from error
    shown.update |= request.update
    shown.reprocess |= request.reprocess
    return pps_pb2.CreatePipelineTransaction(create_pipeline_request=shown, user_json=text)


def _asked(kept: Any) -> Any:
    """The request that a transaction keeps."""
    if not isinstance(kept, pps_pb2.CreatePipelineTransaction):
        return kept
    request = kept.create_pipeline_request
    return pps_pb2.CreatePipelineV2Request(
        create_pipeline_request_json=kept.user_json or json_format.MessageToJson(request),
        update=request.update,
        reprocess=request.reprocess,
    )
