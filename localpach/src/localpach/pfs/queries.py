"""Finding commits: by what a client calls them, in lists, and by waiting for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from localpach.errors import NotFound, Refused
from localpach.names import Branch, Commit, Repo, is_id, is_uuid4
from localpach.pfs.branches import Branches
from localpach.pfs.commits import Commits
from localpach.pfs.records import CommitRecord
from localpach.pfs.repos import Repos
from localpach.pfs.rows import SELECT_COMMIT, commit_record
from localpach.proto import pfs_pb2
from localpach.storage.store import Store
from localpach.waiting import Bulletin, Call, Topic

# More steps than any repo has commits.
MOST_DIGITS = 18
_ANCESTRY = re.compile(r"([^~^.]*)(?:([~^.])(.*))?", re.DOTALL)


class Page(NamedTuple):
    """Which commits of a repo to list."""

    since: CommitRecord | None = None
    until: CommitRecord | None = None
    number: int = 0
    reverse: bool = False
    origin: pfs_pb2.OriginKind = pfs_pb2.ORIGIN_KIND_UNKNOWN
    started_before: int | None = None


class CommitQueries:
    """Looks commits up; changes nothing."""

    def __init__(self, store: Store, bulletin: Bulletin, repos: Repos, branches: Branches, commits: Commits) -> None:
        self._store = store
        self._bulletin = bulletin
        self._repos = repos
        self._branches = branches
        self._commits = commits

    def resolve(self, repo: Repo, text: str, branch: str = "") -> CommitRecord:
        """The commit that a client means by an id, a branch, or the ancestry of either (`master^2`, `master.1`); `branch`
        is what it names beside an id."""
        name, sign, steps = _parse_ancestry(text)
        with self._store.read():
            record = self._named(repo, name, branch)
            return self._ancestor(record, sign, steps, Commit(repo, text)) if sign else record

    def _named(self, repo: Repo, name: str, branch: str) -> CommitRecord:
        if is_id(name):
            try:
                return self._commits.get(Commit(repo, name))
            except NotFound:
                provenance = self._provenance_of_set(repo, name)
                if provenance is not None:
                    return provenance
                if is_uuid4(name):
                    raise
        if branch:
            raise Refused(f"invalid commit ID given with a branch ({Branch(repo, branch)}): {name}\n")
        return self.head(Branch(repo, name))

    def head(self, branch: Branch) -> CommitRecord:
        """The newest commit of a branch."""
        head = self._branches.get(branch).head
        if head is None:
            raise NotFound(f'branch "{branch.name}" of repo {branch.repo} has no commit')
        return self._commits.by_num(head)

    def _provenance_of_set(self, repo: Repo, id: str) -> CommitRecord | None:
        """The commit of a repo that a commit set builds on without having one there itself."""
        with self._store.read() as connection:
            row = connection.execute(
                "WITH RECURSIVE up (num) AS (SELECT num FROM commits WHERE id = ? UNION"
                " SELECT p.upstream FROM up JOIN commit_provenance p ON p.commit_num = up.num)"
                f" {SELECT_COMMIT} JOIN up ON up.num = c.num WHERE r.project = ? AND r.name = ? AND r.type = ?",
                (id, *repo),
            ).fetchone()
        return commit_record(row) if row else None

    def _ancestor(self, record: CommitRecord, sign: str, steps: int, asked: Commit) -> CommitRecord:
        if sign == ".":
            line = [record, *self._commits.ancestors(record)]
            if not 1 <= steps <= len(line):
                raise NotFound(f"commit {asked} not found")
            return line[-steps]
        for _ in range(steps):
            before = self._commits.parent(record)
            if before is None:
                raise NotFound(f"commit {asked} not found")
            record = before
        return record

    def wait(self, commit: Commit, state: pfs_pb2.CommitState, call: Call | None) -> CommitRecord:
        """Blocks until a commit has reached a state; Refused when it is deleted meanwhile."""

        def reached() -> CommitRecord | None:
            try:
                record = self._commits.get(commit)
            except NotFound as error:
                raise Refused(f"commit {commit} was deleted") from error
            return record if self.has_reached(record, state) else None

        record = self._bulletin.wait(Topic.COMMITS, reached, call)
        assert record is not None
        return record

    def has_reached(self, record: CommitRecord, state: pfs_pb2.CommitState) -> bool:
        if state == pfs_pb2.FINISHED:
            return record.finished is not None
        if state == pfs_pb2.FINISHING:
            return record.finishing is not None
        if state == pfs_pb2.READY:
            return all(upstream.finished is not None for upstream in self._commits.provenance(record))
        return True

    def page(self, repo: Repo | None, page: Page) -> Iterator[CommitRecord]:
        """Commits of a repo, or of all, newest first; with `until` its line of ancestors down to `since`, that one left
        out."""
        with self._store.read() as connection:
            nums = [row["num"] for row in connection.execute(*self._listing(repo, page))]
        for num in nums:
            try:
                yield self._commits.by_num(num)
            except NotFound:
                # It was deleted since.
                continue

    def _listing(self, repo: Repo | None, page: Page) -> tuple[str, list[object]]:
        query = "SELECT num FROM commits WHERE 1"
        values: list[object] = []
        if page.until is not None:
            query += (
                " AND num IN (WITH RECURSIVE line (num) AS (SELECT ? UNION ALL"
                " SELECT c.parent FROM line JOIN commits c ON c.num = line.num WHERE c.parent IS NOT NULL) SELECT num FROM line)"
            )
            values.append(page.until.num)
        for condition, value in (
            ("repo = ?", self._repos.num_of(repo) if repo else None),
            ("num > ?", page.since.num if page.since else None),
            ("origin = ?", page.origin or None),
            ("started < ?", page.started_before),
        ):
            if value is not None:
                query += f" AND {condition}"
                values.append(value)
        query += f" ORDER BY num {'ASC' if page.reverse else 'DESC'} LIMIT ?"
        return query, [*values, page.number or -1]

    def subscribe(
        self, repo: Repo, branch: str, start: int, origin: pfs_pb2.OriginKind, call: Call | None
    ) -> Iterator[CommitRecord]:
        """Commits made on a branch after row number `start`, oldest first, for ever; the repo need not exist yet."""

        def next_commit() -> CommitRecord | None:
            with self._store.read() as connection:
                row = connection.execute(
                    f"{SELECT_COMMIT} WHERE r.project = ? AND r.name = ? AND r.type = ? AND c.num > ?"
                    " AND (c.branch = ? OR ? = '') AND (c.origin = ? OR ? = 0) ORDER BY c.num LIMIT 1",
                    (*repo, start, branch, branch, origin, origin),
                ).fetchone()
            return commit_record(row) if row else None

        while True:
            record = self._bulletin.wait(Topic.COMMITS, next_commit, call)
            assert record is not None
            start = record.num
            yield record


def _parse_ancestry(text: str) -> tuple[str, str, int]:
    """Name, sign and steps of `master^2`, `master^^`, `master~2` (back from it) or `master.2` (from the first one on)."""
    match = _ANCESTRY.fullmatch(text)
    assert match is not None
    name, sign, rest = match[1], match[2] or "", match[3] or ""
    if rest.isdecimal() and len(rest) <= MOST_DIGITS:
        return name, sign, int(rest)
    other = next((character for character in rest if character != sign), None)
    if other is not None:
        raise Refused(f'invalid ancestry syntax "{text}", cannot mix {sign} and {other} characters')
    return name, sign, len(rest) + 1
