"""What is known of repos, branches, commits and files: frozen records. Times are microseconds since 1970;
`metadata` is JSON of what clients have noted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from localpach.names import Branch, Commit, Repo, new_id
from localpach.proto import pfs_pb2
from localpach.storage.trees import Dir


class ProjectRecord(NamedTuple):
    name: str
    description: str
    created: int
    metadata: str


class RepoRecord(NamedTuple):
    """A repo, the names of its branches, and the bytes in the newest finished commit of `master`."""

    repo: Repo
    description: str
    created: int
    branches: tuple[str, ...]
    size: int
    metadata: str


class BranchRecord(NamedTuple):
    """A branch; `head` is the number of its newest commit, `trigger` a pfs.Trigger as stored."""

    num: int
    branch: Branch
    head: int | None
    trigger: bytes | None
    metadata: str = "{}"


@dataclass(frozen=True)
class CommitRecord:
    """A commit; `refused` says that `error` came from the check at its finish rather than from the one who finished it,
    `is_written` that `root` is what it holds: an output commit holds what its base does until something is written to it.
    """

    num: int
    commit: Commit
    branch: str
    parent: int | None
    origin: pfs_pb2.OriginKind
    description: str
    started: int
    finishing: int | None
    finished: int | None
    error: str
    refused: bool
    root: Dir
    is_written: bool = True
    metadata: str = "{}"

    @property
    def is_output(self) -> bool:
        return self.origin == pfs_pb2.AUTO

    @property
    def is_forgotten(self) -> bool:
        """Whether its files were dropped; what is known of it beside them is kept."""
        return self.finished is not None and not self.error and not self.is_written


class Entry(NamedTuple):
    """A file or directory of a commit. A directory's path ends in `/`; `datum` is the first that wrote to a file; `key`
    changes with any name or byte, which Pachyderm's `hash` of a directory does not."""

    path: str
    is_dir: bool
    size: int
    hash: bytes
    key: str
    datum: str = ""


@dataclass
class Gathered:
    """What one write has gathered: the id of its commit set; the branches that commits may have to follow on, and those
    whose provenance it has set; the outputs of pipelines that it has begun, and the commits that it has finished or removed;
    the numbers of those that were made from one that is finished or gone, and have one less to wait for."""

    commit_set: str = field(default_factory=new_id)
    touched: set[int] = field(default_factory=set)
    reordered: set[int] = field(default_factory=set)
    outputs: list[CommitRecord] = field(default_factory=list)
    finished: list[CommitRecord] = field(default_factory=list)
    removed: list[CommitRecord] = field(default_factory=list)
    freed: set[int] = field(default_factory=set)
