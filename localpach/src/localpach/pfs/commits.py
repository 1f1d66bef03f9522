"""Commits: started, finishing, finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from localpach.clock import now
from localpach.errors import NotFound, Refused
from localpach.names import SPEC, Branch, Commit, Repo, check_branch_name
from localpach.pfs.branches import Branches
from localpach.pfs.records import BranchRecord, CommitRecord, Gathered
from localpach.pfs.repos import Repos
from localpach.pfs.rows import SELECT_COMMIT, commit_record
from localpach.proto import pfs_pb2
from localpach.storage.store import Store
from localpach.storage.trees import EMPTY, Dir
from localpach.waiting import Bulletin, Topic


class Commits:
    """Commits of all repos."""

    def __init__(self, store: Store, bulletin: Bulletin, repos: Repos, branches: Branches) -> None:
        self._store = store
        self._bulletin = bulletin
        self._repos = repos
        self._branches = branches

    def by_num(self, num: int) -> CommitRecord:
        with self._store.read() as connection:
            row = connection.execute(f"{SELECT_COMMIT} WHERE c.num = ?", (num,)).fetchone()
        if row is None:
            raise NotFound(f"commit number {num} not found")
        return commit_record(row)

    def get(self, commit: Commit) -> CommitRecord:
        with self._store.read() as connection:
            query = f"{SELECT_COMMIT} WHERE r.project = ? AND r.name = ? AND r.type = ? AND c.id = ?"
            row = connection.execute(query, (*commit.repo, commit.id)).fetchone()
        if row is None:
            raise NotFound(f"commit {commit} not found")
        return commit_record(row)

    def head(self, branch: Branch) -> CommitRecord | None:
        """The newest commit of a branch, or None."""
        found = self._branches.find(branch)
        return self.by_num(found.head) if found is not None and found.head else None

    def parent(self, record: CommitRecord) -> CommitRecord | None:
        return self.by_num(record.parent) if record.parent else None

    def ancestors(self, record: CommitRecord) -> Iterator[CommitRecord]:
        """From the parent on."""
        before = self.parent(record)
        while before is not None:
            yield before
            before = self.parent(before)

    def with_content(self) -> list[CommitRecord]:
        """All commits that hold anything."""
        with self._store.read() as connection:
            return [commit_record(row) for row in connection.execute(f"{SELECT_COMMIT} WHERE c.tree != ''")]

    def children(self, record: CommitRecord) -> list[CommitRecord]:
        with self._store.read() as connection:
            return [
                commit_record(row)
                for row in connection.execute(f"{SELECT_COMMIT} WHERE c.parent = ? ORDER BY c.num", (record.num,))
            ]

    def provenance(self, record: CommitRecord) -> list[CommitRecord]:
        """The commits that a commit was made from."""
        with self._store.read() as connection:
            query = f"{SELECT_COMMIT} JOIN commit_provenance p ON p.upstream = c.num WHERE p.commit_num = ? ORDER BY p.rowid"
            return [commit_record(row) for row in connection.execute(query, (record.num,))]

    def subvenance(self, record: CommitRecord) -> list[CommitRecord]:
        """The commits that were made from a commit."""
        with self._store.read() as connection:
            query = (
                f"{SELECT_COMMIT} JOIN commit_provenance p ON p.commit_num = c.num WHERE p.upstream = ? ORDER BY c.num"
            )
            return [commit_record(row) for row in connection.execute(query, (record.num,))]

    def is_of_pipeline(self, record: CommitRecord) -> bool:
        """Whether a commit is the output or meta commit of a pipeline's job."""
        return record.commit.repo.type != SPEC and record.is_output and self._repos.has_pipeline(record.commit.repo)

    def start(self, branch: Branch, description: str = "", parent: Callable[[], CommitRecord] | None = None) -> Commit:
        """Opens a commit on a branch, which is made if need be; output branches get theirs from provenance. `parent` gives
        the commit to go on from, where it is not the branch's head."""
        if not branch.name:
            raise Refused("branch must be specified")
        with self._store.write():
            check_branch_name(branch.name)
            self._repos.num_of(branch.repo)
            found = self._branches.find(branch)
            if found is not None and self._branches.direct_provenance(found.num):
                raise Refused(f"cannot start a commit on an output branch: {branch}")
            before = parent() if parent else self.head(branch)
            if before is not None and before.finishing is None:
                raise Refused(f"parent commit {before.commit} has not been finished")
            num = self._insert(
                branch,
                parent=before.num if before else None,
                origin=pfs_pb2.USER,
                description=description,
                base=self._base(before),
            )
            self._branches.move_head(self._branches.ensure(branch).num, num)
            return self.by_num(num).commit

    def start_output(self, branch: BranchRecord, heads: list[int]) -> CommitRecord:
        """Opens the commit that follows on a branch from new heads of what it depends on."""
        with self._store.write() as connection:
            num = self._insert(branch.branch, parent=branch.head, origin=pfs_pb2.AUTO, base=None)
            connection.executemany("INSERT INTO commit_provenance VALUES (?, ?)", [(num, head) for head in heads])
            connection.execute("UPDATE branches SET head = ? WHERE num = ?", (num, branch.num))
            return self.by_num(num)

    def add_empty(self, branch: Branch) -> int:
        """The finished commit of nothing that a branch without another head has; gives its number."""
        return self._insert(branch, origin=pfs_pb2.AUTO, is_finished=True)

    def _insert(
        self,
        branch: Branch,
        parent: int | None = None,
        origin: pfs_pb2.OriginKind = pfs_pb2.USER,
        description: str = "",
        base: Dir | None = EMPTY,
        is_finished: bool = False,
    ) -> int:
        moment = now()
        ended = moment if is_finished else None
        with self._store.write() as connection:
            repo = self._repos.num_of(branch.repo)
            num = connection.execute(
                "INSERT INTO commits (repo, id, branch, parent, origin, description, started, finishing, finished, tree, size)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    repo,
                    self._new_id(branch.repo),
                    branch.name,
                    parent,
                    origin,
                    description,
                    moment,
                    ended,
                    ended,
                    *(base or (None, 0)),
                ),
            ).lastrowid
            self._bulletin.tell(Topic.COMMITS)
        assert num is not None
        return num

    def _new_id(self, repo: Repo) -> str:
        """The id of this write's commit set, which a repo can have one commit in."""
        commit = Commit(repo, self._store.transaction.gathered(Gathered).commit_set)
        if self.exists(commit):
            raise Refused(
                f"inconsistent dependencies: cannot create commit from {commit};"
                f" repo ({repo.name}) already has a commit in this transaction"
            )
        return commit.id

    def exists(self, commit: Commit) -> bool:
        try:
            self.get(commit)
        except NotFound:
            return False
        return True

    def _base(self, parent: CommitRecord | None) -> Dir:
        """The tree that a child of a commit starts from: that of the nearest one without error."""
        found = self._nearest_good(parent)
        return self.readable(found).root if found is not None else EMPTY

    def _nearest_good(self, record: CommitRecord | None) -> CommitRecord | None:
        while record is not None and (record.error or self.conflicts(record)):
            record = self.parent(record)
        return record

    def written(self, record: CommitRecord) -> Dir:
        """The tree that changes of an open commit are made to: a job's output begins empty, any other where its base is."""
        if record.is_written or self.is_of_pipeline(record):
            return record.root
        return self.readable(record).root

    def readable(self, record: CommitRecord) -> CommitRecord:
        """A commit as who reads it sees it: the output of a job that goes on holds what its base does.

        Raises:
            Refused: it was forgotten, or its base is open.
        """
        if record.is_forgotten:
            raise Refused(f"the commit is forgotten: {record.commit}")
        if record.is_written and (record.finishing is not None or not self.is_of_pipeline(record)):
            return record
        base = self._nearest_good(self.parent(record))
        if base is not None and base.finishing is None:
            raise Refused(f"base commit {base.commit} for commit {record.commit} unfinished")
        return replace(record, root=self.readable(base).root if base is not None else EMPTY)

    def clear(self, commit: Commit) -> None:
        """Takes back all that was done to an open commit."""
        with self._store.write():
            record = self.get(commit)
            if record.finishing is not None:
                raise Refused("cannot clear finished commit")
            self.set_root(record, None if record.is_output else self._base(self.parent(record)), [])

    def open_commit(self, commit: Commit) -> CommitRecord:
        """A commit that can be written to.

        Raises:
            Refused: it is finished, or finishing.
        """
        record = self.get(commit)
        if record.finishing is not None:
            raise Refused(f"commit {commit} has already finished")
        return record

    def set_root(self, record: CommitRecord, root: Dir | None, conflicts: list[str] | None = None) -> None:
        """Makes a tree the content of an open commit, or nothing of its own; `conflicts` are its files that can't be."""
        with self._store.write() as connection:
            connection.execute(
                "UPDATE commits SET tree = ?, size = ? WHERE num = ?", (*(root or (None, 0)), record.num)
            )
            if conflicts is not None:
                values = (json.dumps(conflicts), record.num)
                connection.execute("UPDATE commits SET collisions = ? WHERE num = ?", values)

    def conflicts(self, record: CommitRecord) -> list[str]:
        """The files that several datums wrote, or that stand below another file."""
        with self._store.read() as connection:
            row = connection.execute("SELECT collisions FROM commits WHERE num = ?", (record.num,)).fetchone()
        found: list[str] = json.loads(row["collisions"])
        return found

    def finish(self, commit: Commit, error: str = "", description: str = "") -> None:
        """Closes a commit. It is finished once its parent is and its paths are checked."""
        with self._store.write() as connection:
            record = self.open_commit(commit)
            if not error and not record.is_written and self.is_of_pipeline(record):
                self.set_root(record, EMPTY)
            connection.execute(
                "UPDATE commits SET finishing = ?, error = ?, description = ? WHERE num = ?",
                (now(), error, description or record.description, record.num),
            )
            self._bulletin.tell(Topic.COMMITS)
            self._bulletin.tell(Topic.FINISHING)

    def finish_at_once(self, commit: Commit) -> None:
        """Closes a commit that nobody saw open: it began when it ended."""
        with self._store.write() as connection:
            self.finish(commit)
            values = (now(), self.get(commit).num)
            connection.execute("UPDATE commits SET started = ?1, finishing = ?1 WHERE num = ?2", values)

    def finishing(self) -> list[CommitRecord]:
        """The commits that are finishing and whose parents are finished."""
        with self._store.read() as connection:
            query = (
                f"{SELECT_COMMIT} LEFT JOIN commits p ON p.num = c.parent WHERE c.finishing IS NOT NULL AND c.finished IS NULL"
                " AND (p.num IS NULL OR p.finished IS NOT NULL) ORDER BY c.num"
            )
            return [commit_record(row) for row in connection.execute(query)]

    def set_finished(self, record: CommitRecord, problem: str) -> CommitRecord:
        """Ends a finishing commit, with an error where there is a problem with its files."""
        with self._store.write() as connection:
            if not record.is_written and not record.error:
                self.set_root(record, self.written(record))
            connection.execute(
                "UPDATE commits SET finished = ?, error = ?, refused = ? WHERE num = ?",
                (now(), record.error or problem, bool(problem) and not record.error, record.num),
            )
            self._bulletin.tell(Topic.COMMITS)
            finished = self.by_num(record.num)
            self._store.transaction.gathered(Gathered).finished.append(finished)
            self._free("?", record.num)
            return finished

    def _free(self, upstreams: str, value: int) -> None:
        """Takes note of what was made from some commits, which it need not wait for any more."""
        with self._store.read() as connection:
            query = f"SELECT commit_num FROM commit_provenance WHERE upstream IN ({upstreams})"
            freed = [row[0] for row in connection.execute(query, (value,))]
        self._store.transaction.gathered(Gathered).freed.update(freed)

    def forget(self, commit: Commit) -> None:
        """Drops the files of a commit that nothing goes on from, and keeps what is known of it."""
        with self._store.write() as connection:
            record = self.get(commit)
            if record.finished is None:
                raise Refused(f"only a finished commit can be forgotten: {commit}")
            if self._branches.headed_by(record.num):
                raise Refused(f"the branch head cannot be a forgotten commit: {commit}")
            for child in self.children(record):
                if child.finished is None or child.error:
                    raise Refused(f"commit {commit} cannot be forgotten: {child.commit}, open or failed, has its files")
            connection.execute("UPDATE commits SET tree = NULL, collisions = '[]' WHERE num = ?", (record.num,))

    def remove(self, record: CommitRecord) -> None:
        """Deletes a commit that is the head of no branch; its children become its parent's."""
        with self._store.write() as connection:
            connection.execute("UPDATE commits SET parent = ? WHERE parent = ?", (record.parent, record.num))
            connection.execute("DELETE FROM commits WHERE num = ?", (record.num,))
            self._store.transaction.gathered(Gathered).removed.append(record)
            self._bulletin.tell(Topic.COMMITS)

    def remove_all(self, repo: int) -> None:
        """Deletes the commits of a repo, and cuts them out of others' provenance."""
        with self._store.write() as connection:
            of_repo = "SELECT num FROM commits WHERE repo = ?"
            self._free(of_repo, repo)
            connection.execute(f"DELETE FROM commit_provenance WHERE upstream IN ({of_repo})", (repo,))
            connection.execute(f"UPDATE branches SET head = NULL WHERE head IN ({of_repo})", (repo,))
            connection.execute(f"UPDATE commits SET parent = NULL WHERE parent IN ({of_repo})", (repo,))
            connection.execute("DELETE FROM commits WHERE repo = ?", (repo,))
            self._bulletin.tell(Topic.COMMITS)
