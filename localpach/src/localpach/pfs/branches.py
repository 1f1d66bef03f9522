"""Branches: their heads, and which depends on which."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from localpach.errors import NotFound, Refused
from localpach.names import SPEC, Branch, Repo
from localpach.pfs.records import BranchRecord, Gathered
from localpach.pfs.repos import Repos
from localpach.storage.store import Store

_SELECT = (
    "SELECT b.num, b.name, b.head, b.trigger, b.metadata, r.project, r.name AS repo, r.type"
    " FROM branches b JOIN repos r ON r.num = b.repo"
)


class Branches:
    """Branches of all repos."""

    def __init__(self, store: Store, repos: Repos) -> None:
        self._store = store
        self._repos = repos

    def find(self, branch: Branch) -> BranchRecord | None:
        with self._store.read() as connection:
            query = f"{_SELECT} WHERE r.project = ? AND r.name = ? AND r.type = ? AND b.name = ?"
            row = connection.execute(query, (*branch.repo, branch.name)).fetchone()
        return _record(row) if row else None

    def get(self, branch: Branch) -> BranchRecord:
        found = self.find(branch)
        if found is None:
            raise NotFound(f'branch "{branch.name}" not found in repo {branch.repo}')
        return found

    def by_num(self, num: int) -> BranchRecord:
        with self._store.read() as connection:
            return _record(connection.execute(f"{_SELECT} WHERE b.num = ?", (num,)).fetchone())

    def exists(self, branch: Branch) -> bool:
        return self.find(branch) is not None

    def of_repo(self, repo: Repo | None, reverse: bool = False) -> list[BranchRecord]:
        """Newest first; those of all repos where none is named."""
        with self._store.read() as connection:
            condition, values = ("WHERE b.repo = ?", [self._repos.num_of(repo)]) if repo else ("", [])
            query = f"{_SELECT} {condition} ORDER BY b.num {'ASC' if reverse else 'DESC'}"
            return [_record(row) for row in connection.execute(query, values)]

    def ensure(self, branch: Branch) -> BranchRecord:
        """A branch, which is made if need be."""
        found = self.find(branch)
        if found is not None:
            return found
        with self._store.write() as connection:
            repo = self._repos.num_of(branch.repo)
            num = connection.execute("INSERT INTO branches (repo, name) VALUES (?, ?)", (repo, branch.name)).lastrowid
        assert num is not None
        return BranchRecord(num, branch, None, None)

    def move_head(self, num: int, commit: int | None) -> None:
        """Makes a commit the head of a branch; what depends on the branch follows at the end of the write."""
        with self._store.write():
            self.set_head(num, commit)
            self.touch(num)

    def set_head(self, num: int, commit: int | None) -> None:
        """Makes a commit the head of a branch, and nothing follows from it.

        Raises:
            Refused: it was forgotten.
        """
        with self._store.write() as connection:
            query = "SELECT 1 FROM commits WHERE num = ? AND finished IS NOT NULL AND error = '' AND tree IS NULL"
            if connection.execute(query, (commit,)).fetchone():
                raise Refused(f"the branch head cannot be a forgotten commit: {self.by_num(num).branch}")
            connection.execute("UPDATE branches SET head = ? WHERE num = ?", (commit, num))

    def touch(self, num: int) -> None:
        """Has what depends on a branch follow at the end of the write."""
        self._store.transaction.gathered(Gathered).touched.add(num)

    def headed_by(self, commit: int) -> list[BranchRecord]:
        """The branches that a commit is the head of."""
        with self._store.read() as connection:
            return [_record(row) for row in connection.execute(f"{_SELECT} WHERE b.head = ?", (commit,))]

    def set_trigger(self, num: int, trigger: bytes) -> None:
        with self._store.write() as connection:
            connection.execute("UPDATE branches SET trigger = ? WHERE num = ?", (trigger, num))

    def with_trigger(self, repo: Repo | None) -> list[BranchRecord]:
        """The branches of a repo, or of all, that have a trigger."""
        with self._store.read() as connection:
            num = self._repos.num_of(repo) if repo else None
            query = f"{_SELECT} WHERE b.trigger IS NOT NULL AND (r.num = ?1 OR ?1 IS NULL) ORDER BY b.num"
            return [_record(row) for row in connection.execute(query, (num,))]

    def direct_provenance(self, num: int) -> list[int]:
        """What a branch directly depends on, in the order in which that was set."""
        with self._store.read() as connection:
            query = "SELECT upstream FROM branch_provenance WHERE branch = ? ORDER BY rowid"
            return [row["upstream"] for row in connection.execute(query, (num,))]

    def direct_subvenance(self, num: int) -> list[int]:
        """What directly depends on a branch."""
        with self._store.read() as connection:
            query = "SELECT branch FROM branch_provenance WHERE upstream = ? ORDER BY branch"
            return [row["branch"] for row in connection.execute(query, (num,))]

    def provenance(self, nums: Iterable[int]) -> set[int]:
        """All branches that some depend on, without these themselves."""
        return self._closure(nums, "branch", "upstream")

    def subvenance(self, nums: Iterable[int]) -> set[int]:
        """All branches that depend on some, without these themselves."""
        return self._closure(nums, "upstream", "branch")

    def _closure(self, nums: Iterable[int], start: str, end: str) -> set[int]:
        with self._store.read() as connection:
            found: set[int] = set()
            frontier = list(nums)
            while frontier:
                query = f"SELECT {end} FROM branch_provenance WHERE {start} = ?"
                rows = [row[0] for row in connection.execute(query, (frontier.pop(),))]
                frontier += [num for num in rows if num not in found]
                found.update(rows)
            return found

    def names(self, nums: Iterable[int]) -> list[Branch]:
        """Branches of some numbers, by name."""
        return sorted((self.by_num(num).branch for num in nums), key=str)

    def set_provenance(self, num: int, upstreams: list[int]) -> None:
        """Makes `upstreams` all that a branch directly depends on.

        Raises:
            Refused: one of them depends on the branch.
        """
        below = self.subvenance([num])
        for upstream in upstreams:
            if upstream in below:
                raise Refused(
                    f'branch "{self.by_num(upstream).branch}" cannot be both in'
                    f' "{self.by_num(num).branch}"\'s provenance and subvenance'
                )
        with self._store.write() as connection:
            if upstreams:
                self._store.transaction.gathered(Gathered).reordered.add(num)
            connection.execute("DELETE FROM branch_provenance WHERE branch = ?", (num,))
            rows = [(num, upstream) for upstream in dict.fromkeys(upstreams)]
            connection.executemany("INSERT INTO branch_provenance VALUES (?, ?)", rows)

    def is_pipeline_output(self, num: int) -> bool:
        """Whether a branch depends on a pipeline's spec, as the output and the meta branch do."""
        with self._store.read() as connection:
            query = (
                "SELECT 1 FROM branch_provenance p JOIN branches b ON b.num = p.upstream"
                " JOIN repos r ON r.num = b.repo WHERE p.branch = ? AND r.type = ?"
            )
            return connection.execute(query, (num, SPEC)).fetchone() is not None

    def delete(self, branch: Branch, force: bool = False) -> None:
        """Deletes a branch but not its commits; a missing one is fine. `force` cuts it out of others' provenance."""
        with self._store.write() as connection:
            found = self.find(branch)
            if found is None:
                return
            below = self.subvenance([found.num])
            if below and not force:
                names = " ".join(map(str, self.names(below)))
                raise Refused(
                    f"branch {branch.name} has [{names}] as subvenance, deleting it would break those branches"
                )
            connection.execute("DELETE FROM branch_provenance WHERE upstream = ?", (found.num,))
            connection.execute("DELETE FROM branches WHERE num = ?", (found.num,))


def _record(row: sqlite3.Row) -> BranchRecord:
    branch = Branch(Repo(row["project"], row["repo"], row["type"]), row["name"])
    return BranchRecord(row["num"], branch, row["head"], row["trigger"], row["metadata"])
