"""Operations on repos, commits and files that change something, one or more for each RPC that does.

Each makes what it needs, under names that begin with `tag`, and gives what to do and whether it is done: not before, and
for ever after.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from localpach.proto import pfs_pb2, storage_pb2
from tests.client import Client, branch_of, repo_of

BIG = b"big" * 50_000

Operation = tuple[Callable[[], object], Callable[[], bool]]


def _filled(client: Client, tag: str) -> pfs_pb2.Commit:
    """An open commit with a file."""
    client.create_repo(tag)
    commit = client.start_commit(tag, "master")
    client.put_file_bytes(commit, "/old", b"old")
    return commit


def _finished(client: Client, tag: str) -> pfs_pb2.Commit:
    commit = _filled(client, tag)
    client.finish_commit(commit)
    client.wait_commit(commit)
    return commit


def _two(client: Client, tag: str) -> tuple[pfs_pb2.Commit, pfs_pb2.Commit]:
    first = _finished(client, tag)
    with client.commit(tag, "master") as second:
        client.put_file_bytes(second, "/new", b"new")
    client.wait_commit(second)
    return first, second


def _file_set(client: Client) -> str:
    add = pfs_pb2.AddFile(path="/f")
    add.raw.value = BIG
    id: str = client.pfs.CreateFileSet(iter([pfs_pb2.ModifyFileRequest(add_file=add)])).file_set_id
    return id


def is_there(call: Callable[[], object]) -> bool:
    """Whether what a call asks for is found."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN), error.details()
        return False
    return True


def has_repo(client: Client, name: str) -> bool:
    return name in [info.repo.name for info in client.list_repo()]


def _has_branch(client: Client, repo: str, name: str) -> bool:
    return name in [info.branch.name for info in client.list_branch(repo)]


def _paths(client: Client, commit: pfs_pb2.Commit) -> list[str]:
    return [info.file.path for info in client.list_file(commit, "/")]


def create_project(client: Client, tag: str) -> Operation:
    listed = pfs_pb2.ListProjectRequest()
    return (
        lambda: client.create_project(tag),
        lambda: tag in [info.project.name for info in client.pfs.ListProject(listed)],
    )


def create_repo(client: Client, tag: str) -> Operation:
    return lambda: client.create_repo(tag), lambda: has_repo(client, tag)


def delete_repo(client: Client, tag: str) -> Operation:
    _finished(client, tag)
    return lambda: client.delete_repo(tag), lambda: not has_repo(client, tag)


def start_commit(client: Client, tag: str) -> Operation:
    client.create_repo(tag)
    return lambda: client.start_commit(tag, "master"), lambda: _has_branch(client, tag, "master")


