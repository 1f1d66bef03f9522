"""Deleting repos, which provenance and pipelines can forbid."""

from __future__ import annotations

from localpach.errors import Refused
from localpach.names import META, SPEC, USER, Repo
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.repos import Repos
from localpach.storage.store import Store
from localpach.waiting import Bulletin, Topic


class Deletion:
    """Deletes repos with their branches and commits."""

    def __init__(self, store: Store, bulletin: Bulletin, repos: Repos, branches: Branches, commits: Commits) -> None:
        self._store = store
        self._bulletin = bulletin
        self._repos = repos
        self._branches = branches
        self._commits = commits

    def delete_repo(self, repo: Repo, force: bool = False, owned: bool = False) -> bool:
        """Deletes a repo with its meta and spec repos; a missing one is fine. Tells whether it was there.

        `owned` lets the owner of a pipeline delete its output. `force` cuts the repo out of others' provenance.
        """
        with self._store.write():
            if not self._repos.exists(repo):
                return False
            if not owned and self._is_owned(repo):
                raise Refused(
                    f'error checking whether repo "{repo}" can be deleted: '
                    "cannot delete a repo associated with a pipeline - delete the pipeline instead"
                )
            kinds = (META, USER, SPEC) if repo.type == USER else (repo.type,)
            doomed = [each for each in (repo._replace(type=kind) for kind in kinds) if self._repos.exists(each)]
            for each in doomed:
                self._delete_branches(each, force)
            for each in doomed:
                self._delete_rows(self._repos.num_of(each))
            return True

    def _is_owned(self, repo: Repo) -> bool:
        return repo.type == USER and self._repos.has_pipeline(repo)

    def _delete_branches(self, repo: Repo, force: bool) -> None:
        for each in self._branches.of_repo(repo, reverse=True):
            try:
                self._branches.delete(each.branch, force)
            except Refused as error:
                raise Refused(f"delete branch {each.branch}: {error.message}") from error

    def _delete_rows(self, num: int) -> None:
        with self._store.write() as connection:
            self._commits.remove_all(num)
            connection.execute("DELETE FROM repos WHERE num = ?", (num,))

    def delete_repos(self, projects: list[str], all: bool, force: bool = False) -> list[Repo]:
        """Deletes the repos of some projects, or all; what pipelines own stays. Gives the repos that went."""
        with self._store.write():
            chosen = [each.repo for each in self._repos.all(USER) if all or each.repo.project in projects]
            doomed = [repo for repo in chosen if not self._is_owned(repo)]
            for repo in doomed:
                self.delete_repo(repo, force)
            return doomed

    def delete_everything(self) -> None:
        """All repos and projects; a fresh `default` project stands afterwards."""
        with self._store.write() as connection:
            connection.execute("PRAGMA defer_foreign_keys = ON")
            for table in ("commit_provenance", "branch_provenance", "commits", "branches", "repos", "projects"):
                connection.execute(f"DELETE FROM {table}")
            self._repos.add_default_project()
            self._bulletin.tell(Topic.COMMITS)
