"""Taking out of commits what is lost for good, so that the rest can be worked with."""

from __future__ import annotations

from collections.abc import Iterator

from localpach.pfs.commits import Commits
from localpach.storage.objects import Objects
from localpach.storage.store import Store
from localpach.storage.trees import EMPTY, Dir, Entry, Trees


class Repair:
    """Looks at the whole of a data directory that nobody serves."""

    def __init__(self, store: Store, objects: Objects, trees: Trees, commits: Commits) -> None:
        self._store = store
        self._objects = objects
        self._trees = trees
        self._commits = commits
        self._repaired: dict[str, tuple[Dir, list[tuple[str, str]]]] = {}

    def run(self) -> Iterator[str]:
        """Takes the files whose bytes or names are lost out of all commits; a sentence for each, by its path."""
        for record in self._commits.with_content():
            root, lost = self._repair(record.root)
            if lost:
                with self._store.write():
                    self._commits.set_root(record, root)
            for path, problem in lost:
                yield f"lost: {record.commit}:{path} ({problem})"
        self._trees.drop_damaged()

    def _repair(self, folder: Dir) -> tuple[Dir, list[tuple[str, str]]]:
        """What is left of a directory, and what is lost below it, each with why."""
        if not folder.key:
            return folder, []
        if folder.key not in self._repaired:
            self._repaired[folder.key] = self._repair_new(folder)
        return self._repaired[folder.key]

    def _repair_new(self, folder: Dir) -> tuple[Dir, list[tuple[str, str]]]:
        entries, problem = self._trees.salvage(folder)
        lost = [("/", f"files of it whose names can't be told: {problem}")] if problem else []
        left: dict[str, Entry | None] = {}
        for name, entry in entries.items():
            if isinstance(entry, Dir):
                below, missing = self._repair(entry)
                lost += [(f"/{name.rstrip('/')}{path}", why) for path, why in missing]
                if below.key:
                    left[name] = below
                continue
            why = next(filter(None, (self._objects.problem(ref, True) for ref in entry.refs)), None)
            if why is None:
                left[name] = entry
            else:
                lost.append((f"/{name}", why))
        return (self._trees.update(EMPTY, left) if lost else folder), lost
