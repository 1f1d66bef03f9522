"""Inputs of pipelines: what a spec may say, what it means when it is silent, and the datums that come of it."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import Refused, Unimplemented
from localpach.names import DEFAULT_PROJECT, USER, Branch, Repo
from localpach.pfs.files import Files
from localpach.pfs.globs import compile_glob
from localpach.pfs.paths import clean
from localpach.pfs.records import CommitRecord, Entry
from localpach.pfs.triggers import check_cron
from localpach.proto import pps_pb2

KINDS = ("pfs", "join", "group", "cross", "union", "cron")
Heads = Callable[[Branch], CommitRecord | None]


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


def kind_of(input: pps_pb2.Input) -> str:
    """Which one of an input's kinds is set."""
    kinds = [kind for kind in KINDS if (input.HasField(kind) if kind in ("pfs", "cron") else len(getattr(input, kind)))]
    if not kinds:
        raise Refused("no input set")
    if len(kinds) > 1:
        raise Refused("multiple input types set")
    return kinds[0]


def leaves(input: pps_pb2.Input) -> Iterator[pps_pb2.Input]:
    """The pfs and cron inputs of an input, in order."""
    kind = kind_of(input)
    if kind in ("pfs", "cron"):
        yield input
    else:
        for each in getattr(input, kind):
            yield from leaves(each)


def leaves_of(info: pps_pb2.PipelineInfo) -> Iterator[pps_pb2.Input]:
    """The pfs and cron inputs of a pipeline, which may have none."""
    if info.details.HasField("input"):
        yield from leaves(info.details.input)


def complete(input: pps_pb2.Input, pipeline: pps_pb2.Pipeline, created: Timestamp) -> None:
    """Fills in what a spec leaves out, and gives globs their absolute form."""
    triggered = 0
    for leaf in leaves(input):
        if leaf.HasField("pfs"):
            pfs = leaf.pfs
            pfs.project = pfs.project or pipeline.project.name
            pfs.name = pfs.name or pfs.repo
            if pfs.HasField("trigger") and not pfs.branch:
                triggered += 1
                pfs.branch = f"{pipeline.name}-trigger-{triggered}"
                pfs.trigger.branch = pfs.trigger.branch or "master"
            pfs.branch = pfs.branch or "master"
            pfs.repo_type = pfs.repo_type or USER
            pfs.glob = clean(pfs.glob)
        else:
            cron = leaf.cron
            cron.project = cron.project or pipeline.project.name
            cron.repo = cron.repo or f"{pipeline.name}_{cron.name}"
            if not cron.HasField("start"):
                cron.start.CopyFrom(created)


def check(input: pps_pb2.Input, path: str = "input") -> None:
    """Raises Refused for what no pipeline can work with; `path` is where in the spec the input stands."""
    kind = kind_of(input)
    if kind == "pfs":
        _check_pfs(input.pfs, path)
    elif kind == "cron":
        if not input.cron.name:
            raise Refused("input must specify a name")
        try:
            check_cron(input.cron.spec)
        except Refused as error:
            raise Refused(f"error parsing cron-spec: {error.message}") from error
    else:
        for number, each in enumerate(getattr(input, kind)):
            check(each, f"{path}.{kind}[{number}]")
        if kind != "union":
            _check_names(input, kind)
    if path == "input":
        for leaf in leaves(input):
            name = leaf.pfs.name or leaf.pfs.repo if leaf.HasField("pfs") else leaf.cron.name
            if name in ("out", ".env"):
                raise Refused(f"input cannot be named {name}")
            if "/" in name or "\0" in name or name in (".", ".."):
                raise Refused(f"input.{kind_of(leaf)}.name: {name!r} can't be a folder's name: leave out / and NUL")


