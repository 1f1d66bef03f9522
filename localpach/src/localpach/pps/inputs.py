"""Inputs of pipelines: what a spec may say, and what it means when it is silent."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import Refused
from localpach.names import DEFAULT_PROJECT, USER, Branch, Repo
from localpach.pfs.globs import compile_glob
from localpach.pfs.paths import clean
from localpach.pfs.triggers import check_cron
from localpach.proto import pps_pb2

# Of a folder, in bytes.
LONGEST_NAME = 255
KINDS = ("pfs", "join", "group", "cross", "union", "cron")


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
            if not {"/", "=", "\0"}.isdisjoint(name) or name in (".", "..") or len(name.encode()) > LONGEST_NAME:
                raise Refused(
                    f"input.{kind_of(leaf)}.name: {name!r} can't be a folder's name, and a variable's: leave out /, ="
                    f" and NUL, and write no more than {LONGEST_NAME} bytes"
                )


def _check_pfs(pfs: pps_pb2.PFSInput, path: str) -> None:
    if not (pfs.name or pfs.repo):
        raise Refused("input must specify a name")
    if not pfs.repo:
        raise Refused("input must specify a repo")
    if pfs.s3:
        _check_s3(pfs)
    elif not pfs.glob:
        raise Refused("input must specify a glob")
    try:
        compile_glob(pfs.glob)
    except Refused as error:
        raise Refused(f"{path}.pfs.glob: {pfs.glob!r} is no glob: {error.message}") from error
    if pfs.commit:
        raise Refused("input cannot come from a commit; use a branch with head pointing to the commit")


def _check_s3(pfs: pps_pb2.PFSInput) -> None:
    if pfs.glob != "/":
        raise Refused(
            "inputs that set 's3' to 'true' must also set 'glob', to \"/\", as the s3 gateway is only able to expose data"
            " at the commit level"
        )
    if pfs.lazy or pfs.empty_files:
        field = "lazy" if pfs.lazy else "empty_files"
        raise Refused(
            f"input cannot specify both 's3' and '{field}', as 's3' requires input data to be accessed via S3"
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
