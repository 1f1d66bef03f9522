"""Projects and the repos in them."""

from __future__ import annotations

import sqlite3

from localpach.clock import now
from localpach.errors import AlreadyExists, NotFound, Precondition
from localpach.names import DEFAULT_PROJECT, SPEC, USER, Repo, check_name, check_project_name
from localpach.pfs.records import ProjectRecord, RepoRecord
from localpach.proto import pfs_pb2
from localpach.storage.store import Store


class Repos:
    """Projects and repos by name; rows name repos by number."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.add_default_project()

    def add_default_project(self) -> None:
        with self._store.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO projects (name, description, created) VALUES (?, '', ?)",
                (DEFAULT_PROJECT, now()),
            )

    def create_project(self, name: str, description: str, update: bool = False) -> None:
        check_project_name(name)
        with self._store.write() as connection:
            if connection.execute("SELECT 1 FROM projects WHERE name = ?", (name,)).fetchone():
                if not update:
                    raise AlreadyExists(f'could not create project: project "{name}" already exists')
                connection.execute("UPDATE projects SET description = ? WHERE name = ?", (description, name))
                return
            values = (name, description, now())
            connection.execute("INSERT INTO projects (name, description, created) VALUES (?, ?, ?)", values)

    def project(self, name: str) -> ProjectRecord:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM projects WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise NotFound(f'error getting project "{name}": project "{name}" not found')
        return ProjectRecord(*row)

    def projects(self) -> list[ProjectRecord]:
        """Oldest first."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT * FROM projects ORDER BY created, rowid").fetchall()
        return [ProjectRecord(*row) for row in rows]

    def delete_project(self, name: str) -> None:
        check_project_name(name)
        with self._store.write() as connection:
            if not connection.execute("SELECT 1 FROM projects WHERE name = ?", (name,)).fetchone():
                raise NotFound(f'delete project "{name}": project "{name}" not found')
            query = "SELECT project, name, type FROM repos WHERE project = ? ORDER BY num"
            repo = connection.execute(query, (name,)).fetchone()
            if repo:
                raise Precondition(f"cannot delete project {name}: repo {Repo(*repo)} still exists")
            connection.execute("DELETE FROM projects WHERE name = ?", (name,))

    def create(self, repo: Repo, description: str = "", update: bool = False) -> None:
        repo = repo._replace(type=repo.type or USER)
        check_name(repo.name)
        with self._store.write() as connection:
            if not connection.execute("SELECT 1 FROM projects WHERE name = ?", (repo.project,)).fetchone():
                raise NotFound(f'cannot find project "{repo.project}": project "{repo.project}" not found')
            if repo.type != USER and not self.exists(repo._replace(type=USER)):
                raise NotFound(
                    "cannot create a system repo without a corresponding 'user' repo:"
                    f" repos {repo.project}/{repo.name}.{USER} not found"
                )
            if self.exists(repo):
                if not update:
                    raise AlreadyExists(f"repo {repo} already exists")
                connection.execute("UPDATE repos SET description = ? WHERE num = ?", (description, self.num_of(repo)))
                return
            connection.execute(
                "INSERT INTO repos (project, name, type, description, created) VALUES (?, ?, ?, ?, ?)",
                (*repo, description, self._store.transaction.moment),
            )

    def find_num(self, repo: Repo) -> int | None:
        """The number of a repo, if there is the repo."""
        with self._store.read() as connection:
            query = "SELECT num FROM repos WHERE project = ? AND name = ? AND type = ?"
            row = connection.execute(query, tuple(repo)).fetchone()
        return row["num"] if row else None

    def num_of(self, repo: Repo) -> int:
        num = self.find_num(repo)
        if num is None:
            raise NotFound(f"repo {repo} not found")
        return num

    def exists(self, repo: Repo) -> bool:
        return self.find_num(repo) is not None

    def named(self, num: int) -> Repo:
        """The repo of a number."""
        with self._store.read() as connection:
            row = connection.execute("SELECT project, name, type FROM repos WHERE num = ?", (num,)).fetchone()
        return Repo(*row)

    def has_pipeline(self, repo: Repo) -> bool:
        """Whether a pipeline of that name exists beside the repo (it then owns the repo)."""
        return self.exists(repo._replace(type=SPEC))

    def get(self, repo: Repo) -> RepoRecord:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM repos WHERE num = ?", (self.num_of(repo),)).fetchone()
            return _record(connection, row)

    def all(self, type: str = "", projects: list[str] | None = None) -> list[RepoRecord]:
        """Newest first, those of one transaction by name; all types and projects where none is named."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT * FROM repos ORDER BY created DESC, project, name, type").fetchall()
            return [
                _record(connection, row)
                for row in rows
                if (not type or row["type"] == type) and (not projects or row["project"] in projects)
            ]


def _record(connection: sqlite3.Connection, row: sqlite3.Row) -> RepoRecord:
    names = connection.execute("SELECT name FROM branches WHERE repo = ? ORDER BY name", (row["num"],))
    return RepoRecord(
        repo=Repo(row["project"], row["name"], row["type"]),
        description=row["description"],
        created=row["created"],
        branches=tuple(each["name"] for each in names),
        size=_size(connection, row["num"]),
        metadata=row["metadata"],
    )


def _size(connection: sqlite3.Connection, repo: int) -> int:
    """The size of the newest commit of `master` that has one: no failed one has, and no open one of a pipeline."""
    row = connection.execute(
        "SELECT c.* FROM branches b JOIN commits c ON c.num = b.head WHERE b.repo = ? AND b.name = 'master'",
        (repo,),
    ).fetchone()
    while row is not None and (row["origin"] == pfs_pb2.AUTO if row["finished"] is None else _failed(row)):
        row = connection.execute("SELECT * FROM commits WHERE num = ?", (row["parent"],)).fetchone()
    return row["size"] if row is not None and row["finished"] is not None else 0


def _failed(commit: sqlite3.Row) -> bool:
    return bool(commit["error"]) and not commit["refused"]
