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
    tree: Tree = field(default_factory=dict)
    is_open: bool = True
    is_auto: bool = False
    error: str = ""

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

    def _base(self, parent: Commit | None) -> Tree:
        while parent is not None and parent.error:
            parent = parent.parent
        return dict(parent.tree) if parent is not None else {}

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
        commit.tree = {} if commit.is_auto else self._base(commit.parent)

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
        branch.upstreams = [self.branches[each] for each in upstreams]
        branch.head = head or branch.head
        if branch.head is None and not upstreams:
            self._add_empty(branch, set)
        self._propagate([branch, *touched], set)

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
        branch.head = Commit(branch.repo, branch.name, set, None, is_open=False, is_auto=True)
        self._add(branch.head)
        return branch.head

    def _add(self, commit: Commit) -> None:
        if any(each.repo == commit.repo for each in self.of_set(commit.set)):
            raise Refusal("already has a commit in this transaction")
        self.commits.append(commit)

    def _propagate(self, touched: list[Branch], set: int) -> None:
        below = [each for each in self.branches.values() if any(up in touched for up in self.provenance(each))]
        affected = dict.fromkeys([*touched, *below])
        for branch in sorted(affected, key=lambda each: len(self.provenance(each))):
            heads = [up.head for up in branch.upstreams if up.head is not None]
            if not branch.upstreams or (branch.head is not None and {*branch.head.upstreams} == {*heads}):
                continue
            branch.head = Commit(branch.repo, branch.name, set, branch.head, heads, is_auto=True)
            self._add(branch.head)

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
        commits = self.of_set(set)
        if not all(self.children(each) for each in commits):
            raise Refusal("cannot squash a commit that has no children")
        self._remove(commits)

    def drop(self, set: int) -> None:
        self._remove(self.of_set(set))

    def _remove(self, commits: list[Commit]) -> None:
        if any(up in commits and each not in commits for each in self.commits for up in each.upstreams):
            raise Refusal("cannot be dropped because it has subvenant commit sets")
        set, touched = next(self._sets), list[Branch]()
        for commit in commits:
            for child in self.children(commit):
                child.parent = commit.parent
        for branch in self.branches.values():
            while branch.head in commits:
                branch.head = branch.head.parent if branch.head else None
                touched.append(branch)
        self.commits = [each for each in self.commits if each not in commits]
        empty: dict[str, Commit] = {}
        for branch in touched:
            if branch.head is None and not branch.upstreams:
                if branch.repo not in empty:
                    empty[branch.repo] = self._add_empty(branch, set)
                branch.head = empty[branch.repo]
        self._propagate(touched, set)

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
