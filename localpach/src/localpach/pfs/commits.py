"""Commits: started, finishing, finished; how they are found and listed."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration

from localpach.errors import NotFound, Refused
from localpach.names import Branch, Commit, Repo, check_branch_name, is_id
from localpach.pfs import triggers
from localpach.pfs.base import ORIGIN_USER, CommitRecord, now, timestamp
from localpach.pfs.branches import Branches, commit_proto
from localpach.proto import pfs_pb2
from localpach.storage.store import CallContext, Store
from localpach.storage.trees import EMPTY, Dir

_ANCESTRY = re.compile(r"([^~^.]*)(?:([~^.])(.*))?", re.DOTALL)
_UUID4 = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")


class Page(NamedTuple):
    """Which commits of a repo to list."""

    since: CommitRecord | None = None
    until: CommitRecord | None = None
    number: int = 0
    reverse: bool = False
    origin: int = 0
    started_before: int | None = None


class Commits(Branches):
    """Commits of all repos."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.finished_hooks: list[Callable[[Commit], None]] = []

    def start_commit(self, branch: Branch, description: str = "", parent: Commit | None = None) -> Commit:
        """Opens a commit on a branch, which is made if need be; output branches get theirs from provenance."""
        if not branch.name:
            raise Refused("branch must be specified")
        with self.store.write() as connection:
            repo = self._repo_num(branch.repo)
            check_branch_name(branch.name)
            row = self._find_branch(branch)
            if row is not None and self._direct(row["num"]):
                raise Refused(f"cannot start a commit on an output branch: {branch}")
            head = self._commit_row(parent)["num"] if parent else row["head"] if row is not None else None
            base = EMPTY
            if head:
                before = self._record(head)
                if before.finishing is None:
                    raise Refused(f"parent commit {before.commit} has not been finished")
                base = self._base(head)
            commit = Commit(branch.repo, self._set_id(repo))
            num = connection.execute(
                "INSERT INTO commits (repo, id, branch, parent, origin, description, started, tree, size)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (repo, commit.id, branch.name, head, ORIGIN_USER, description, now(), base.key, base.size),
            ).lastrowid
            assert num is not None
            self._move_head(self._branch_num(branch, repo), num)
            return commit

    def _base(self, num: int | None) -> Dir:
        """The tree that a child of a commit starts from: that of the nearest one without error."""
        while num:
            with self.store.read() as connection:
                row = connection.execute("SELECT * FROM commits WHERE num = ?", (num,)).fetchone()
            if not row["error"] and row["collisions"] == "[]":
                return Dir(row["tree"], row["size"]) if row["tree"] else EMPTY
            num = row["parent"]
        return EMPTY

    def clear_commit(self, commit: Commit) -> None:
        """Takes back all that was done to an open commit."""
        with self.store.write() as connection:
            record = self.commit_info(commit)
            if record.finishing is not None:
                raise Refused("cannot clear finished commit")
            base = EMPTY if record.is_output else self._base(record.parent)
            connection.execute(
                "UPDATE commits SET tree = ?, size = ?, collisions = '[]' WHERE num = ?", (*base, record.num)
            )

    def finish_commit(self, commit: Commit, error: str = "", description: str = "") -> None:
        """Closes a commit. It is finished once its parent is and its paths are checked."""
        with self.store.write() as connection:
            record = self.commit_info(commit)
            if record.finishing is not None:
                raise Refused(f"commit {commit} has already finished")
            connection.execute(
                "UPDATE commits SET finishing = ?, error = ?, description = ? WHERE num = ?",
                (now(), error, description or record.description, record.num),
            )

    def commit_info(self, commit: Commit) -> CommitRecord:
        return self._record(self._commit_row(commit)["num"])

    def head_record(self, branch: Branch) -> CommitRecord | None:
        """The newest commit of a branch, or None."""
        row = self._find_branch(branch)
        return self._record(row["head"]) if row is not None and row["head"] else None

    def resolve(self, proto: pfs_pb2.Commit) -> CommitRecord:
        """The commit that a client means: by id, by branch, or by ancestry of either (`master^2`, `master.1`)."""
        if not proto.HasField("repo") and not proto.branch.HasField("repo"):
            raise Refused("cannot resolve commit with no repo")
        repo = Repo.of(proto.repo if proto.HasField("repo") else proto.branch.repo)
        branch = proto.branch.name
        if not proto.id and not branch:
            raise Refused("cannot resolve commit with no ID or branch")
        text = proto.id or branch
        name, sign, steps = _parse_ancestry(text)
        with self.store.read():
            record = self._named(repo, name, branch if proto.id else "")
            return self._ancestor(record, sign, steps, Commit(repo, text)) if sign else record

    def _named(self, repo: Repo, name: str, branch: str) -> CommitRecord:
        if is_id(name):
            try:
                return self.commit_info(Commit(repo, name))
            except NotFound:
                provenance = self._provenance_of_set(repo, name)
                if provenance is not None:
                    return provenance
                if _UUID4.fullmatch(name):
                    raise
        if branch:
            raise Refused(f"invalid commit ID given with a branch ({Branch(repo, branch)}): {name}\n")
        head = self._branch_row(Branch(repo, name))["head"]
        if head is None:
            raise NotFound(f'branch "{name}" of repo {repo} has no commit')
        return self._record(head)

    def _provenance_of_set(self, repo: Repo, id: str) -> CommitRecord | None:
        """The commit of a repo that a commit set builds on without having one there itself."""
        with self.store.read() as connection:
            row = connection.execute(
                "WITH RECURSIVE up (num) AS (SELECT num FROM commits WHERE id = ? UNION"
                " SELECT p.upstream FROM up JOIN commit_provenance p ON p.commit_num = up.num)"
                " SELECT c.num FROM up JOIN commits c ON c.num = up.num JOIN repos r ON r.num = c.repo"
                " WHERE r.project = ? AND r.name = ? AND r.type = ?",
                (id, *repo),
            ).fetchone()
        return self._record(row["num"]) if row else None

    def _ancestor(self, record: CommitRecord, sign: str, steps: int, asked: Commit) -> CommitRecord:
        if sign == ".":
            line = [record, *self._ancestors(record)]
            if not 1 <= steps <= len(line):
                raise NotFound(f"commit {asked} not found")
            return line[-steps]
        for _ in range(steps):
            if record.parent is None:
                raise NotFound(f"commit {asked} not found")
            record = self._record(record.parent)
        return record

    def _ancestors(self, record: CommitRecord) -> Iterator[CommitRecord]:
        while record.parent is not None:
            record = self._record(record.parent)
            yield record

    def wait_for_commit(self, commit: Commit, state: int, context: CallContext | None) -> CommitRecord:
        """Blocks until a commit has reached a `CommitState`; Refused when it is deleted meanwhile."""

        def reached() -> CommitRecord | None:
            try:
                record = self.commit_info(commit)
            except NotFound as error:
                raise Refused(f"commit {commit} was deleted") from error
            return record if self.has_reached(record, state) else None

        record = self.store.wait_for(reached, context)
        assert record is not None
        return record

    def has_reached(self, record: CommitRecord, state: int) -> bool:
        if state == pfs_pb2.FINISHED:
            return record.finished is not None
        if state == pfs_pb2.FINISHING:
            return record.finishing is not None
        if state == pfs_pb2.READY:
            return all(self._record(num).finished is not None for num in self._provenance(record.num))
        return True

    def _provenance(self, num: int) -> list[int]:
        with self.store.read() as connection:
            query = "SELECT upstream FROM commit_provenance WHERE commit_num = ? ORDER BY rowid"
            return [row["upstream"] for row in connection.execute(query, (num,))]

    def direct_provenance(self, record: CommitRecord) -> list[CommitRecord]:
        """The commits that a commit was made from."""
        return [self._record(num) for num in self._provenance(record.num)]

    def list_commits(self, repo: Repo, page: Page) -> Iterator[CommitRecord]:
        """Commits of a repo, newest first; with `until` its line of ancestors down to `since`, that one left out.
        A repo without name means all of them."""
        query = "SELECT num FROM commits WHERE repo = ?" if repo.name else "SELECT num FROM commits WHERE 1"
        values: list[object] = [self._repo_num(repo)] if repo.name else []
        if page.until is not None:
            query += (
                " AND num IN (WITH RECURSIVE line (num) AS (SELECT ? UNION ALL"
                " SELECT c.parent FROM line JOIN commits c ON c.num = line.num WHERE c.parent IS NOT NULL) SELECT num FROM line)"
            )
            values.append(page.until.num)
        for condition, value in (
            ("num > ?", page.since.num if page.since else None),
            ("origin = ?", page.origin or None),
            ("started < ?", page.started_before),
        ):
            if value is not None:
                query += f" AND {condition}"
                values.append(value)
        query += f" ORDER BY num {'ASC' if page.reverse else 'DESC'} LIMIT ?"
        values.append(page.number or -1)
        with self.store.read() as connection:
            nums = [row["num"] for row in connection.execute(query, values)]
        for num in nums:
            try:
                yield self._record(num)
            except NotFound:
                # It was deleted since.
                continue

    def subscribe(
        self, repo: Repo, branch: str, start: int, origin: int, context: CallContext | None
    ) -> Iterator[CommitRecord]:
        """Commits made on a branch after row number `start`, oldest first, for ever; the repo need not exist yet."""
        while True:
            last = start

            def next_commit(last: int = last) -> CommitRecord | None:
                with self.store.read() as connection:
                    row = connection.execute(
                        "SELECT c.num FROM commits c JOIN repos r ON r.num = c.repo"
                        " WHERE r.project = ? AND r.name = ? AND r.type = ? AND c.num > ?"
                        " AND (c.branch = ? OR ? = '') AND (c.origin = ? OR ? = 0) ORDER BY c.num LIMIT 1",
                        (*repo, last, branch, branch, origin, origin),
                    ).fetchone()
                return self._record(row["num"]) if row else None

            record = self.store.wait_for(next_commit, context)
            assert record is not None
            start = record.num
            yield record

    def parent(self, record: CommitRecord) -> CommitRecord | None:
        return self._record(record.parent) if record.parent else None

    def info_proto(self, record: CommitRecord) -> pfs_pb2.CommitInfo:
        """The answer for one commit."""
        with self.store.read() as connection:
            children = connection.execute("SELECT num FROM commits WHERE parent = ? ORDER BY num", (record.num,))
            info = pfs_pb2.CommitInfo(
                commit=commit_proto(record),
                origin=pfs_pb2.CommitOrigin(kind=record.origin),
                description=record.description,
                parent_commit=commit_proto(self._record(record.parent)) if record.parent else None,
                child_commits=[commit_proto(self._record(row["num"])) for row in children.fetchall()],
                started=timestamp(record.started),
                finishing=timestamp(record.finishing),
                finished=timestamp(record.finished),
                direct_provenance=[commit_proto(each) for each in self.direct_provenance(record)],
                error=record.error if record.finished is not None else "",
            )
        if record.finished is None:
            if not record.is_output:
                info.details.SetInParent()
        elif not record.error or record.refused:
            info.size_bytes_upper_bound = record.root.size
            info.details.size_bytes = record.root.size
            if record.finished != record.started:
                took = Duration(nanos=max(record.finished - (record.finishing or 0), 1) * 1000 % 1_000_000_000)
                info.details.compacting_time.CopyFrom(took)
                info.details.validating_time.CopyFrom(took)
        return info

    def finish_ready(self) -> bool:
        """Finishes what is finishing and whose parent is finished; says whether there was any."""
        with self.store.write() as connection:
            rows = connection.execute(
                "SELECT c.* FROM commits c LEFT JOIN commits p ON p.num = c.parent"
                " WHERE c.finishing IS NOT NULL AND c.finished IS NULL AND (p.num IS NULL OR p.finished IS NOT NULL)"
                " ORDER BY c.num"
            ).fetchall()
            for row in rows:
                self._finish(connection, row)
            return bool(rows)

    def _finish(self, connection: sqlite3.Connection, row: sqlite3.Row) -> None:
        collisions = json.loads(row["collisions"])
        error, refused = row["error"], False
        if collisions and not error:
            error, refused = f"file / directory path collision ({collisions[0]})", True
        connection.execute(
            "UPDATE commits SET finished = ?, error = ?, refused = ? WHERE num = ?", (now(), error, refused, row["num"])
        )
        record = self._record(row["num"])
        self._fire_triggers(record)
        for hook in self.finished_hooks:
            hook(record.commit)

    def _fire_triggers(self, record: CommitRecord) -> None:
        """Moves the heads of branches that trigger on the commit's branch, and of those that trigger on these."""
        with self.store.read() as connection:
            query = (
                "SELECT * FROM branches WHERE trigger IS NOT NULL AND repo = (SELECT repo FROM commits WHERE num = ?)"
            )
            waiting = {row["num"]: row for row in connection.execute(query, (record.num,))}
        moved = [record.branch]
        while moved:
            source = moved.pop()
            for num, row in list(waiting.items()):
                trigger = pfs_pb2.Trigger.FromString(row["trigger"])
                if trigger.branch == source and self._is_due(trigger, row, record):
                    del waiting[num]
                    self._move_head(num, record.num)
                    moved.append(row["name"])

    def _is_due(self, trigger: pfs_pb2.Trigger, row: sqlite3.Row, record: CommitRecord) -> bool:
        head = self._record(row["head"]) if row["head"] else None
        line = [record, *self._ancestors(record)]
        between = 0
        while between < len(line) and (head is None or line[between].num != head.num):
            between += 1
        if head is not None and between == 0:
            return False
        size = record.root.size - (head.root.size if head else 0)
        return triggers.fires(trigger, size, between, head.started if head else 0, record.started)


def _parse_ancestry(text: str) -> tuple[str, str, int]:
    """Name, sign and steps of `master^2`, `master^^`, `master~2` (back from it) or `master.2` (from the first one on)."""
    match = _ANCESTRY.fullmatch(text)
    assert match is not None
    name, sign, rest = match[1], match[2] or "", match[3] or ""
    if rest.isdecimal():
        return name, sign, int(rest)
    other = next((character for character in rest if character != sign), None)
    if other is not None:
        raise Refused(f'invalid ancestry syntax "{text}", cannot mix {sign} and {other} characters')
    return name, sign, len(rest) + 1
