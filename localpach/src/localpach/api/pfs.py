"""pfs_v2.API, the part about projects, repos, branches and commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn, TypeVar

from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from localpach.api.infos import branch_info, commit_info, project_info, repo_details, repo_info
from localpach.errors import AUTH_IS_OFF, NotFound, Refused, Unavailable, Unimplemented
from localpach.messages import commit_message, microseconds
from localpach.names import Branch, Repo
from localpach.pfs.file_sets import FILE_SETS_REPO
from localpach.pfs.queries import Page
from localpach.pfs.records import CommitRecord
from localpach.pfs.service import Pfs
from localpach.proto import pfs_pb2, pps_pb2
from localpach.waiting import Call

T = TypeVar("T")


class PfsServicer:
    """Translates requests into calls of `Pfs`."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs

    def CreateProject(self, request: pfs_pb2.CreateProjectRequest, context: Call) -> Empty:
        self._pfs.repos.create_project(request.project.name, request.description, request.update)
        return Empty()

    def InspectProject(self, request: pfs_pb2.InspectProjectRequest, context: Call) -> pfs_pb2.ProjectInfo:
        return project_info(self._pfs.repos.project(request.project.name))

    def ListProject(self, request: pfs_pb2.ListProjectRequest, context: Call) -> Iterator[pfs_pb2.ProjectInfo]:
        yield from map(project_info, self._pfs.repos.projects())

    def DeleteProject(self, request: pfs_pb2.DeleteProjectRequest, context: Call) -> Empty:
        self._pfs.repos.delete_project(request.project.name)
        return Empty()

    def CreateRepo(self, request: pfs_pb2.CreateRepoRequest, context: Call) -> Empty:
        if not request.HasField("repo"):
            raise Refused("repo cannot be nil")
        self._pfs.repos.create(Repo.of(request.repo), request.description, request.update)
        return Empty()

    def InspectRepo(self, request: pfs_pb2.InspectRepoRequest, context: Call) -> pfs_pb2.RepoInfo:
        if not request.HasField("repo"):
            raise Refused("repo cannot be nil")
        return repo_details(self._pfs.repos.get(Repo.of(request.repo)))

    def ListRepo(self, request: pfs_pb2.ListRepoRequest, context: Call) -> Iterator[pfs_pb2.RepoInfo]:
        records = self._pfs.repos.all(request.type, [project.name for project in request.projects])
        if request.HasField("page"):
            records = paged(sorted(records, key=lambda record: record.repo), request.page)
        yield from map(repo_info, records)

    def DeleteRepo(self, request: pfs_pb2.DeleteRepoRequest, context: Call) -> pfs_pb2.DeleteRepoResponse:
        if not request.HasField("repo"):
            raise Refused("must specify repo")
        return pfs_pb2.DeleteRepoResponse(deleted=self._pfs.deletion.delete_repo(Repo.of(request.repo), request.force))

    def DeleteRepos(self, request: pfs_pb2.DeleteReposRequest, context: Call) -> pfs_pb2.DeleteReposResponse:
        gone = self._pfs.deletion.delete_repos(
            [project.name for project in request.projects], request.all, request.force
        )
        return pfs_pb2.DeleteReposResponse(repos=[repo.to_proto() for repo in gone])

    def DeleteAll(self, request: Empty, context: Call) -> Empty:
        self._pfs.deletion.delete_everything()
        return Empty()

    def CreateBranch(self, request: pfs_pb2.CreateBranchRequest, context: Call) -> Empty:
        branch = _branch(request)
        has_head = request.HasField("head") and (request.head.id or request.head.branch.name)
        if has_head and repo_of(request.head) != branch.repo:
            raise Refused("branch and head commit must belong to the same repo")

        def head() -> CommitRecord:
            try:
                return resolve(self._pfs, request.head)
            except (NotFound, Refused) as error:
                raise type(error)(f"unable to inspect {branch.repo}@{request.head.id}: {error.message}") from error

        trigger = request.trigger if request.HasField("trigger") else None
        provenance = [Branch.of(each) for each in request.provenance]
        self._pfs.provenance.create_branch(branch, head if has_head else None, provenance, trigger)
        return Empty()

    def InspectBranch(self, request: pfs_pb2.InspectBranchRequest, context: Call) -> pfs_pb2.BranchInfo:
        return branch_info(self._pfs, self._pfs.branches.get(_branch(request)))

    def ListBranch(self, request: pfs_pb2.ListBranchRequest, context: Call) -> Iterator[pfs_pb2.BranchInfo]:
        repo = Repo.of(request.repo) if request.HasField("repo") else None
        for record in self._pfs.branches.of_repo(repo, request.reverse):
            yield branch_info(self._pfs, record)

    def DeleteBranch(self, request: pfs_pb2.DeleteBranchRequest, context: Call) -> Empty:
        branch = _branch(request)
        self._pfs.repos.num_of(branch.repo)
        self._pfs.branches.delete(branch, request.force)
        return Empty()

    def StartCommit(self, request: pfs_pb2.StartCommitRequest, context: Call) -> pfs_pb2.Commit:
        branch = Branch.of(request.branch)

        def parent() -> CommitRecord:
            try:
                return resolve(self._pfs, request.parent)
            except (NotFound, Refused) as error:
                raise type(error)(f"parent commit not found: {error.message}") from error

        has_parent = request.HasField("parent") and (request.parent.id or request.parent.branch.name)
        commit = self._pfs.commits.start(branch, request.description, parent if has_parent else None)
        return commit.to_proto(branch.name)

    def FinishCommit(self, request: pfs_pb2.FinishCommitRequest, context: Call) -> Empty:
        record = self._resolve(request)
        if record.finishing is None and not request.force and self._pfs.commits.is_of_pipeline(record):
            raise Refused("cannot finish a pipeline output or meta commit, use 'stop job' instead")
        self._pfs.commits.finish(record.commit, request.error, request.description)
        return Empty()

    def ClearCommit(self, request: pfs_pb2.ClearCommitRequest, context: Call) -> Empty:
        self._pfs.commits.clear(self._resolve(request).commit)
        return Empty()

    def InspectCommit(self, request: pfs_pb2.InspectCommitRequest, context: Call) -> pfs_pb2.CommitInfo:
        record = self._resolve(request)
        if not self._pfs.queries.has_reached(record, request.wait):
            record = self._pfs.queries.wait(record.commit, request.wait, context)
        return commit_info(self._pfs, record)

    def _resolve(
        self, request: pfs_pb2.FinishCommitRequest | pfs_pb2.ClearCommitRequest | pfs_pb2.InspectCommitRequest
    ) -> CommitRecord:
        """The commit that a request names."""
        if not request.HasField("commit"):
            raise Refused("commit cannot be nil")
        return resolve(self._pfs, request.commit)

    def ListCommit(self, request: pfs_pb2.ListCommitRequest, context: Call) -> Iterator[pfs_pb2.CommitInfo]:
        pfs = self._pfs
        since = getattr(request, "from")
        repo = _list_repo(request)
        page = Page(
            since=resolve(pfs, since) if since.id or since.branch.name else None,
            until=resolve(pfs, request.to) if request.to.id or request.to.branch.name else None,
            number=max(request.number, 0),
            reverse=request.reverse,
            origin=pfs_pb2.ORIGIN_KIND_UNKNOWN if request.all else request.origin_kind,
            started_before=microseconds(request.started_time) if request.HasField("started_time") else None,
        )
        for record in pfs.queries.page(repo, page):
            yield commit_info(pfs, record)

    def SubscribeCommit(self, request: pfs_pb2.SubscribeCommitRequest, context: Call) -> Iterator[pfs_pb2.CommitInfo]:
        pfs = self._pfs
        since = getattr(request, "from")
        start = resolve(pfs, since).num if since.id or since.branch.name else 0
        repo = Repo.of(request.repo)
        if start and repo_of(since) != repo:
            raise Refused(f"the `from` commit needs to be from repo {repo}")
        origin = pfs_pb2.ORIGIN_KIND_UNKNOWN if request.all else request.origin_kind
        for record in pfs.queries.subscribe(repo, request.branch, start, origin, context):
            yield commit_info(pfs, pfs.queries.wait(record.commit, request.state, context))

    def InspectCommitSet(self, request: pfs_pb2.InspectCommitSetRequest, context: Call) -> Iterator[pfs_pb2.CommitInfo]:
        id = _set_id(request)
        for record in self._pfs.commit_sets.with_provenance(id):
            # With `wait` each comes as soon as it and those before it have finished.
            ended = self._pfs.queries.wait(record.commit, pfs_pb2.FINISHED, context) if request.wait else record
            yield commit_info(self._pfs, ended)

    def ListCommitSet(self, request: pfs_pb2.ListCommitSetRequest, context: Call) -> Iterator[pfs_pb2.CommitSetInfo]:
        for id, records in self._pfs.commit_sets.all(request.project.name):
            infos = [commit_info(self._pfs, record) for record in records]
            yield pfs_pb2.CommitSetInfo(commit_set=pfs_pb2.CommitSet(id=id), commits=infos)

    def SquashCommitSet(self, request: pfs_pb2.SquashCommitSetRequest, context: Call) -> Empty:
        self._pfs.commit_sets.squash(_set_id(request))
        return Empty()

    def DropCommitSet(self, request: pfs_pb2.DropCommitSetRequest, context: Call) -> Empty:
        self._pfs.commit_sets.drop(_set_id(request))
        return Empty()

    def FindCommits(self, request: pfs_pb2.FindCommitsRequest, context: Call) -> Iterator[pfs_pb2.FindCommitsResponse]:
        found, searched = 0, 0
        record = None
        for record, changed in self._pfs.files.history(resolve(self._pfs, request.start), request.file_path):
            if record.finished is None:
                raise Unavailable(f"commit {record.commit} not finished")
            if changed:
                found += 1
                yield pfs_pb2.FindCommitsResponse(found_commit=commit_message(record), commits_searched=searched)
            searched += 1
            if request.limit and found >= request.limit:
                break
        if record is not None:
            yield pfs_pb2.FindCommitsResponse(last_searched_commit=commit_message(record), commits_searched=searched)

    def Fsck(self, request: pfs_pb2.FsckRequest, context: Call) -> Iterator[pfs_pb2.FsckResponse]:
        for problem in self._pfs.fsck.check():
            yield pfs_pb2.FsckResponse(error=problem)

    def CheckStorage(self, request: pfs_pb2.CheckStorageRequest, context: Call) -> pfs_pb2.CheckStorageResponse:
        """Each stored content is what Pachyderm calls a chunk object."""
        count = self._pfs.fsck.check_contents(request.read_chunk_data)
        return pfs_pb2.CheckStorageResponse(chunk_object_count=count)

    def ActivateAuth(self, request: pfs_pb2.ActivateAuthRequest, context: Call) -> NoReturn:
        raise Unimplemented(AUTH_IS_OFF)

    def ListTask(self, request: Message, context: Call) -> Iterator[Message]:
        """No commit is compacted by tasks here."""
        return iter(())

    def PutCache(self, request: pfs_pb2.PutCacheRequest, context: Call) -> Empty:
        self._pfs.cache.put(request.key, request.value.SerializeToString(), request.tag)
        return Empty()

    def GetCache(self, request: pfs_pb2.GetCacheRequest, context: Call) -> pfs_pb2.GetCacheResponse:
        value = self._pfs.cache.get(request.key)
        return pfs_pb2.GetCacheResponse(value=AnyProto.FromString(value))

    def ClearCache(self, request: pfs_pb2.ClearCacheRequest, context: Call) -> Empty:
        self._pfs.cache.clear(request.tag_prefix)
        return Empty()


