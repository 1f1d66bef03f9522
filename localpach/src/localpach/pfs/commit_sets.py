"""Commit sets: all commits of one id, what they were made from, and removing them."""

from __future__ import annotations

from collections.abc import Iterator

from localpach.errors import NotFound, Refused
from localpach.names import SPEC, Commit
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.provenance import Provenance
from localpach.pfs.records import CommitRecord
from localpach.pfs.rows import SELECT_COMMIT, commit_record
from localpach.proto import pfs_pb2
from localpach.storage.store import Store


class CommitSets:
    """Commit sets by id."""

    def __init__(self, store: Store, branches: Branches, commits: Commits, provenance: Provenance) -> None:
        self._store = store
        self._branches = branches
        self._commits = commits
        self._provenance = provenance

    def commits(self, id: str) -> list[Commit]:
        """The commits that carry the id, upstream ones first."""
        with self._store.read() as connection:
            records = {record.num: record for record in self._records(id)}
            upstream: dict[int, list[CommitRecord]] = {num: [] for num in records}
            # What a set has from others was there before it: it puts none of the set's own after another.
            query = (
                "SELECT p.commit_num, p.upstream FROM commits c JOIN commit_provenance p ON p.commit_num = c.num"
                " JOIN commits u ON u.num = p.upstream WHERE c.id = ?1 AND u.id = ?1 ORDER BY p.rowid"
            )
            for num, above in connection.execute(query, (id,)):
                upstream[num].append(records[above])
        by_name = sorted(records.values(), key=lambda record: record.commit.repo)
        return [record.commit for record in _downstream(by_name, upstream)]

    def _records(self, id: str) -> list[CommitRecord]:
        with self._store.read() as connection:
            return [
                commit_record(row)
                for row in connection.execute(f"{SELECT_COMMIT} WHERE c.id = ? ORDER BY c.num", (id,))
            ]

    def with_provenance(self, id: str) -> list[CommitRecord]:
        """The commits of a set and all that they were made from, upstream ones first.

        Raises:
            NotFound: no commit has the id.
        """
        with self._store.read():
            records = self._records(id)
            if not records:
                raise NotFound(f"no commits found for commitset {id}")
            return self._in_order(records)

    def _in_order(self, records: list[CommitRecord]) -> list[CommitRecord]:
        """The commits of a set with what they were made from: what other sets have of it, then the set's own by name, but
        each commit after what it was made from."""
        upstream: dict[int, list[CommitRecord]] = {}
        found: list[CommitRecord] = []
        frontier = sorted(records, key=lambda record: record.commit.repo)
        while frontier:
            record = frontier.pop()
            if record.num not in upstream:
                found.append(record)
                upstream[record.num] = self._commits.provenance(record)
                frontier += upstream[record.num]
        own = {record.num for record in records}
        return _downstream(sorted(found, key=lambda record: (record.num in own, record.commit.repo)), upstream)

    def all(self, project: str) -> Iterator[tuple[str, list[CommitRecord]]]:
        """Id and commits, with provenance, of each set that has commits in a project, newest first."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT c.id, max(c.num) AS newest FROM commits c JOIN repos r ON r.num = c.repo"
                " WHERE r.project = ? OR ? = '' GROUP BY c.id ORDER BY newest DESC",
                (project, project),
            ).fetchall()
        for row in rows:
            yield row["id"], self._in_order(self._records(row["id"]))

    def squash(self, id: str) -> None:
        """Removes the commits of a set whose content lives on in children."""
        with self._store.write():
            self._squash(list(self._removable(id)))

    def drop(self, id: str) -> None:
        """Removes the commits of a set with what is in them, none of which has a child."""
        with self._store.write():
            self._drop(list(self._removable(id)))

    def squash_commit(self, record: CommitRecord, recursive: bool) -> None:
        """Removes a commit whose content lives on in children; `recursive` removes all that was made from it, too."""
        with self._store.write():
            self._squash(self._with_subvenance(record, recursive))

    def drop_commit(self, record: CommitRecord, recursive: bool) -> None:
        """Removes a commit with what is in it, which has no child; `recursive` removes all that was made from it, too."""
        with self._store.write():
            self._drop(self._with_subvenance(record, recursive))

    def _with_subvenance(self, record: CommitRecord, recursive: bool) -> list[CommitRecord]:
        """A commit and what was made from it, upstream ones first."""
        found = {record.num: record}
        frontier = [record]
        while frontier:
            below = [each for each in self._commits.subvenance(frontier.pop()) if each.num not in found]
            if below and not recursive:
                raise Refused(
                    f"cannot remove commit {record.commit} alone, for {below[0].commit} was made from it;"
                    " ask for it recursively"
                )
            found |= {each.num: each for each in below}
            frontier += below
        for each in found.values():
            _check_no_update(each)
        return [found[num] for num in sorted(found)]

    def _squash(self, records: list[CommitRecord]) -> None:
        for record in records:
            if not self._children_left(record, records):
                raise Refused(
                    "cannot squash a commit that has no children as that would cause data loss,"
                    f" use the drop operation instead: {record.commit}"
                )
        self._remove(records)

    def _drop(self, records: list[CommitRecord]) -> None:
        for record in records:
            if self._children_left(record, records):
                raise Refused(f"cannot drop a commit that has children: {record.commit}")
        self._remove(records)

    def _children_left(self, record: CommitRecord, doomed: list[CommitRecord]) -> bool:
        """Whether a commit has descendants once some are gone."""
        nums = {each.num for each in doomed}
        children = self._commits.children(record)
        return any(child.num not in nums or self._children_left(child, doomed) for child in children)

    def _removable(self, id: str) -> Iterator[CommitRecord]:
        """The commits of a set, upstream ones first, as far as each may go for all that is known of itself."""
        below = self._sets_below(id)
        if below:
            names = " ".join(f'id:"{each}"' for each in below)
            raise Refused(
                f'commit set "id:\\"{id}\\"" cannot be dropped because it has subvenant commit sets: [{names}]'
            )
        for record in self._in_order(self._records(id)):
            if record.commit.id == id:
                _check_no_update(record)
                yield record

    def _remove(self, records: list[CommitRecord]) -> None:
        doomed = {record.num: record for record in records}
        # A new head follows from those of its provenance, so these come first.
        for num in sorted(doomed):
            kept = (each.num for each in self._commits.ancestors(doomed[num]) if each.num not in doomed)
            self._provenance.reset_heads(self._branches.headed_by(num), next(kept, None))
        for num in sorted(doomed, reverse=True):
            self._commits.remove(doomed[num])

    def _sets_below(self, id: str) -> list[str]:
        """The other sets with a commit that was made from one of a set, or of such a set, newest first."""
        found: dict[str, None] = {}
        frontier = [id]
        while frontier:
            fresh = [each for each in self._sets_made_from(frontier.pop()) if each != id and each not in found]
            found.update(dict.fromkeys(fresh))
            frontier += fresh
        return list(found)

    def _sets_made_from(self, id: str) -> list[str]:
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT c.id FROM commits u JOIN commit_provenance p ON p.upstream = u.num"
                " JOIN commits c ON c.num = p.commit_num WHERE u.id = ?1 AND c.id != ?1 ORDER BY u.num, c.num DESC",
                (id,),
            )
            return list(dict.fromkeys(row["id"] for row in rows))


def _check_no_update(record: CommitRecord) -> None:
    if record.commit.repo.type == SPEC and record.origin == pfs_pb2.USER:
        raise Refused(f"cannot squash commit {record.commit} because it updated a pipeline")


def _downstream(records: list[CommitRecord], upstream: dict[int, list[CommitRecord]]) -> list[CommitRecord]:
    """The order of some commits changed as little as is needed for each to come after what it was made from."""
    placed: dict[int, CommitRecord] = {}
    for record in records:
        way = [record]
        while way:
            missing = [each for each in upstream[way[-1].num] if each.num not in placed]
            if missing:
                way.append(missing[0])
            else:
                last = way.pop()
                placed[last.num] = last
    return list(placed.values())
