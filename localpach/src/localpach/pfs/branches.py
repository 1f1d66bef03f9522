"""Branches: heads, provenance, and the commits that provenance calls for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from localpach.errors import LocalpachError, Refused
from localpach.names import USER, Branch, Commit, Repo, check_branch_name
from localpach.pfs import triggers
from localpach.pfs.base import ORIGIN_AUTO, CommitRecord, now
from localpach.pfs.repos import Repos
from localpach.proto import pfs_pb2
from localpach.storage.store import Store, Transaction


class Branches(Repos):
    """Branches of all repos."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.new_commit_hooks: list[Callable[[Commit], None]] = []
        store.before_commit.append(self._propagate)

    def create_branch(
        self,
        branch: Branch,
        head: Commit | None = None,
        provenance: Iterable[Branch] = (),
        trigger: pfs_pb2.Trigger | None = None,
    ) -> None:
        """Makes or changes a branch: moves its head, and makes `provenance` all that it directly depends on.

        Branches of the provenance that are missing are made. A branch without head gets an empty, finished one.
        """
        provenance = list(provenance)
        with self.store.write() as connection:
            repo = self._repo_num(branch.repo)
            check_branch_name(branch.name)
            for upstream in provenance:
                self._ensure_branch(branch, upstream)
            if trigger is not None:
                self._check_trigger(branch, trigger)
                if provenance:
                    raise Refused("a branch cannot have both provenance and a trigger")
            head_num = self._head_num(head) if head else None
            num = self._branch_num(branch, repo)
            self._set_provenance(num, branch, [self._branch_row(upstream)["num"] for upstream in provenance])
            if trigger is not None:
                connection.execute("UPDATE branches SET trigger = ? WHERE num = ?", (trigger.SerializeToString(), num))
            if head_num:
                self._move_head(num, head_num)
            elif not provenance and self._branch_row(branch)["head"] is None:
                self._move_head(num, self._empty_head(repo, branch))
            self.store.transaction.touched.add(num)

    def _ensure_branch(self, branch: Branch, upstream: Branch) -> None:
        if upstream.repo == branch.repo:
            raise Refused(f"repo {branch.repo} cannot be in the provenance of its own branch")
        if self._find_branch(upstream) is None:
            self.create_branch(upstream)

    def _check_trigger(self, branch: Branch, trigger: pfs_pb2.Trigger) -> None:
        triggers.check(trigger)
        seen = {branch.name}
        following: str | None = trigger.branch
        while following:
            if following in seen:
                raise Refused("triggers cannot form a loop")
            seen.add(following)
            row = self._find_branch(Branch(branch.repo, following))
            following = pfs_pb2.Trigger.FromString(row["trigger"]).branch if row and row["trigger"] else None

    def _head_num(self, head: Commit) -> int:
        try:
            return self._commit_row(head)["num"]
        except LocalpachError as error:
            raise type(error)(f"unable to inspect {head}: {error.message}") from error

    def _branch_num(self, branch: Branch, repo: int) -> int:
        row = self._find_branch(branch)
        if row is not None:
            return row["num"]
        with self.store.write() as connection:
            num = connection.execute("INSERT INTO branches (repo, name) VALUES (?, ?)", (repo, branch.name)).lastrowid
        assert num is not None
        return num

    def _set_provenance(self, num: int, branch: Branch, upstreams: list[int]) -> None:
        below = self._closure([num], downstream=True)
        for upstream in upstreams:
            if upstream in below:
                raise Refused(
                    f'branch "{self._branch_of(upstream)}" cannot be both in "{branch}"\'s provenance and subvenance'
                )
        with self.store.write() as connection:
            self.store.transaction.reordered.add(num)
            connection.execute("DELETE FROM branch_provenance WHERE branch = ?", (num,))
            rows = [(num, upstream) for upstream in dict.fromkeys(upstreams)]
            connection.executemany("INSERT INTO branch_provenance VALUES (?, ?)", rows)

    def _move_head(self, branch: int, commit: int | None) -> None:
        with self.store.write() as connection:
            connection.execute("UPDATE branches SET head = ? WHERE num = ?", (commit, branch))
            self.store.transaction.touched.add(branch)

    def _empty_head(self, repo: int, branch: Branch) -> int:
        moment = now()
        with self.store.write() as connection:
            num = connection.execute(
                "INSERT INTO commits (repo, id, branch, origin, description, started, finishing, finished)"
                " VALUES (?, ?, ?, ?, '', ?, ?, ?)",
                (repo, self._set_id(repo), branch.name, ORIGIN_AUTO, moment, moment, moment),
            ).lastrowid
        assert num is not None
        return num

    def _set_id(self, repo: int) -> str:
        """The id of this transaction's commit set, which a repo can have one commit in."""
        commit_set = self.store.transaction.commit_set
        with self.store.read() as connection:
            taken = connection.execute("SELECT 1 FROM commits WHERE repo = ? AND id = ?", (repo, commit_set)).fetchone()
        if taken:
            name = self._repo_of(repo)
            raise Refused(
                f"inconsistent dependencies: cannot create commit from {Commit(name, commit_set)};"
                f" repo ({name.name}) already has a commit in this transaction"
            )
        return commit_set

    def _closure(self, branches: Iterable[int], downstream: bool) -> set[int]:
        """All branches up or down the provenance of some, without these themselves."""
        start, end = ("upstream", "branch") if downstream else ("branch", "upstream")
        with self.store.read() as connection:
            found: set[int] = set()
            frontier = list(branches)
            while frontier:
                query = f"SELECT {end} FROM branch_provenance WHERE {start} = ?"
                rows = [row[0] for row in connection.execute(query, (frontier.pop(),))]
                frontier += [num for num in rows if num not in found]
                found.update(rows)
            return found

    def _check_graph(self, branches: Iterable[int]) -> None:
        """Refuses two branches of one repo that provenance connects: a commit set has one commit in a repo."""
        with self.store.read() as connection:
            for start in branches:
                repo = connection.execute(
                    "WITH RECURSIVE near (num) AS (SELECT ? UNION"
                    " SELECT p.upstream FROM near JOIN branch_provenance p ON p.branch = near.num UNION"
                    " SELECT p.branch FROM near JOIN branch_provenance p ON p.upstream = near.num)"
                    " SELECT b.repo FROM near JOIN branches b USING (num) GROUP BY b.repo HAVING count(*) > 1",
                    (start,),
                ).fetchone()
                if repo:
                    name = self._repo_of(repo[0])
                    raise Refused(
                        "validate DAG at end of transaction:"
                        f' multiple branches from the same repo, "{name}", cannot participate in a DAG'
                    )

    def _propagate(self, transaction: Transaction) -> None:
        """Gives every branch downstream of what was touched a commit on the new heads, in one commit set."""
        self._check_graph(transaction.reordered)
        while transaction.touched:
            touched = set(transaction.touched)
            transaction.touched.clear()
            affected = touched | self._closure(touched, downstream=True)
            for branch in sorted(affected, key=lambda num: (len(self._closure([num], downstream=False)), num)):
                self._follow(branch)

    def _follow(self, branch: int) -> None:
        with self.store.write() as connection:
            row = connection.execute("SELECT * FROM branches WHERE num = ?", (branch,)).fetchone()
            heads = connection.execute(
                "SELECT b.head, b.num FROM branch_provenance p JOIN branches b ON b.num = p.upstream WHERE p.branch = ?"
                " ORDER BY p.rowid",
                (branch,),
            ).fetchall()
            if row is None or not heads:
                return
            # The first commit names its provenance in the order in which the branch was given it, later ones by name.
            if branch not in self.store.transaction.reordered:
                heads.sort(key=lambda head: str(self._branch_of(head["num"])))
            wanted = {head["head"]: None for head in heads if head["head"]}
            query = "SELECT upstream FROM commit_provenance WHERE commit_num = ?"
            if row["head"] and wanted.keys() == {up["upstream"] for up in connection.execute(query, (row["head"],))}:
                return
            num = connection.execute(
                "INSERT INTO commits (repo, id, branch, parent, origin, description, started)"
                " VALUES (?, ?, ?, ?, ?, '', ?)",
                (row["repo"], self._set_id(row["repo"]), row["name"], row["head"], ORIGIN_AUTO, now()),
            ).lastrowid
            assert num is not None
            connection.executemany("INSERT INTO commit_provenance VALUES (?, ?)", [(num, up) for up in wanted])
            connection.execute("UPDATE branches SET head = ? WHERE num = ?", (num, branch))
            commit = self._record(num).commit
            if commit.repo.type == USER and self._has_spec(branch):
                for hook in self.new_commit_hooks:
                    hook(commit)

    def branch_exists(self, branch: Branch) -> bool:
        return self._find_branch(branch) is not None

    def branch_head(self, branch: Branch) -> Commit | None:
        row = self._branch_row(branch)
        return self._record(row["head"]).commit if row["head"] else None

    def branch_provenance(self, branch: Branch) -> list[Branch]:
        """What it directly depends on."""
        return self._names(self._direct(self._branch_row(branch)["num"]))

    def _direct(self, num: int) -> list[int]:
        with self.store.read() as connection:
            query = "SELECT upstream FROM branch_provenance WHERE branch = ? ORDER BY rowid"
            return [row["upstream"] for row in connection.execute(query, (num,))]

    def _names(self, nums: Iterable[int]) -> list[Branch]:
        return sorted((self._branch_of(num) for num in nums), key=str)

    def branch_info(self, branch: Branch) -> pfs_pb2.BranchInfo:
        with self.store.read():
            row = self._branch_row(branch)
            num = row["num"]
            info = pfs_pb2.BranchInfo(
                branch=branch.to_proto(),
                provenance=[each.to_proto() for each in self._names(self._closure([num], downstream=False))],
                subvenance=[each.to_proto() for each in self._names(self._closure([num], downstream=True))],
                direct_provenance=[each.to_proto() for each in self._names(self._direct(num))],
            )
            if row["head"]:
                record = self._record(row["head"])
                info.head.CopyFrom(record.commit.to_proto(record.branch))
            if row["trigger"]:
                info.trigger.ParseFromString(row["trigger"])
            return info

    def branch_infos(self, repo: Repo | None, reverse: bool = False) -> list[pfs_pb2.BranchInfo]:
        """Newest first; those of all repos where none is named."""
        with self.store.read() as connection:
            num = self._repo_num(repo) if repo else None
            query = "SELECT num FROM branches WHERE repo = ? OR ? IS NULL ORDER BY num DESC"
            rows = connection.execute(query, (num, num)).fetchall()
            infos = [self.branch_info(self._branch_of(row["num"])) for row in rows]
        return infos[::-1] if reverse else infos


def commit_proto(record: CommitRecord) -> pfs_pb2.Commit:
    """How a commit is named in answers."""
    return record.commit.to_proto(record.branch)