def _check_pfs(pfs: pps_pb2.PFSInput, path: str) -> None:
    if not (pfs.name or pfs.repo):
        raise Refused("input must specify a name")
    if not pfs.repo:
        raise Refused("input must specify a repo")
    if not pfs.glob and not pfs.s3:
        raise Refused("input must specify a glob")
    try:
        compile_glob(pfs.glob)
    except Refused as error:
        raise Refused(f"{path}.pfs.glob: {pfs.glob!r} is no glob: {error.message}") from error
    if pfs.commit:
        raise Refused("input cannot come from a commit; use a branch with head pointing to the commit")
    if pfs.s3:
        raise Unimplemented(
            f"{path}.pfs.s3: localpach gives no S3 gateway; leave it out and read /pfs/{pfs.name or pfs.repo}"
        )


def _check_names(input: pps_pb2.Input, kind: str) -> None:
    seen: set[str] = set()
    for each in getattr(input, kind):
        names = {(leaf.pfs.name or leaf.pfs.repo) if leaf.HasField("pfs") else leaf.cron.name for leaf in leaves(each)}
        for name in sorted(names):
            if name in seen:
                raise Refused(f'name "{name}" was used more than once')
        seen |= names


def branch_of(leaf: pps_pb2.Input) -> Branch:
    """The branch that a completed leaf reads."""
    if leaf.HasField("cron"):
        return Branch(Repo(leaf.cron.project or DEFAULT_PROJECT, leaf.cron.repo), "master")
    pfs = leaf.pfs
    return Branch(Repo(pfs.project or DEFAULT_PROJECT, pfs.repo, pfs.repo_type or USER), pfs.branch or "master")


def datums(files: Files, input: pps_pb2.Input, heads: Heads) -> list[Datum]:
    """All datums of an input, by id."""
    found = {datum.id: datum for datum in map(Datum, _combine(files, input, heads))}
    return [found[id] for id in sorted(found)]


def _combine(files: Files, input: pps_pb2.Input, heads: Heads) -> Iterator[tuple[DatumInput, ...]]:
    kind = kind_of(input)
    if kind in ("pfs", "cron"):
        yield from ((each,) for each in _matches(files, input, heads))
    elif kind == "union":
        for each in input.union:
            yield from _combine(files, each, heads)
    elif kind == "cross":
        for group in itertools.product(*(list(_combine(files, each, heads)) for each in input.cross)):
            yield tuple(itertools.chain(*group))
    elif kind == "join":
        yield from _join(files, input, heads)
    else:
        groups: dict[str, list[DatumInput]] = {}
        for each in input.group:
            for key, matches in _by_key(files, each, heads, "group_by").items():
                groups.setdefault(key, []).extend(matches)
        yield from map(tuple, groups.values())


def _join(files: Files, input: pps_pb2.Input, heads: Heads) -> Iterator[tuple[DatumInput, ...]]:
    sides: list[dict[str, list[DatumInput]]] = []
    keys: dict[str, None] = {}
    for each in input.join:
        side = _by_key(files, each, heads, "join_on")
        sides.append(side)
        keys.update(dict.fromkeys(side))
    for key in keys:
        present = [side[key] for side in sides if key in side]
        for matches in itertools.product(*present):
            # Where a side lacks the key, only those stay that are joined outer.
            kept = matches if len(present) == len(sides) else tuple(each for each in matches if each.spec.outer_join)
            if kept:
                yield kept


def _by_key(files: Files, input: pps_pb2.Input, heads: Heads, field: str) -> dict[str, list[DatumInput]]:
    """What an input brings to a join or a group, each file or directory by its own key."""
    found: dict[str, list[DatumInput]] = {}
    for match in itertools.chain.from_iterable(_combine(files, input, heads)):
        found.setdefault(match.expand(getattr(match.spec, field)), []).append(match)
    return found


def _matches(files: Files, leaf: pps_pb2.Input, heads: Heads) -> Iterator[DatumInput]:
    branch = branch_of(leaf)
    record = heads(branch)
    if record is None or not record.root.key:
        return
    spec = pps_pb2.PFSInput(name=leaf.cron.name, glob="/*") if leaf.HasField("cron") else leaf.pfs
    for entry in files.glob(record, spec.glob):
        yield DatumInput(spec.name or branch.repo.name, branch, record, entry, spec)
