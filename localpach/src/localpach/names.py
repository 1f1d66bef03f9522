"""How repos, branches and commits are named, in Python, in protos and in error messages."""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

from localpach.errors import Refused
from localpach.proto import pfs_pb2

DEFAULT_PROJECT = "default"
USER, META, SPEC = "user", "meta", "spec"
MAX_PROJECT_NAME = 51

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_UUID4 = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")
_ID = re.compile(r"[0-9a-f]{32}")


class Repo(NamedTuple):
    """A repo; `str()` gives `project/name[.type]`."""

    project: str
    name: str
    type: str = USER

    def __str__(self) -> str:
        return f"{self.project}/{self.name}" + ("" if self.type == USER else f".{self.type}")

    @classmethod
    def of(cls, proto: pfs_pb2.Repo) -> Repo:
        return cls(proto.project.name or DEFAULT_PROJECT, proto.name, proto.type)

    def to_proto(self) -> pfs_pb2.Repo:
        return pfs_pb2.Repo(name=self.name, type=self.type, project=pfs_pb2.Project(name=self.project))


class Branch(NamedTuple):
    """A branch; `str()` gives `repo@branch`."""

    repo: Repo
    name: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.name}"

    @classmethod
    def of(cls, proto: pfs_pb2.Branch) -> Branch:
        return cls(Repo.of(proto.repo), proto.name)

    def to_proto(self) -> pfs_pb2.Branch:
        return pfs_pb2.Branch(repo=self.repo.to_proto(), name=self.name)


class Commit(NamedTuple):
    """A commit; its id is also the id of its commit set. `str()` gives `repo@id`."""

    repo: Repo
    id: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.id}"

    def to_proto(self, branch: str) -> pfs_pb2.Commit:
        """The proto, which also names the branch that the commit was made on."""
        repo = self.repo.to_proto()
        return pfs_pb2.Commit(repo=repo, id=self.id, branch=pfs_pb2.Branch(repo=repo, name=branch))


def new_id() -> str:
    """A fresh commit set, job or transaction id: a version 4 UUID without dashes."""
    return uuid.uuid4().hex


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id."""
    return bool(_ID.fullmatch(text))


def is_uuid4(text: str) -> bool:
    """Whether `text` is an id as `new_id` makes them."""
    return bool(_UUID4.fullmatch(text))


def check_name(name: str) -> None:
    """Raises Refused unless `name` may name a repo or a branch."""
    if not _NAME.fullmatch(name):
        raise Refused(f"name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed")


def check_project_name(name: str) -> None:
    """Raises Refused unless `name` may name a project."""
    try:
        if len(name) > MAX_PROJECT_NAME:
            excess = len(name) - MAX_PROJECT_NAME
            raise Refused(f'project name "{name}" is {excess} characters longer than the {MAX_PROJECT_NAME} max')
        check_name(name)
        if not name[0].isalnum():
            raise Refused("project names must start with an alphanumeric character")
    except Refused as error:
        raise Refused(f"invalid project name: {error.message}") from error


def check_branch_name(name: str) -> None:
    """Raises Refused unless `name` may name a branch; one that reads as an id would be ambiguous."""
    if not name:
        raise Refused("branch must be specified")
    check_name(name)
    if is_uuid4(name):
        raise Refused("bad key: branch name cannot be a UUID V4")
