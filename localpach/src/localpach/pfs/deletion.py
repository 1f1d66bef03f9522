"""Deleting branches and repos, which provenance can forbid."""

from __future__ import annotations

from localpach.errors import Refused
from localpach.names import META, SPEC, USER, Branch, Repo
from localpach.pfs.commit_sets import CommitSets


class Deletion(CommitSets):
    """Deletes branches and repos."""

    def delete_branch(self, branch: Branch, force: bool = False) -> None:
        """Deletes a branch but not its commits; a missing one is fine. `force` cuts it out of others' provenance."""
        with self.store.write() as connection:
            row = self._find_branch(branch)
            if row is None:
                return
            below = self._closure([row["num"]], downstream=True)
            if below and not force:
                names = " ".join(sorted(str(self._branch_of(num)) for num in below))
                raise Refused(
                    f"branch {branch.name} has [{names}] as subvenance, deleting it would break those branches"
                )
            connection.execute("DELETE FROM branch_provenance WHERE upstream = ?", (row["num"],))
            connection.execute("DELETE FROM branches WHERE num = ?", (row["num"],))

    def delete_repo(self, repo: Repo, force: bool = False, owned: bool = False) -> None:
        """Deletes a repo with its meta and spec repos; a missing one is fine.

        `owned` lets the owner of a pipeline delete its output. `force` cuts the repo out of others' provenance.
        """
        with self.store.write():
            if not self.repo_exists(repo):
                return
            if not owned and self._is_pipeline_output(repo):
                raise Refused(
                    f'error checking whether repo "{repo}" can be deleted: '
                    "cannot delete a repo associated with a pipeline - delete the pipeline instead"
                )
            kinds = (META, USER, SPEC) if repo.type == USER else (repo.type,)
            doomed = [each for each in (repo._replace(type=kind) for kind in kinds) if self.repo_exists(each)]
            for each in doomed:
                for info in self.branch_infos(each, reverse=True):
                    branch = Branch.of(info.branch)
                    try:
                        self.delete_branch(branch, force)
                    except Refused as error:
                        raise Refused(f"delete branch {branch}: {error.message}") from error
            for each in doomed:
                self._delete_rows(self._repo_num(each))

    def _delete_rows(self, num: int) -> None:
        with self.store.write() as connection:
            of_repo = "SELECT num FROM commits WHERE repo = ?"
            connection.execute(f"DELETE FROM commit_provenance WHERE upstream IN ({of_repo})", (num,))
            connection.execute(f"UPDATE branches SET head = NULL WHERE head IN ({of_repo})", (num,))
            connection.execute("UPDATE commits SET parent = NULL WHERE repo = ?", (num,))
            connection.execute("DELETE FROM commits WHERE repo = ?", (num,))
            connection.execute("DELETE FROM repos WHERE num = ?", (num,))

    def delete_repos(self, projects: list[str], all: bool, force: bool = False) -> list[Repo]:
        """Deletes the repos of some projects, or all; what pipelines own stays. Gives the repos that went."""
        with self.store.write() as connection:
            rows = connection.execute(
                "SELECT project, name, type FROM repos WHERE type = 'user' ORDER BY created DESC, project, name"
            )
            chosen = [Repo(*row) for row in rows.fetchall() if all or row["project"] in projects]
            doomed = [repo for repo in chosen if not self._is_pipeline_output(repo)]
            for repo in doomed:
                self.delete_repo(repo, force)
            return doomed
