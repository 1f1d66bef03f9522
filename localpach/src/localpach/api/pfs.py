"""pfs_v2.API, the part about projects, repos, branches and commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import AUTH_IS_OFF, NotFound, Refused, Unavailable, Unimplemented
from localpach.names import Branch, Repo
from localpach.pfs import CommitRecord, Page, Pfs
from localpach.pfs.branches import commit_proto
from localpach.pfs.fsck import check, check_contents
from localpach.proto import pfs_pb2
from localpach.storage.store import CallContext


class PfsServicer:
    """Translates requests into calls of `Pfs`."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs

    def CreateProject(self, request: pfs_pb2.CreateProjectRequest, context: CallContext) -> Empty:
        self._pfs.create_project(request.project.name, request.description, request.update)
        return Empty()

    def InspectProject(self, request: pfs_pb2.InspectProjectRequest, context: CallContext) -> pfs_pb2.ProjectInfo:
        return self._pfs.project_info(request.project.name)

    def ListProject(self, request: pfs_pb2.ListProjectRequest, context: CallContext) -> Iterator[pfs_pb2.ProjectInfo]:
        yield from self._pfs.projects()

    def DeleteProject(self, request: pfs_pb2.DeleteProjectRequest, context: CallContext) -> Empty:
        self._pfs.delete_project(request.project.name)
        return Empty()

    def CreateRepo(self, request: pfs_pb2.CreateRepoRequest, context: CallContext) -> Empty:
        if not request.HasField("repo"):
            raise Refused("repo cannot be nil")
        self._pfs.create_repo(Repo.of(request.repo), request.description, request.update)
        return Empty()

    def InspectRepo(self, request: pfs_pb2.InspectRepoRequest, context: CallContext) -> pfs_pb2.RepoInfo:
        if not request.HasField("repo"):
            raise Refused("repo cannot be nil")
        return self._pfs.repo_info(Repo.of(request.repo))

    def ListRepo(self, request: pfs_pb2.ListRepoRequest, context: CallContext) -> Iterator[pfs_pb2.RepoInfo]:
        yield from self._pfs.repo_infos(request.type, [project.name for project in request.projects])

    def DeleteRepo(self, request: pfs_pb2.DeleteRepoRequest, context: CallContext) -> Empty:
        if not request.HasField("repo"):
            raise Refused("must specify repo")
        self._pfs.delete_repo(Repo.of(request.repo), request.force)
        return Empty()

    def DeleteRepos(self, request: pfs_pb2.DeleteReposRequest, context: CallContext) -> pfs_pb2.DeleteReposResponse:
        gone = self._pfs.delete_repos([project.name for project in request.projects], request.all, request.force)
        return pfs_pb2.DeleteReposResponse(repos=[repo.to_proto() for repo in gone])

    def DeleteAll(self, request: Empty, context: CallContext) -> Empty:
        self._pfs.delete_everything()
        return Empty()

    def CreateBranch(self, request: pfs_pb2.CreateBranchRequest, context: CallContext) -> Empty:
        branch = _branch(request)
        head = None
        if request.HasField("head") and (request.head.id or request.head.branch.name):
            if repo_of(request.head) != branch.repo:
                raise Refused("branch and head commit must belong to the same repo")
            try:
                head = self._pfs.resolve(request.head).commit
            except (NotFound, Refused) as error:
                raise type(error)(f"unable to inspect {branch.repo}@{request.head.id}: {error.message}") from error
        trigger = request.trigger if request.HasField("trigger") else None
        self._pfs.create_branch(branch, head, [Branch.of(each) for each in request.provenance], trigger)
        return Empty()

    def InspectBranch(self, request: pfs_pb2.InspectBranchRequest, context: CallContext) -> pfs_pb2.BranchInfo:
        return self._pfs.branch_info(_branch(request))

    def ListBranch(self, request: pfs_pb2.ListBranchRequest, context: CallContext) -> Iterator[pfs_pb2.BranchInfo]:
        repo = Repo.of(request.repo) if request.HasField("repo") else None
        yield from self._pfs.branch_infos(repo, request.reverse)

    def DeleteBranch(self, request: pfs_pb2.DeleteBranchRequest, context: CallContext) -> Empty:
        self._pfs.delete_branch(_branch(request), request.force)
        return Empty()

    def StartCommit(self, request: pfs_pb2.StartCommitRequest, context: CallContext) -> pfs_pb2.Commit:
        branch = Branch.of(request.branch)
        parent = None
        if request.HasField("parent") and (request.parent.id or request.parent.branch.name):
            try:
                parent = self._pfs.resolve(request.parent).commit
            except (NotFound, Refused) as error:
                raise type(error)(f"parent commit not found: {error.message}") from error
        commit = self._pfs.start_commit(branch, request.description, parent)
        return commit.to_proto(branch.name)

    def FinishCommit(self, request: pfs_pb2.FinishCommitRequest, context: CallContext) -> Empty:
        record = self._resolve(request)
        if record.finishing is None and not request.force and self._pfs.is_of_pipeline(record):
            raise Refused("cannot finish a pipeline output or meta commit, use 'stop job' instead")
        self._pfs.finish_commit(record.commit, request.error, request.description)
        return Empty()

    def ClearCommit(self, request: pfs_pb2.ClearCommitRequest, context: CallContext) -> Empty:
        self._pfs.clear_commit(self._resolve(request).commit)
        return Empty()

    def InspectCommit(self, request: pfs_pb2.InspectCommitRequest, context: CallContext) -> pfs_pb2.CommitInfo:
        record = self._resolve(request)
        if not self._pfs.has_reached(record, request.wait):
            record = self._pfs.wait_for_commit(record.commit, request.wait, context)
        return self._pfs.info_proto(record)

    def _resolve(
        self, request: pfs_pb2.FinishCommitRequest | pfs_pb2.ClearCommitRequest | pfs_pb2.InspectCommitRequest
    ) -> CommitRecord:
        """The commit that a request names."""
        if not request.HasField("commit"):
            raise Refused("commit cannot be nil")
        return self._pfs.resolve(request.commit)

    def ListCommit(self, request: pfs_pb2.ListCommitRequest, context: CallContext) -> Iterator[pfs_pb2.CommitInfo]:
        pfs = self._pfs
        since = getattr(request, "from")
        repo = _list_repo(request)
        page = Page(
            since=pfs.resolve(since) if since.id or since.branch.name else None,
            until=pfs.resolve(request.to) if request.to.id or request.to.branch.name else None,
            number=max(request.number, 0),
            reverse=request.reverse,
            origin=0 if request.all else request.origin_kind,
            started_before=_microseconds(request.started_time) if request.HasField("started_time") else None,
        )
        for record in pfs.list_commits(repo, page):
            yield pfs.info_proto(record)

    def SubscribeCommit(
        self, request: pfs_pb2.SubscribeCommitRequest, context: CallContext
    ) -> Iterator[pfs_pb2.CommitInfo]:
        pfs = self._pfs
        since = getattr(request, "from")
        start = pfs.resolve(since).num if since.id or since.branch.name else 0
        repo = Repo.of(request.repo)
        if start and repo_of(since) != repo:
            raise Refused(f"the `from` commit needs to be from repo {repo}")
        origin = 0 if request.all else request.origin_kind
        for record in pfs.subscribe(repo, request.branch, start, origin, context):
            yield pfs.info_proto(pfs.wait_for_commit(record.commit, request.state, context))

    def InspectCommitSet(
        self, request: pfs_pb2.InspectCommitSetRequest, context: CallContext
    ) -> Iterator[pfs_pb2.CommitInfo]:
        id = _set_id(request)
        records = self._pfs.wait_for_set(id, context) if request.wait else self._pfs.set_with_provenance(id)
        for record in records:
            yield self._pfs.info_proto(record)

    def ListCommitSet(
        self, request: pfs_pb2.ListCommitSetRequest, context: CallContext
    ) -> Iterator[pfs_pb2.CommitSetInfo]:
        for id, records in self._pfs.commit_sets(request.project.name):
            infos = [self._pfs.info_proto(record) for record in records]
            yield pfs_pb2.CommitSetInfo(commit_set=pfs_pb2.CommitSet(id=id), commits=infos)

    def SquashCommitSet(self, request: pfs_pb2.SquashCommitSetRequest, context: CallContext) -> Empty:
        self._pfs.squash_commit_set(_set_id(request))
        return Empty()

    def DropCommitSet(self, request: pfs_pb2.DropCommitSetRequest, context: CallContext) -> Empty:
        self._pfs.drop_commit_set(_set_id(request))
        return Empty()

    def FindCommits(
        self, request: pfs_pb2.FindCommitsRequest, context: CallContext
    ) -> Iterator[pfs_pb2.FindCommitsResponse]:
        found, searched = 0, 0
        record = None
        for record, changed in self._pfs.history(self._pfs.resolve(request.start), request.file_path):
            if record.finished is None:
                raise Unavailable(f"commit {record.commit} not finished")
            if changed:
                found += 1
                yield pfs_pb2.FindCommitsResponse(found_commit=commit_proto(record), commits_searched=searched)
            searched += 1
            if request.limit and found >= request.limit:
                break
        if record is not None:
            yield pfs_pb2.FindCommitsResponse(last_searched_commit=commit_proto(record), commits_searched=searched)

    def Fsck(self, request: pfs_pb2.FsckRequest, context: CallContext) -> Iterator[pfs_pb2.FsckResponse]:
        for problem in check(self._pfs):
            yield pfs_pb2.FsckResponse(error=problem)

    def CheckStorage(self, request: pfs_pb2.CheckStorageRequest, context: CallContext) -> pfs_pb2.CheckStorageResponse:
        """Each stored content is what Pachyderm calls a chunk object."""
        count = check_contents(self._pfs, request.read_chunk_data)
        return pfs_pb2.CheckStorageResponse(chunk_object_count=count)

    def ActivateAuth(self, request: pfs_pb2.ActivateAuthRequest, context: CallContext) -> NoReturn:
        raise Unimplemented(AUTH_IS_OFF)

    def ListTask(self, request: Message, context: CallContext) -> Iterator[Message]:
        """No commit is compacted by tasks here."""
        return iter(())

    def PutCache(self, request: pfs_pb2.PutCacheRequest, context: CallContext) -> Empty:
        self._pfs.put_cache(request.key, request.value.SerializeToString(), request.tag)
        return Empty()

    def GetCache(self, request: pfs_pb2.GetCacheRequest, context: CallContext) -> pfs_pb2.GetCacheResponse:
        value = self._pfs.get_cache(request.key)
        return pfs_pb2.GetCacheResponse(value=AnyProto.FromString(value))

    def ClearCache(self, request: pfs_pb2.ClearCacheRequest, context: CallContext) -> Empty:
        self._pfs.clear_cache(request.tag_prefix)
        return Empty()


