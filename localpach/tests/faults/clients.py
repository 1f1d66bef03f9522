"""What clients on a played machine have in common: they ask again while the disk is full, put files and look at them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from localpach.errors import LocalpachError
from localpach.faults import may_pass
from localpach.names import Branch, Commit
from localpach.pfs.records import CommitRecord
from localpach.pfs.writes import Add, Change, Delete
from tests.faults.simulation import Machine

Files = dict[str, bytes]


class Clients:
    """Some clients of a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.random = machine.random

    def until_it_is_done(self, what: str, call: Callable[[], object]) -> Iterator[float]:
        """Asks again and again while the disk is full."""
        while True:
            try:
                call()
            except Exception as error:
                if not may_pass(error):
                    raise
                yield 1.0
            else:
                self.machine.note(what)
                return

    def attempt(self, what: str, call: Callable[[], object]) -> Generator[float, None, bool]:
        """The same, and tells whether it was done or refused."""
        try:
            yield from self.until_it_is_done(what, call)
        except LocalpachError as error:
            self.machine.note(f"refused: {what}: {error.message}")
            return False
        return True

    def put(self, commit: Commit, path: str, data: bytes) -> None:
        writes, objects = self.machine.pfs.writes, self.machine.pfs.objects
        batch = writes.batch()
        writer = objects.writer(batch)
        try:
            writer.write(data)
            changes: list[Change] = [Delete(path, ""), Add(path, "", (writer.close(),))]
            writes.apply(commit, changes, batch)
        finally:
            writer.abandon()

    def head(self, branch: Branch) -> CommitRecord:
        head = self.machine.pfs.commits.head(branch)
        assert head is not None
        return head

    def files(self, record: CommitRecord) -> Files:
        pfs = self.machine.pfs
        entries = [entry for entry in pfs.files.walk(record, "/") if not entry.is_dir]
        return {entry.path: b"".join(pfs.files.read(record, entry)) for entry in entries}
