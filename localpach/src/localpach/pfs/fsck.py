"""Checking all that is stored, and freeing what no commit reaches."""

from __future__ import annotations

from collections.abc import Iterator

from localpach.errors import Corrupt
from localpach.pfs.commits import Commits
from localpach.pfs.file_sets import FileSets
from localpach.storage.objects import Objects
from localpach.storage.store import Store
from localpach.storage.trees import Trees


class Fsck:
    """Looks at the whole of a data directory."""

    def __init__(self, store: Store, objects: Objects, trees: Trees, commits: Commits, file_sets: FileSets) -> None:
        self._store = store
        self._objects = objects
        self._trees = trees
        self._commits = commits
        self._file_sets = file_sets

    def check(self, read_data: bool = False) -> Iterator[str]:
        """A sentence for each thing that is wrong. With `read_data` every content is read and hashed again."""
        with self._store.read():
            problems = list(self._store.problems())
            yield from problems
            if any(problem.startswith("database: ") for problem in problems):
                # The rest can't be looked at.
                return
            yield from self._trees.damaged()
            nodes: set[str] = set()
            checked: set[str] = set()
            for record in self._commits.with_content():
                try:
                    for ref in self._trees.reachable(record.root.key, nodes):
                        problem = None if ref.hash in checked else self._objects.problem(ref, read_data)
                        checked.add(ref.hash)
                        if problem:
                            yield problem
                except Corrupt as error:
                    yield f"commit {record.commit}: {error.message}"

    def check_contents(self, read_data: bool) -> int:
        """How many contents are stored; with `read_data` each is read and hashed again.

        Raises:
            Corrupt: one is not what was written.
        """
        refs = self._objects.stored()
        for ref in refs if read_data else ():
            problem = self._objects.problem(ref, read_data)
            if problem:
                raise Corrupt(problem)
        return len(refs)

    def collect(self) -> int:
        """Frees what no commit and no living file set reaches; gives the bytes freed. Nothing else may be writing.

        Raises:
            Corrupt: what a commit holds can't be told.
        """
        with self._store.write():
            self._file_sets.remove_expired()
            nodes: set[str] = set()
            contents = self._file_sets.contents()
            for record in self._commits.with_content():
                try:
                    contents.update(ref.hash for ref in self._trees.reachable(record.root.key, nodes))
                except Corrupt as error:
                    raise Corrupt(
                        f"nothing is freed, for what {record.commit} holds can't be told: {error.message}, or give up what is"
                        " lost by `localpach fsck --repair`"
                    ) from error
            return self._trees.keep_only(nodes) + self._objects.keep_only(contents)