def paged(records: list[T], page: pfs_pb2.RepoPage | pps_pb2.PipelinePage) -> list[T]:
    """The records of a page; without a size all are on the first."""
    size = page.page_size or len(records)
    return records[page.page_index * size :][:size]


def repo_of(commit: pfs_pb2.Commit) -> Repo:
    """The repo of a commit, which clients name at one place or the other."""
    return Repo.of(commit.repo if commit.HasField("repo") else commit.branch.repo)


def resolve(pfs: Pfs, commit: pfs_pb2.Commit) -> CommitRecord:
    """The commit that a client means."""
    if not commit.HasField("repo") and not commit.branch.HasField("repo"):
        raise Refused("cannot resolve commit with no repo")
    if not commit.id and not commit.branch.name:
        raise Refused("cannot resolve commit with no ID or branch")
    if not commit.id:
        return pfs.queries.head(Branch(repo_of(commit), commit.branch.name))
    return pfs.queries.resolve(repo_of(commit), commit.id, commit.branch.name)


def readable(pfs: Pfs, commit: pfs_pb2.Commit) -> CommitRecord:
    """The commit to read from, or a file set named as one."""
    if FILE_SETS_REPO in (commit.repo.name, commit.branch.repo.name):
        return pfs.file_sets.as_commit(commit.id)
    return pfs.commits.readable(resolve(pfs, commit))


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


def _list_repo(request: pfs_pb2.ListCommitRequest) -> Repo | None:
    """Whose commits to list; a repo without name stands for all repos, which None is."""
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
    return repo if repo.name else None