def repo_of(commit: pfs_pb2.Commit) -> Repo:
    """The repo of a commit, which clients name at one place or the other."""
    return Repo.of(commit.repo if commit.HasField("repo") else commit.branch.repo)


def _set_id(
    request: pfs_pb2.InspectCommitSetRequest | pfs_pb2.SquashCommitSetRequest | pfs_pb2.DropCommitSetRequest,
) -> str:
    if not request.HasField("commit_set"):
        raise Refused("commitset cannot be nil")
    return request.commit_set.id


def _branch(
    request: pfs_pb2.CreateBranchRequest | pfs_pb2.InspectBranchRequest | pfs_pb2.DeleteBranchRequest,
) -> Branch:
    if not request.HasField("branch"):
        raise Refused("branch cannot be nil")
    if not request.branch.HasField("repo"):
        raise Refused("branch repo cannot be nil")
    return Branch.of(request.branch)


def _list_repo(request: pfs_pb2.ListCommitRequest) -> Repo:
    """Whose commits to list; a repo without name stands for all repos."""
    if not request.HasField("repo"):
        raise Refused("repo cannot be nil")
    repo = Repo.of(request.repo)
    since, until = getattr(request, "from"), request.to
    for each in (since, until):
        if (each.id or each.branch.name) and repo_of(each) != repo:
            raise Refused(f"`from` and `to` commits need to be from repo {repo}")
    if since.ByteSize() and not until.ByteSize():
        raise Refused("cannot use `from` commit without `to` commit")
    if until.ByteSize() and request.reverse:
        raise Refused("cannot use 'Reverse' while also using 'From' or 'To'")
    return repo


def _microseconds(moment: Timestamp) -> int:
    return moment.seconds * 1_000_000 + moment.nanos // 1000
