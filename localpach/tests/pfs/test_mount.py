"""What `pachctl mount` asks for, in its order: all repos' branches when it starts, a directory when it is looked into, a file's
bytes when it is opened, and all that was changed when it ends.
"""

from __future__ import annotations

import grpc

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Changes, Client, branch_of, commit_of
from tests.helpers import last_job, pfs, pipeline, put

FILES = {"/a": b"1", "/d/b": b"22", "/d/e/c": b"", "/d/big": bytes(5 << 20)}


class Mount:
    """A mount of all repos, which tells what may be written: branches that come from no other."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._dirty: dict[str, Changes] = {}
        self.heads: dict[str, pfs_pb2.Commit] = {}
        self.writable: set[str] = set()
        for info in client.pfs.ListRepo(pfs_pb2.ListRepoRequest(type="user")):
            self._look_up(info.repo.name)

    def _look_up(self, repo: str) -> None:
        branch = branch_of(repo, "master")
        try:
            info = self._client.pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch))
        except grpc.RpcError as error:
            # By these words a branch is one that it may yet make.
            assert "not found" in (error.details() or "")
            self.writable.add(repo)
            return
        self.heads[repo] = pfs_pb2.Commit(branch=branch, id=info.head.id)
        if not info.provenance:
            self.writable.add(repo)

    def look_into(self, repo: str, folder: str) -> list[pfs_pb2.FileInfo]:
        """The path has no slash before it: for the root it is empty."""
        return self._client.list_file(self.heads[repo], folder.strip("/"))

    def read(self, repo: str) -> dict[str, bytes]:
        """Every file, as it is walked through."""
        found, folders = {}, ["/"]
        while folders:
            for info in self.look_into(repo, folders.pop()):
                if info.file_type == pfs_pb2.DIR:
                    folders.append(info.file.path)
                else:
                    found[info.file.path] = self._client.get_file(info.file.commit, info.file.path)
                    assert len(found[info.file.path]) == info.size_bytes
        return found

    def write(self, repo: str, path: str, data: bytes | None) -> None:
        """What is None is gone."""
        changes = self._dirty.setdefault(repo, Changes(commit_of((repo, "master"))))
        changes.delete_file(path.strip("/"))
        if data:
            changes.put_file_from_bytes(path.strip("/"), data, append=True)
        elif data is not None:
            # An empty file is one without a source.
            changes.requests.append(pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path.strip("/"))))

    def unmount(self) -> None:
        for changes in self._dirty.values():
            self._client.pfs.ModifyFile(iter(changes.requests))


def test_a_mount_shows_repos_and_takes_what_is_written(client: Client) -> None:
    client.create_repo("in")
    client.create_repo("new")
    put(client, "in", FILES)
    pipeline(client, "copy", "cp -r /pfs/in/* /pfs/out", pfs("in", "/"))
    assert last_job(client, "copy").state == pps_pb2.JOB_SUCCESS
    mount = Mount(client)
    assert (set(mount.heads), mount.writable) == ({"in", "copy"}, {"in", "new"})
    assert mount.read("in") == mount.read("copy") == FILES
    # A file is looked up by its list, in which it is alone; what is not there has an empty one.
    assert [info.file.path for info in mount.look_into("in", "/d/b")] == ["/d/b"]
    assert [mount.look_into("in", path) for path in (".hidden", "/d/none", "/a/b")] == [[], [], []]
    mount.write("in", "/a", b"changed")
    mount.write("in", "/d/b", None)
    mount.write("in", "/d/empty", b"")
    mount.write("new", "/first", b"1")
    mount.unmount()
    changed = {path: data for path, data in FILES.items() if path != "/d/b"} | {"/a": b"changed", "/d/empty": b""}
    assert last_job(client, "copy").state == pps_pb2.JOB_SUCCESS
    after = Mount(client)
    assert after.read("in") == after.read("copy") == changed
    assert after.read("new") == {"/first": b"1"}
    # What was mounted goes on to show the commits that it began with.
    assert mount.read("in") == FILES


def test_one_path_is_mounted_by_a_commits_id(client: Client) -> None:
    client.create_repo("in")
    id = put(client, "in", FILES)
    put(client, "in", {"/later": b"1"})
    [branch] = [each.commit.branch for each in client.inspect_commit_set(id) if each.commit.branch.repo.name == "in"]
    commit = pfs_pb2.Commit(branch=branch, id=id)
    for path, kind, listed in (("/d", pfs_pb2.DIR, ["/d/b", "/d/big", "/d/e/"]), ("/a", pfs_pb2.FILE, ["/a"])):
        request = pfs_pb2.InspectFileRequest(file=pfs_pb2.File(commit=commit, path=path))
        assert client.pfs.InspectFile(request).file_type == kind
        assert [info.file.path for info in client.list_file(commit, path.strip("/"))] == listed
    assert client.list_file(commit, "later") == []
