"""How clients since Pachyderm 2.10 say which project, repo, branch or commit they mean."""

from __future__ import annotations

from localpach.errors import Refused
from localpach.names import DEFAULT_PROJECT, USER, Branch, Repo
from localpach.pfs.records import CommitRecord
from localpach.pfs.service import Pfs
from localpach.proto import pfs_pb2


def project_of(picker: pfs_pb2.ProjectPicker) -> str:
    return picker.name or DEFAULT_PROJECT


def repo_of(picker: pfs_pb2.RepoPicker) -> Repo:
    if not picker.HasField("name"):
        raise Refused("a repo must be picked by its name")
    return Repo(project_of(picker.name.project), picker.name.name, picker.name.type or USER)


def branch_of(picker: pfs_pb2.BranchPicker) -> Branch:
    if not picker.HasField("name"):
        raise Refused("a branch must be picked by its name")
    return Branch(repo_of(picker.name.repo), picker.name.name)


def commit_of(pfs: Pfs, picker: pfs_pb2.CommitPicker) -> CommitRecord:
    kind = picker.WhichOneof("picker")
    if kind == "branch_head":
        return pfs.queries.head(branch_of(picker.branch_head))
    if kind == "id":
        return pfs.queries.resolve(repo_of(picker.id.repo), picker.id.id)
    if kind == "ancestor":
        start = commit_of(pfs, picker.ancestor.start).commit
        return pfs.queries.resolve(start.repo, f"{start.id}^{picker.ancestor.offset}")
    if kind == "branch_root":
        branch = branch_of(picker.branch_root.branch)
        return pfs.queries.resolve(branch.repo, f"{branch.name}.{picker.branch_root.offset}")
    raise Refused("a commit must be picked by its branch, its id, or what it is an ancestor of")