def put_small(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    return (
        lambda: client.put_file_bytes(commit, "/small", b"small"),
        lambda: "/small" in _paths(client, commit) and client.get_file(commit, "/small") == b"small",
    )


def put_big(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    data = BIG + tag.encode()
    return (
        lambda: client.put_file_bytes(commit, "/big", data),
        lambda: "/big" in _paths(client, commit) and client.get_file(commit, "/big") == data,
    )


def append(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    return (
        lambda: client.put_file_bytes(commit, "/old", b" and new", append=True),
        lambda: client.get_file(commit, "/old") == b"old and new",
    )


def put_at_once(client: Client, tag: str) -> Operation:
    client.create_repo(tag)
    return (
        lambda: client.put_file_bytes((tag, "master"), "/f", BIG + tag.encode()),
        lambda: _has_branch(client, tag, "master") and client.get_file((tag, "master"), "/f") == BIG + tag.encode(),
    )


def delete_file(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    return lambda: client.delete_file(commit, "/old"), lambda: _paths(client, commit) == []


def copy_file(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    return lambda: client.copy_file(commit, "/old", commit, "/new"), lambda: "/new" in _paths(client, commit)


def finish_commit(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    return lambda: client.finish_commit(commit), lambda: client.inspect_commit(commit).HasField("finishing")


def clear_commit(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    return (
        lambda: client.pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit)),
        lambda: _paths(client, commit) == [],
    )


def create_branch(client: Client, tag: str) -> Operation:
    commit = _finished(client, tag)
    return lambda: client.create_branch(tag, "b", head_commit=commit), lambda: _has_branch(client, tag, "b")


def delete_branch(client: Client, tag: str) -> Operation:
    _finished(client, tag)
    request = pfs_pb2.DeleteBranchRequest(branch=branch_of(tag, "master"))
    return lambda: client.pfs.DeleteBranch(request), lambda: not _has_branch(client, tag, "master")


def squash_commit_set(client: Client, tag: str) -> Operation:
    first, _ = _two(client, tag)
    request = pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=first.id))
    return lambda: client.pfs.SquashCommitSet(request), lambda: not is_there(lambda: client.inspect_commit(first))


def drop_commit_set(client: Client, tag: str) -> Operation:
    _, second = _two(client, tag)
    return lambda: client.drop_commit(second.id), lambda: not is_there(lambda: client.inspect_commit(second))


def create_file_set(client: Client, tag: str) -> Operation:
    made: list[str] = []
    return lambda: made.append(_file_set(client)), lambda: bool(made)


def add_file_set(client: Client, tag: str) -> Operation:
    commit = _filled(client, tag)
    request = pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=_file_set(client))
    return lambda: client.pfs.AddFileSet(request), lambda: "/f" in _paths(client, commit)


def put_cache(client: Client, tag: str) -> Operation:
    request = pfs_pb2.PutCacheRequest(key=tag)
    request.value.Pack(repo_of(tag))
    return (
        lambda: client.pfs.PutCache(request),
        lambda: is_there(lambda: client.pfs.GetCache(pfs_pb2.GetCacheRequest(key=tag))),
    )


def delete_project(client: Client, tag: str) -> Operation:
    client.create_project(tag)
    request = pfs_pb2.DeleteProjectRequest(project=pfs_pb2.Project(name=tag))
    listed = pfs_pb2.ListProjectRequest()
    return (
        lambda: client.pfs.DeleteProject(request),
        lambda: tag not in [info.project.name for info in client.pfs.ListProject(listed)],
    )


def squash_commit(client: Client, tag: str) -> Operation:
    first, _ = _two(client, tag)
    request = pfs_pb2.SquashCommitRequest(commit=first)
    return lambda: client.pfs.SquashCommit(request), lambda: not is_there(lambda: client.inspect_commit(first))


def drop_commit(client: Client, tag: str) -> Operation:
    _, second = _two(client, tag)
    request = pfs_pb2.DropCommitRequest(commit=second)
    return lambda: client.pfs.DropCommit(request), lambda: not is_there(lambda: client.inspect_commit(second))


def forget_commit(client: Client, tag: str) -> Operation:
    first, _ = _two(client, tag)
    name = pfs_pb2.RepoPicker.RepoName(name=tag, project=pfs_pb2.ProjectPicker(name="default"))
    by_id = pfs_pb2.CommitPicker.CommitByGlobalId(repo=pfs_pb2.RepoPicker(name=name), id=first.id)
    request = pfs_pb2.ForgetCommitRequest(commit=pfs_pb2.CommitPicker(id=by_id))
    return lambda: client.pfs.ForgetCommit(request), lambda: not is_there(lambda: client.list_file(first, "/"))


def compose_file_set(client: Client, tag: str) -> Operation:
    made: list[str] = []
    request = pfs_pb2.ComposeFileSetRequest(file_set_ids=[_file_set(client)])
    return lambda: made.append(client.pfs.ComposeFileSet(request).file_set_id), lambda: bool(made)


def clear_cache(client: Client, tag: str) -> Operation:
    put = pfs_pb2.PutCacheRequest(key=tag, tag=tag)
    put.value.Pack(repo_of(tag))
    client.pfs.PutCache(put)
    return (
        lambda: client.pfs.ClearCache(pfs_pb2.ClearCacheRequest(tag_prefix=tag)),
        lambda: not is_there(lambda: client.pfs.GetCache(pfs_pb2.GetCacheRequest(key=tag))),
    )


def create_fileset(client: Client, tag: str) -> Operation:
    made: list[str] = []
    append_file = storage_pb2.AppendFile(path="/f", data={"value": BIG + tag.encode()})

    def run() -> None:
        requests = iter([storage_pb2.CreateFilesetRequest(append_file=append_file)])
        made.append(client.storage.CreateFileset(requests).fileset_id)

    return run, lambda: bool(made)


OPERATIONS = {
    each.__name__: each
    for each in (
        create_project,
        create_repo,
        delete_repo,
        start_commit,
        put_small,
        put_big,
        append,
        put_at_once,
        delete_file,
        copy_file,
        finish_commit,
        clear_commit,
        create_branch,
        delete_branch,
        squash_commit_set,
        drop_commit_set,
        create_file_set,
        add_file_set,
        put_cache,
        delete_project,
        squash_commit,
        drop_commit,
        forget_commit,
        compose_file_set,
        clear_cache,
        create_fileset,
    )
}
