"""What PFS promises of branches and commits, in dictionaries: slow, and simple enough to be believed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

Key = tuple[str, str]  # of a branch: its repo and name
Tree = dict[str, bytes]


class Refusal(Exception):
    """The model refuses, with a part of the sentence."""


@dataclass(eq=False)
class Commit:
    """A commit; all commits of one write have one `set`."""

    repo: str
    branch: str
    set: int
    parent: Commit | None
    upstreams: list[Commit] = field(default_factory=list)
    tree: Tree | None = None  # nothing of its own yet
    is_open: bool = True
    is_settled: bool = False
    is_auto: bool = False
    error: str = ""
    number: int = 0

    def __repr__(self) -> str:
        return f"{self.repo}@{self.branch}"


@dataclass(eq=False)
class Branch:
    repo: str
    name: str
    head: Commit | None = None
    upstreams: list[Branch] = field(default_factory=list)


class Model:
    """Repos, branches and commits, and how writes change them; a write that is refused may leave a part behind."""

    def __init__(self) -> None:
        self.repos: set[str] = set()
        self.branches: dict[Key, Branch] = {}
        self.commits: list[Commit] = []
        self._sets = itertools.count()

    # What is there.

    def subvenance(self, branch: Branch) -> list[Branch]:
        return [each for each in self.branches.values() if branch in self.provenance(each)]

    def provenance(self, branch: Branch) -> list[Branch]:
        """Everything upstream of a branch."""
        found: list[Branch] = []
        for upstream in branch.upstreams:
            found += [each for each in (upstream, *self.provenance(upstream)) if each not in found]
        return found

    def children(self, commit: Commit) -> list[Commit]:
        return [each for each in self.commits if each.parent is commit]

    def of_set(self, set: int) -> list[Commit]:
        return [each for each in self.commits if each.set is set]

    def readable(self, commit: Commit) -> Tree:
        """What a commit holds; where nothing was written to it that is what the nearest good one before it does."""
        if commit.tree is not None:
            return dict(commit.tree)
        base = self._nearest_good(commit.parent)
        if base is not None and base.is_open:
            raise Refusal("unfinished")
        return self._base(base)

    def _base(self, parent: Commit | None) -> Tree:
        base = self._nearest_good(parent)
        return self.readable(base) if base is not None else {}

    def _nearest_good(self, commit: Commit | None) -> Commit | None:
        while commit is not None and commit.error:
            commit = commit.parent
        return commit

    def settle(self) -> None:
        """Finishes what can be: each commit after its parent."""
        for commit in sorted(self.commits, key=lambda each: each.number):
            if not commit.is_open and (commit.parent is None or commit.parent.is_settled):
                if not commit.is_settled and not commit.error:
                    commit.tree = self.readable(commit)
                commit.is_settled = True

    # Writes.

    def start(self, key: Key, parent: Commit | None = None) -> Commit:
        branch = self.branches.get(key)
        if branch is not None and branch.upstreams:
            raise Refusal("cannot start a commit on an output branch")
        before = parent or (branch.head if branch else None)
        if before is not None and before.is_open:
            raise Refusal("has not been finished")
        commit = Commit(*key, set=next(self._sets), parent=before, tree=self._base(before))
        self._add(commit)
        branch = self.branches.setdefault(key, Branch(*key))
        branch.head = commit
        self._propagate([branch], commit.set)
        return commit

    def finish(self, commit: Commit, error: str) -> None:
        if not commit.is_open:
            raise Refusal("has already finished")
        commit.is_open, commit.error = False, error

    def clear(self, commit: Commit) -> None:
        if not commit.is_open:
            raise Refusal("cannot clear finished commit")
        commit.tree = None if commit.is_auto else self._base(commit.parent)

    def create_branch(self, key: Key, head: Commit | None, upstreams: list[Key]) -> None:
        if any(repo == key[0] for repo, _ in upstreams):
            raise Refusal("cannot be in the provenance of its own branch")
        here = self.branches.get(key)
        there = [self.branches[each] for each in upstreams if each in self.branches]
        if here is not None and any(here in self.provenance(each) for each in there):
            raise Refusal("provenance and subvenance")
        set = next(self._sets)
        touched = [self._make(each, set) for each in upstreams if each not in self.branches]
        self._check_graph(key, upstreams)
        branch = self.branches.setdefault(key, Branch(*key))
        before = branch.upstreams
        branch.upstreams = [self.branches[each] for each in upstreams]
        if head is not None:
            touched.append(branch)
        is_changed = bool(upstreams) and {*branch.upstreams} != {*before}
        if is_changed or (branch.head is None and head is None):
            branch.head = head or branch.head
            touched.append(branch)
            if upstreams:
                self._follow(branch, set)
            else:
                self._add_empty(branch, set)
        branch.head = head if head is not None and not is_changed else branch.head
        self._propagate(touched, set)

    def _check_graph(self, key: Key, upstreams: list[Key]) -> None:
        """No two branches of a repo may be connected."""
        edges = {each: [(up.repo, up.name) for up in branch.upstreams] for each, branch in self.branches.items()}
        edges[key] = upstreams
        near, before = {key}, set[Key]()
        while near != before:
            before = set(near)
            near |= {up for each in before for up in edges.get(each, [])}
            near |= {each for each, ups in edges.items() if before.intersection(ups)}
        repos = [repo for repo, _ in near]
        if len(repos) != len(set(repos)):
            raise Refusal("multiple branches from the same repo")

    def _make(self, key: Key, set: int) -> Branch:
        branch = self.branches[key] = Branch(*key)
        self._add_empty(branch, set)
        return branch

    def _add_empty(self, branch: Branch, set: int) -> Commit:
        branch.head = Commit(branch.repo, branch.name, set, None, tree={}, is_open=False, is_auto=True, is_settled=True)
        self._add(branch.head)
        return branch.head

    def _add(self, commit: Commit) -> None:
        if any(each.repo == commit.repo for each in self.of_set(commit.set)):
            raise Refusal("already has a commit in this transaction")
        commit.number = next(self._sets)
        self.commits.append(commit)

    def _follow(self, branch: Branch, set: int) -> None:
        heads = [up.head for up in branch.upstreams if up.head is not None]
        branch.head = Commit(branch.repo, branch.name, set, branch.head, heads, is_auto=True)
        self._add(branch.head)

    def _propagate(self, touched: list[Branch], set: int) -> None:
        below = [each for each in self.branches.values() if any(up in touched for up in self.provenance(each))]
        for branch in sorted(below, key=lambda each: len(self.provenance(each))):
            if branch.head is None or branch.head.set != set:
                self._follow(branch, set)

    def delete_branch(self, key: Key, force: bool) -> None:
        branch = self.branches.get(key)
        if branch is None:
            return
        below = self.subvenance(branch)
        if below and not force:
            raise Refusal("as subvenance, deleting it would break those branches")
        for each in below:
            each.upstreams = [up for up in each.upstreams if up is not branch]
        del self.branches[key]

    def squash(self, set: int) -> None:
        commits = self._removable(set)
        if not all(self.children(each) for each in commits):
            raise Refusal("cannot squash a commit that has no children")
        self._remove(commits)

    def drop(self, set: int) -> None:
        commits = self._removable(set)
        if any(self.children(each) for each in commits):
            raise Refusal("cannot drop a commit that has children")
        self._remove(commits)

    def _removable(self, set: int) -> list[Commit]:
        commits = self.of_set(set)
        if any(up in commits and each not in commits for each in self.commits for up in each.upstreams):
            raise Refusal("cannot be dropped because it has subvenant commit sets")
        return commits

    def _remove(self, commits: list[Commit]) -> None:
        set = next(self._sets)
        for commit in sorted(commits, key=lambda each: each.number):
            headless = [branch for branch in self.branches.values() if branch.head is commit]
            for branch in headless:
                branch.head = commit.parent
            if headless and commit.parent is None:
                if headless[0].upstreams:
                    self._follow(headless[0], set)
                else:
                    self._add_empty(headless[0], set)
            for branch in headless:
                branch.head = headless[0].head
        for commit in commits:
            for child in self.children(commit):
                child.parent = commit.parent
        self.commits = [each for each in self.commits if each not in commits]

    def delete_repo(self, repo: str) -> None:
        branches = [branch for branch in self.branches.values() if branch.repo == repo]
        if any(self.subvenance(branch) for branch in branches):
            raise Refusal("as subvenance, deleting it would break those branches")
        gone = [commit for commit in self.commits if commit.repo == repo]
        self.branches = {key: branch for key, branch in self.branches.items() if branch.repo != repo}
        self.commits = [each for each in self.commits if each not in gone]
        for each in self.commits:
            each.upstreams = [up for up in each.upstreams if up not in gone]
        self.repos.discard(repo)
