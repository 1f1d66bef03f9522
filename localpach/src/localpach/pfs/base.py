"""What the parts of PFS share: rows by name, and the errors of names that lead nowhere."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import NotFound
from localpach.names import SPEC, USER, Branch, Commit, Repo
from localpach.storage.objects import Objects
from localpach.storage.store import Store
from localpach.storage.trees import EMPTY, Dir, Trees

# The values of pfs.OriginKind.
ORIGIN_USER, ORIGIN_AUTO = 1, 2


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def timestamp(microseconds: int | None) -> Timestamp | None:
    """A proto of stored microseconds."""
    if microseconds is None:
        return None
    return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


@dataclass(frozen=True)
class CommitRecord:
    """What is known of one commit. Times are microseconds since 1970; `refused` says that `error` came from the check at
    its finish rather than from the one who finished it."""

    num: int
    commit: Commit
    branch: str
    parent: int | None
    origin: int
    description: str
    started: int
    finishing: int | None
    finished: int | None
    error: str
    refused: bool
    root: Dir

    @property
    def is_output(self) -> bool:
        return self.origin == ORIGIN_AUTO


class PfsBase:
    """Looks things up; the other parts build on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.objects = Objects(store)
        self.trees = Trees(store)

    def _repo_num(self, repo: Repo) -> int:
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT num FROM repos WHERE project = ? AND name = ? AND type = ?",
                (repo.project, repo.name, repo.type),
            ).fetchone()
        if row is None:
            raise NotFound(f"repo {repo} not found")
        return row["num"]

    def _repo_of(self, num: int) -> Repo:
        with self.store.read() as connection:
            row = connection.execute("SELECT project, name, type FROM repos WHERE num = ?", (num,)).fetchone()
        return Repo(*row)

    def _find_branch(self, branch: Branch) -> sqlite3.Row | None:
        with self.store.read() as connection:
            return connection.execute(
                "SELECT b.* FROM branches b JOIN repos r ON r.num = b.repo"
                " WHERE r.project = ? AND r.name = ? AND r.type = ? AND b.name = ?",
                (*branch.repo, branch.name),
            ).fetchone()

    def _branch_row(self, branch: Branch) -> sqlite3.Row:
        row = self._find_branch(branch)
        if row is None:
            raise NotFound(f'branch "{branch.name}" not found in repo {branch.repo}')
        return row

    def _branch_of(self, num: int) -> Branch:
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT r.project, r.name, r.type, b.name AS branch FROM branches b JOIN repos r ON r.num = b.repo"
                " WHERE b.num = ?",
                (num,),
            ).fetchone()
        return Branch(Repo(row["project"], row["name"], row["type"]), row["branch"])

    def _commit_row(self, commit: Commit) -> sqlite3.Row:
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT c.* FROM commits c JOIN repos r ON r.num = c.repo"
                " WHERE r.project = ? AND r.name = ? AND r.type = ? AND c.id = ?",
                (*commit.repo, commit.id),
            ).fetchone()
        if row is None:
            raise NotFound(f"commit {commit} not found")
        return row

    def _record(self, num: int) -> CommitRecord:
        """The commit of a row number."""
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT c.*, r.project, r.name AS repo_name, r.type FROM commits c JOIN repos r ON r.num = c.repo"
                " WHERE c.num = ?",
                (num,),
            ).fetchone()
        if row is None:
            raise NotFound(f"commit number {num} not found")
        return CommitRecord(
            num=num,
            commit=Commit(Repo(row["project"], row["repo_name"], row["type"]), row["id"]),
            branch=row["branch"],
            parent=row["parent"],
            origin=row["origin"],
            description=row["description"],
            started=row["started"],
            finishing=row["finishing"],
            finished=row["finished"],
            error=row["error"],
            refused=bool(row["refused"]),
            root=Dir(row["tree"], row["size"]) if row["tree"] else EMPTY,
        )

    def _has_spec(self, branch: int) -> bool:
        """Whether a branch is the output or meta branch of a pipeline."""
        with self.store.read() as connection:
            return bool(
                connection.execute(
                    "SELECT 1 FROM branch_provenance p JOIN branches b ON b.num = p.upstream"
                    " JOIN repos r ON r.num = b.repo WHERE p.branch = ? AND r.type = ?",
                    (branch, SPEC),
                ).fetchone()
            )

    def _is_pipeline_output(self, repo: Repo) -> bool:
        """Whether a pipeline of that name exists beside the repo (it then owns the repo)."""
        return repo.type == USER and self._has_pipeline(repo)

    def is_of_pipeline(self, record: CommitRecord) -> bool:
        """Whether a commit is the output or meta commit of a pipeline's job."""
        return record.commit.repo.type != SPEC and record.is_output and self._has_pipeline(record.commit.repo)

    def _has_pipeline(self, repo: Repo) -> bool:
        with self.store.read() as connection:
            query = "SELECT 1 FROM repos WHERE project = ? AND name = ? AND type = ?"
            return bool(connection.execute(query, (repo.project, repo.name, SPEC)).fetchone())
