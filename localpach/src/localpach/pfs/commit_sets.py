"""Commit sets: all commits of one id, what they stand on, and removing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from localpach.errors import NotFound, Refused
from localpach.names import Commit
from localpach.pfs.base import CommitRecord
from localpach.pfs.commits import Commits
from localpach.proto import pfs_pb2
from localpach.storage.store import CallContext


class CommitSets(Commits):
    """Commit sets, and deleting what they are made of."""

    def commits_of_set(self, id: str) -> list[Commit]:
        """The commits that carry the id, upstream ones first."""
        return [record.commit for record in self._in_order(self._nums_of_set(id)) if record.commit.id == id]

    def _nums_of_set(self, id: str) -> list[int]:
        with self.store.read() as connection:
            return [
                row["num"] for row in connection.execute("SELECT num FROM commits WHERE id = ? ORDER BY num", (id,))
            ]

    def set_with_provenance(self, id: str) -> list[CommitRecord]:
        """The commits of a set and all that they were made from, upstream ones first.

        Raises:
            NotFound: no commit has the id.
        """
        with self.store.read():
            nums = self._nums_of_set(id)
            if not nums:
                raise NotFound(f"no commits found for commitset {id}")
            return self._in_order(nums)

    def _in_order(self, nums: Iterable[int]) -> list[CommitRecord]:
        """Depth first along provenance, so that each commit comes after what it was made from."""
        placed: dict[int, None] = {}

        def place(num: int) -> None:
            if num not in placed:
                for upstream in self._provenance(num):
                    place(upstream)
                placed[num] = None

        for num in nums:
            place(num)
        return [self._record(num) for num in placed]

    def wait_for_set(self, id: str, context: CallContext | None) -> Iterator[CommitRecord]:
        """The commits of a set with provenance, each as soon as it and those before it have finished."""
        for record in self.set_with_provenance(id):
            yield self.wait_for_commit(record.commit, pfs_pb2.FINISHED, context)

    def commit_sets(self, project: str) -> Iterator[tuple[str, list[CommitRecord]]]:
        """Id and commits, with provenance, of each set that has commits in a project, newest first."""
        with self.store.read() as connection:
            rows = connection.execute(
                "SELECT c.id, max(c.num) AS newest FROM commits c JOIN repos r ON r.num = c.repo"
                " WHERE r.project = ? OR ? = '' GROUP BY c.id ORDER BY newest DESC",
                (project, project),
            ).fetchall()
        for row in rows:
            yield row["id"], self._in_order(self._nums_of_set(row["id"]))

    def squash_commit_set(self, id: str) -> None:
        """Removes the commits of a set whose content lives on in children."""
        with self.store.write() as connection:
            nums = self._nums_of_set(id)
            for num in nums:
                if not connection.execute("SELECT 1 FROM commits WHERE parent = ?", (num,)).fetchone():
                    raise Refused(
                        "cannot squash a commit that has no children as that would cause data loss,"
                        f" use the drop operation instead: {self._record(num).commit}"
                    )
            self._remove_set(id, nums)

    def drop_commit_set(self, id: str) -> None:
        """Removes the commits of a set with what is in them."""
        with self.store.write():
            self._remove_set(id, self._nums_of_set(id))

    def _remove_set(self, id: str, nums: list[int]) -> None:
        with self.store.write() as connection:
            below: dict[str, None] = {}
            for num in nums:
                rows = connection.execute(
                    "SELECT c.id FROM commit_provenance p JOIN commits c ON c.num = p.commit_num"
                    " WHERE p.upstream = ? AND c.id != ? ORDER BY c.num DESC",
                    (num, id),
                )
                below.update(dict.fromkeys(row["id"] for row in rows))
            if below:
                names = " ".join(f'id:"{each}"' for each in below)
                raise Refused(
                    f'commit set "id:\\"{id}\\"" cannot be dropped because it has subvenant commit sets: [{names}]'
                )
            for record in reversed([self._record(num) for num in nums]):
                self._remove_commit(record)

    def _remove_commit(self, record: CommitRecord) -> None:
        """Its children become its parent's; a branch that it headed goes back to the parent, or gets an empty commit."""
        with self.store.write() as connection:
            connection.execute("UPDATE commits SET parent = ? WHERE parent = ?", (record.parent, record.num))
            connection.execute("DELETE FROM commit_provenance WHERE commit_num = ?", (record.num,))
            headed = connection.execute("SELECT num FROM branches WHERE head = ?", (record.num,)).fetchall()
            for row in headed:
                branch = self._branch_of(row["num"])
                connection.execute("UPDATE branches SET head = NULL WHERE num = ?", (row["num"],))
                head = record.parent
                if head is None and not self._direct(row["num"]):
                    head = self._empty_head(self._repo_num(branch.repo), branch)
                self._move_head(row["num"], head)
            connection.execute("DELETE FROM commits WHERE num = ?", (record.num,))
