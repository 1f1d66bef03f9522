"""Projects and repos."""

from __future__ import annotations

import sqlite3

from localpach.errors import AlreadyExists, NotFound, Precondition
from localpach.names import DEFAULT_PROJECT, USER, Branch, Repo, check_name, check_project_name
from localpach.pfs.base import PfsBase, now, timestamp
from localpach.proto import pfs_pb2
from localpach.storage.store import Store


class Repos(PfsBase):
    """Projects and the repos in them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        with store.write() as connection:
            _add_default_project(connection)

    def create_project(self, name: str, description: str, update: bool = False) -> None:
        check_project_name(name)
        with self.store.write() as connection:
            if connection.execute("SELECT 1 FROM projects WHERE name = ?", (name,)).fetchone():
                if not update:
                    raise AlreadyExists(f'could not create project: project "{name}" already exists')
                connection.execute("UPDATE projects SET description = ? WHERE name = ?", (description, name))
                return
            connection.execute("INSERT INTO projects VALUES (?, ?, ?)", (name, description, now()))

    def project_info(self, name: str) -> pfs_pb2.ProjectInfo:
        with self.store.read() as connection:
            row = connection.execute("SELECT * FROM projects WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise NotFound(f'error getting project "{name}": project "{name}" not found')
        return _project_info(row)

    def projects(self) -> list[pfs_pb2.ProjectInfo]:
        """Newest first."""
        with self.store.read() as connection:
            rows = connection.execute("SELECT * FROM projects ORDER BY created DESC, rowid DESC").fetchall()
        return [_project_info(row) for row in rows]

    def delete_project(self, name: str) -> None:
        check_project_name(name)
        with self.store.write() as connection:
            if not connection.execute("SELECT 1 FROM projects WHERE name = ?", (name,)).fetchone():
                raise NotFound(f'delete project "{name}": project "{name}" not found')
            repo = connection.execute(
                "SELECT project, name, type FROM repos WHERE project = ? ORDER BY num", (name,)
            ).fetchone()
            if repo:
                raise Precondition(f"cannot delete project {name}: repo {Repo(*repo)} still exists")
            connection.execute("DELETE FROM projects WHERE name = ?", (name,))

    def create_repo(self, repo: Repo, description: str = "", update: bool = False) -> None:
        repo = repo._replace(type=repo.type or USER)
        check_name(repo.name)
        with self.store.write() as connection:
            if not connection.execute("SELECT 1 FROM projects WHERE name = ?", (repo.project,)).fetchone():
                raise NotFound(f'cannot find project "{repo.project}": project "{repo.project}" not found')
            if repo.type != USER and not self.repo_exists(repo._replace(type=USER)):
                raise NotFound(
                    "cannot create a system repo without a corresponding 'user' repo:"
                    f" repos {repo.project}/{repo.name}.{USER} not found"
                )
            if self.repo_exists(repo):
                if not update:
                    raise AlreadyExists(f"repo {repo} already exists")
                connection.execute(
                    "UPDATE repos SET description = ? WHERE num = ?", (description, self._repo_num(repo))
                )
                return
            connection.execute(
                "INSERT INTO repos (project, name, type, description, created) VALUES (?, ?, ?, ?, ?)",
                (*repo, description, self.store.transaction.moment),
            )

    def repo_exists(self, repo: Repo) -> bool:
        with self.store.read() as connection:
            found = connection.execute(
                "SELECT 1 FROM repos WHERE project = ? AND name = ? AND type = ?", tuple(repo)
            ).fetchone()
        return found is not None

    def repo_info(self, repo: Repo) -> pfs_pb2.RepoInfo:
        """With its size, that of the newest finished commit of `master`."""
        with self.store.read() as connection:
            row = connection.execute("SELECT * FROM repos WHERE num = ?", (self._repo_num(repo),)).fetchone()
            info = self._info(connection, row)
            info.details.size_bytes = info.size_bytes_upper_bound
            info.ClearField("size_bytes_upper_bound")
            return info

    def repo_infos(self, type: str, projects: list[str]) -> list[pfs_pb2.RepoInfo]:
        """Newest first, those of one transaction by name; all types and projects where none is named."""
        with self.store.read() as connection:
            rows = connection.execute("SELECT * FROM repos ORDER BY created DESC, project, name, type").fetchall()
            return [
                self._info(connection, row)
                for row in rows
                if (not type or row["type"] == type) and (not projects or row["project"] in projects)
            ]

    def _info(self, connection: sqlite3.Connection, row: sqlite3.Row) -> pfs_pb2.RepoInfo:
        repo = Repo(row["project"], row["name"], row["type"])
        branches = connection.execute(
            "SELECT name FROM branches WHERE repo = ? ORDER BY name", (row["num"],)
        ).fetchall()
        return pfs_pb2.RepoInfo(
            repo=repo.to_proto(),
            created=timestamp(row["created"]),
            description=row["description"],
            size_bytes_upper_bound=self._size(connection, row["num"]),
            branches=[Branch(repo, branch["name"]).to_proto() for branch in branches],
        )

    def _size(self, connection: sqlite3.Connection, repo: int) -> int:
        row = connection.execute(
            "SELECT c.* FROM branches b JOIN commits c ON c.num = b.head WHERE b.repo = ? AND b.name = 'master'",
            (repo,),
        ).fetchone()
        while row is not None and row["finished"] is None:
            row = connection.execute("SELECT * FROM commits WHERE num = ?", (row["parent"],)).fetchone()
        return row["size"] if row else 0

    def delete_everything(self) -> None:
        """All repos and projects; a fresh `default` project stands afterwards."""
        with self.store.write() as connection:
            connection.execute("PRAGMA defer_foreign_keys = ON")
            for table in ("commit_provenance", "branch_provenance", "commits", "branches", "repos", "projects"):
                connection.execute(f"DELETE FROM {table}")
            _add_default_project(connection)


def _add_default_project(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR IGNORE INTO projects VALUES (?, '', ?)", (DEFAULT_PROJECT, now()))


def _project_info(row: sqlite3.Row) -> pfs_pb2.ProjectInfo:
    return pfs_pb2.ProjectInfo(
        project=pfs_pb2.Project(name=row["name"]),
        description=row["description"],
        created_at=timestamp(row["created"]),
    )
