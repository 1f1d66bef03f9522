"""Draws operations over the RPCs of PFS, PPS and transactions from a seed.

Every choice comes from the seed and from how many commit sets there are, so that two servers that behave alike are asked the
same. The recording was drawn so: another order of choices would be another recording.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import Message

from localpach.proto import pfs_pb2, pps_pb2, transaction_pb2

T = TypeVar("T")

REPOS = ["a", "b", "c"]
BRANCHES = ["master", "dev", "rel"]
PIPELINES = ["p", "p", "q", "q", "r"]
PROJECTS = ["default"] * 8 + ["other"]
PLAIN = ["/f", "/g", "/d/x", "/d/y", "/d/e/z", "/h.txt", "/k-1.csv", "/k-2.csv", "/i.txt", "/d"]
PATHS = PLAIN * 4 + ["/d/é ü.txt", "/s p,a;c.e"]
GLOBS = [
    *("/", "/*", "/**", "/d/*", "/d", "/d/", "/*.txt", "/d/**", "/(d|f)", "/nope", "**", "/k-?.csv", "/k-[0-9].csv"),
    *("/{f,g}", "/d/**/z", "/[!d]*", "/@(f|g)", "*", "d/*", "/*/x"),
]
INPUT_GLOBS = ["/", "/*", "/*", "/d/*", "/**", "/*.txt", "/k-(*).csv", "/(*)"]
EACH_INPUT = "for i in /pfs/*; do [ $i = /pfs/out ] || "
SCRIPTS = {
    "copy": EACH_INPUT + "cp -r $i/. /pfs/out/; done",
    "count": "find /pfs -type f | grep -v ^/pfs/out | wc -l > /pfs/out/n",
    "list": 'cd /pfs; find . -type f | grep -v "^./out" | sort | sed s,/,_,g |'
    ' while read f; do echo $f > "/pfs/out/$f"; done',
    "none": "true",
    "fail": "exit 3",
    "failsome": 'test -z "$(find /pfs -name g)"',
    "cat": 'cat $(find /pfs -type f -name "?" | grep -v ^/pfs/out | sort) /dev/null > /pfs/out/all',
    "link": EACH_INPUT + "for f in $i/*; do ln -s $f /pfs/out/; done; done",
    "dirs": "mkdir -p /pfs/out/s/t /pfs/out/empty; echo 1 > /pfs/out/s/t/one",
}
NO_ID = "0" * 12 + "4" + "0" * 3 + "8" + "0" * 15


class Known(NamedTuple):
    """What has been learned of the server: the ids of its commit sets, oldest first, and of the file sets made."""

    ids: list[str]
    file_sets: list[str]


def repo(name: str, type: str = "user", project: str = "default") -> pfs_pb2.Repo:
    return pfs_pb2.Repo(name=name, type=type, project=pfs_pb2.Project(name=project))


def branch(name: str, of: str) -> pfs_pb2.Branch:
    return pfs_pb2.Branch(repo=repo(of), name=name)


def commit(of: str, on: str, id: str = "") -> pfs_pb2.Commit:
    return pfs_pb2.Commit(repo=repo(of), branch=branch(on, of), id=id)


def pipeline(name: str) -> pps_pb2.Pipeline:
    return pps_pb2.Pipeline(project=pfs_pb2.Project(name="default"), name=name)


def shell(kind: str) -> pps_pb2.Transform:
    return pps_pb2.Transform(image="alpine", cmd=["sh"], stdin=[SCRIPTS[kind]])


class Draw:
    """The choices of one seed."""

    def __init__(self, seed: int, known: Known) -> None:
        self._random = random.Random(f"operations-{seed}")
        self.known = known

    def of(self, choices: list[T]) -> T:
        return self._random.choice(choices)

    def maybe(self, share: float) -> bool:
        return self._random.random() < share

    def ref(self, of: str = "") -> pfs_pb2.Commit:
        """A commit as people name it: by branch, ancestry or id."""
        of, on = of or self.of(REPOS * 3 + PIPELINES * 2), self.of(["master"] * 6 + ["dev", "rel"])
        share = self._random.random()
        id = self.of(self.known.ids) if self.known.ids else ""
        if share < 0.55:
            return commit(of, on)
        if share < 0.7:
            return commit(of, on + self.of(["^", "~1", "^2", ".1", ".2", "~9"]))
        if share < 0.95:
            return commit(of, on if self.maybe(0.5) else "", id)
        return commit(of, "", id + "^")

    def changes(self) -> list[Message]:
        changes: list[Message] = []
        for _ in range(self._random.randrange(1, 4)):
            path, share = self.of(PATHS), self._random.random()
            if share < 0.55:
                add = pfs_pb2.AddFile(path=path, datum=self.of(["", "", "", "t1", "t2"]))
                add.raw.value = bytes(self.of(list("abc\n")) * self._random.randrange(0, 9), "ascii")
                if self.maybe(0.5):
                    changes.append(pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path)))
                changes.append(pfs_pb2.ModifyFileRequest(add_file=add))
            elif share < 0.75:
                path, datum = self.of([path] * 6 + ["/d/", "/*", "/nope"]), self.of(["", "", "t1"])
                changes.append(pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path, datum=datum)))
            else:
                source = pfs_pb2.File(commit=self.ref(self.of(REPOS)), path=self.of([*PATHS, "/"]))
                copy = pfs_pb2.CopyFile(dst=path, src=source, append=self.maybe(0.5))
                changes.append(pfs_pb2.ModifyFileRequest(copy_file=copy))
        return changes

    def modify(self, target: pfs_pb2.Commit) -> list[Message]:
        return [pfs_pb2.ModifyFileRequest(set_commit=target), *self.changes()]

    def _pfs_input(self) -> pps_pb2.Input:
        made = pps_pb2.PFSInput(
            repo=self.of(REPOS * 2 + PIPELINES),
            glob=self.of(INPUT_GLOBS),
            branch=self.of(["", "", "", "dev"]),
            name=self.of(["", "", "one", "two"]),
            lazy=self.maybe(0.1),
            empty_files=self.maybe(0.1),
        )
        return pps_pb2.Input(pfs=made)

    def input(self) -> pps_pb2.Input:
        share = self._random.random()
        if share < 0.6:
            return self._pfs_input()
        several = [self._pfs_input() for _ in range(self.of([2, 2, 3]))]
        if share < 0.7:
            return pps_pb2.Input(cross=several)
        if share < 0.8:
            return pps_pb2.Input(union=several)
        for number, each in enumerate(several):
            each.pfs.name = each.pfs.name or f"in{number}"
            each.pfs.glob = self.of(["/k-(*).csv", "/(*)", "/(*).txt"])
            if share < 0.9:
                each.pfs.join_on, each.pfs.outer_join = "$1", self.maybe(0.3)
            else:
                each.pfs.group_by = "$1"
        return pps_pb2.Input(join=several) if share < 0.9 else pps_pb2.Input(group=several)

    def spec(self, update: bool) -> pps_pb2.CreatePipelineRequest:
        kind = self.of(list(SCRIPTS))
        request = pps_pb2.CreatePipelineRequest(
            pipeline=pipeline(self.of(PIPELINES)),
            transform=shell(kind),
            datum_tries=self.of([1, 1, 1, 2]),
            input=self.input(),
            update=update,
            reprocess=update and self.maybe(0.5),
            description=self.of(["", "words"]),
            output_branch=self.of(["", "", "", "", "out"]),
        )
        if kind in ("fail", "failsome") and self.maybe(0.5):
            request.transform.err_cmd.append("true")
        if kind == "fail" and self.maybe(0.3):
            request.transform.accept_return_code.append(3)
        if self.maybe(0.1):
            request.reprocess_spec = self.of(["every_job", "until_success"])
        if self.maybe(0.05):
            request.dry_run = True
        return request

    def batch(self) -> transaction_pb2.TransactionRequest:
        of, on = self.of(REPOS), self.of(["master", "master", "dev"])
        make = transaction_pb2.TransactionRequest
        choices: list[Callable[[], transaction_pb2.TransactionRequest]] = [
            lambda: make(create_repo=pfs_pb2.CreateRepoRequest(repo=repo(of), update=self.maybe(0.5))),
            lambda: make(start_commit=pfs_pb2.StartCommitRequest(branch=branch(on, of))),
            lambda: make(finish_commit=pfs_pb2.FinishCommitRequest(commit=commit(of, on))),
            lambda: make(
                create_branch=pfs_pb2.CreateBranchRequest(
                    branch=branch(on, of),
                    provenance=[branch("master", self.of(REPOS))] if self.maybe(0.4) else [],
                )
            ),
            lambda: make(delete_branch=pfs_pb2.DeleteBranchRequest(branch=branch(on, of))),
            lambda: make(create_pipeline=self.spec(self.maybe(0.4))),
        ]
        return self.of(choices)()

    def turn(self) -> None:
        """Chooses what the next operation may be about, whether it takes all of it or not."""
        self.repo, self.branch = self.of(REPOS * 3 + PIPELINES * 2), self.of(["master"] * 4 + ["dev", "rel"])
        self.project = self.of(PROJECTS)
        self.id = self.of(self.known.ids) if self.known.ids else NO_ID
        self.path, self.glob = self.of([*PATHS, "/", "/", "", "/nope"]), self.of(GLOBS)
        self.page: dict[str, Any] = {"number": self.of([0, 0, 0, 1, 2]), "reverse": self.maybe(0.15)}
        self.job = pps_pb2.Job(pipeline=self.pipeline(), id=self.id)

    def pipeline(self) -> pps_pb2.Pipeline:
        return pipeline(self.of(PIPELINES))

    def head(self) -> pfs_pb2.Commit:
        return commit(self.repo, self.branch)

    def file(self, datums: list[str] | None = None) -> pfs_pb2.File:
        """Where something is read, and of which datum, if it may be one of some."""
        place = self.ref()
        return pfs_pb2.File(commit=place, path=self.path, datum=self.of(datums) if datums else "")

    def choose(self, choices: list[tuple[int, T]]) -> T:
        """One of some, by weight."""
        return self._random.choices([choice for _, choice in choices], [weight for weight, _ in choices])[0]
