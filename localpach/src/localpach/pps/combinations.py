"""The datums that come of an input and the files of its repos."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

from localpach.errors import Refused
from localpach.names import Branch
from localpach.pfs.files import Files
from localpach.pfs.globs import compile_glob
from localpach.pfs.records import CommitRecord, Entry
from localpach.pps.inputs import branch_of, kind_of
from localpach.proto import pps_pb2

# Of the inputs of all datums together. A cross of six inputs of 40 files each has four billion datums.
MAX_INPUTS = 1_000_000
LOOK_UP_EVERY = 1000

Heads = Callable[[Branch], CommitRecord | None]
Group = tuple["DatumInput", ...]
T = TypeVar("T")


class DatumInput(NamedTuple):
    """One file or directory that a datum sees under `/pfs/<name>`."""

    name: str
    branch: Branch
    record: CommitRecord
    entry: Entry
    spec: pps_pb2.PFSInput

    def expand(self, template: str) -> str:
        """The join or group key that a template makes of what the glob captured."""
        return compile_glob(self.spec.glob).expand(template, self.entry.path.rstrip("/") or "/")


@dataclass(frozen=True)
class Datum:
    """The inputs that the user's code sees together."""

    inputs: tuple[DatumInput, ...]

    @cached_property
    def id(self) -> str:
        """Pachyderm's: over name, repo, branch and path of each input, each followed by its length."""
        hasher = hashlib.blake2b(digest_size=32)
        for each in self.inputs:
            for text in (each.name, each.branch.repo.name, each.branch.name, each.entry.path):
                hasher.update(text.encode() + struct.pack(">q", len(text.encode())))
        return hasher.hexdigest()

    def hash(self, salt: str) -> str:
        """Changes with any name or byte that the datum holds, and with the pipeline's salt."""
        hasher = hashlib.blake2b(salt.encode(), digest_size=32)
        for each in self.inputs:
            hasher.update(f"{each.name}\0{each.entry.path}\0{each.entry.key}\0".encode())
        return hasher.hexdigest()


def datums(files: Files, input: pps_pb2.Input, heads: Heads, check: Callable[[], None] = lambda: None) -> list[Datum]:
    """All datums of an input, by id. `check` is called again and again meanwhile; what it raises ends the search.

    Raises:
        Refused: there are too many.
    """
    found = {datum.id: datum for datum in map(Datum, _Combiner(files, heads, check).combine(input))}
    return [found[id] for id in sorted(found)]


class _Combiner:
    """Combines the files of inputs, one combination after the other."""

    def __init__(self, files: Files, heads: Heads, check: Callable[[], None]) -> None:
        self._files = files
        self._heads = heads
        self._check = check
        self._made = 0

    def _count(self, combinations: Iterator[tuple[T, ...]]) -> Iterator[tuple[T, ...]]:
        for number, each in enumerate(combinations):
            self._made += len(each)
            if self._made > MAX_INPUTS:
                raise Refused(
                    f"input: its datums would have more than {MAX_INPUTS:,} files and directories together; choose narrower"
                    " globs, or cross less"
                )
            if number % LOOK_UP_EVERY == 0:
                self._check()
            yield each

    def combine(self, input: pps_pb2.Input) -> Iterator[Group]:
        kind = kind_of(input)
        if kind in ("pfs", "cron"):
            yield from self._count((each,) for each in self._matches(input))
        elif kind == "union":
            for each in input.union:
                yield from self.combine(each)
        elif kind == "cross":
            sides = [list(self.combine(each)) for each in input.cross]
            for groups in self._count(itertools.product(*sides)):
                yield tuple(itertools.chain(*groups))
        elif kind == "join":
            yield from self._join(input)
        else:
            by_key: dict[str, list[DatumInput]] = {}
            for each in input.group:
                for key, matches in self._by_key(each, "group_by").items():
                    by_key.setdefault(key, []).extend(matches)
            yield from map(tuple, by_key.values())

    def _join(self, input: pps_pb2.Input) -> Iterator[Group]:
        sides: list[dict[str, list[DatumInput]]] = []
        keys: dict[str, None] = {}
        for each in input.join:
            side = self._by_key(each, "join_on")
            sides.append(side)
            keys.update(dict.fromkeys(side))
        for key in keys:
            present = [side[key] for side in sides if key in side]
            for matches in self._count(itertools.product(*present)):
                # Where a side lacks the key, only those stay that are joined outer.
                kept = (
                    matches if len(present) == len(sides) else tuple(each for each in matches if each.spec.outer_join)
                )
                if kept:
                    yield kept

    def _by_key(self, input: pps_pb2.Input, field: str) -> dict[str, list[DatumInput]]:
        """What an input brings to a join or a group, each file or directory by its own key."""
        found: dict[str, list[DatumInput]] = {}
        for match in itertools.chain.from_iterable(self.combine(input)):
            found.setdefault(match.expand(getattr(match.spec, field)), []).append(match)
        return found

    def _matches(self, leaf: pps_pb2.Input) -> Iterator[DatumInput]:
        branch = branch_of(leaf)
        record = self._heads(branch)
        if record is None or not record.root.key:
            return
        spec = pps_pb2.PFSInput(name=leaf.cron.name, glob="/*") if leaf.HasField("cron") else leaf.pfs
        for entry in self._files.glob(record, spec.glob):
            yield DatumInput(spec.name or branch.repo.name, branch, record, entry, spec)
