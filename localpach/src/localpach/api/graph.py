"""pfs_v2.API, the part about single commits within the graph of provenance: since Pachyderm 2.8, 2.10 and 2.11."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from localpach.api.infos import branch_info, commit_info
from localpach.api.pfs import resolve
from localpach.api.pickers import branch_of, commit_of
from localpach.errors import Refused
from localpach.pfs.records import CommitRecord
from localpach.pfs.service import Pfs
from localpach.proto import pfs_pb2
from localpach.waiting import Call

T = TypeVar("T", bound=Hashable)


class GraphServicer:
    """Translates requests into calls of `Pfs`."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs

    def SquashCommit(self, request: pfs_pb2.SquashCommitRequest, context: Call) -> pfs_pb2.SquashCommitResponse:
        self._pfs.commit_sets.squash_commit(self._resolve(request), request.recursive)
        return pfs_pb2.SquashCommitResponse()

    def DropCommit(self, request: pfs_pb2.DropCommitRequest, context: Call) -> pfs_pb2.DropCommitResponse:
        self._pfs.commit_sets.drop_commit(self._resolve(request), request.recursive)
        return pfs_pb2.DropCommitResponse()

    def ForgetCommit(self, request: pfs_pb2.ForgetCommitRequest, context: Call) -> pfs_pb2.ForgetCommitResponse:
        self._pfs.commits.forget(commit_of(self._pfs, request.commit).commit)
        return pfs_pb2.ForgetCommitResponse()

    def _resolve(self, request: pfs_pb2.SquashCommitRequest | pfs_pb2.DropCommitRequest) -> CommitRecord:
        if not request.HasField("commit"):
            raise Refused("commit cannot be nil")
        return resolve(self._pfs, request.commit)

    def WalkCommitProvenance(
        self, request: pfs_pb2.WalkCommitProvenanceRequest, context: Call
    ) -> Iterator[pfs_pb2.CommitInfo]:
        return self._walk_commits(request, self._pfs.commits.provenance)

    def WalkCommitSubvenance(
        self, request: pfs_pb2.WalkCommitSubvenanceRequest, context: Call
    ) -> Iterator[pfs_pb2.CommitInfo]:
        return self._walk_commits(request, self._pfs.commits.subvenance)

    def _walk_commits(
        self,
        request: pfs_pb2.WalkCommitProvenanceRequest | pfs_pb2.WalkCommitSubvenanceRequest,
        step: Callable[[CommitRecord], Iterable[CommitRecord]],
    ) -> Iterator[pfs_pb2.CommitInfo]:
        starts = [commit_of(self._pfs, picker) for picker in request.start]
        for record in _walk(starts, step, request.max_depth, request.max_commits):
            yield commit_info(self._pfs, record)

    def WalkBranchProvenance(
        self, request: pfs_pb2.WalkBranchProvenanceRequest, context: Call
    ) -> Iterator[pfs_pb2.BranchInfo]:
        return self._walk_branches(request, self._pfs.branches.direct_provenance)

    def WalkBranchSubvenance(
        self, request: pfs_pb2.WalkBranchSubvenanceRequest, context: Call
    ) -> Iterator[pfs_pb2.BranchInfo]:
        return self._walk_branches(request, self._pfs.branches.direct_subvenance)

    def _walk_branches(
        self,
        request: pfs_pb2.WalkBranchProvenanceRequest | pfs_pb2.WalkBranchSubvenanceRequest,
        step: Callable[[int], Iterable[int]],
    ) -> Iterator[pfs_pb2.BranchInfo]:
        starts = [self._pfs.branches.get(branch_of(picker)).num for picker in request.start]
        for num in _walk(starts, step, request.max_depth, request.max_branches):
            yield branch_info(self._pfs, self._pfs.branches.by_num(num))


def _walk(starts: list[T], step: Callable[[T], Iterable[T]], depth: int, number: int) -> Iterator[T]:
    """What steps lead to from some things, without these, nearest first: at most `number`, `depth` steps away; 0 is no
    limit."""
    seen, ring = set(starts), starts
    given = reached = 0
    while ring and (not depth or reached < depth):
        reached += 1
        before, ring = ring, []
        for each in before:
            for found in step(each):
                if found not in seen:
                    if number and given >= number:
                        return
                    given += 1
                    seen.add(found)
                    ring.append(found)
                    yield found
