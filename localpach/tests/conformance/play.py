"""Plays the operations of a seed on a server that is empty, and tells what each was answered.

Ids are named by the order in which they appear; times, hashes and what depends on the moment are left out.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from localpach.proto import pfs_pb2, pps_pb2, transaction_pb2
from localpach.waiting import Deadline
from tests.conformance.draw import PLAIN, REPOS, Draw, Known, commit, pipeline, repo, shell
from tests.conformance.operations import Operation, operation
from tests.conformance.shown import shown
from tests.rpcs import rpc

CALL_SECONDS = 60.0
WAIT_SECONDS = 2.0
BUSY_SECONDS = 60.0
BUSY = ("JOB_STARTING", "JOB_RUNNING", "JOB_FINISHING")

# What depends on the moment, on how a cluster is doing, or on how it stores things.
NOISE = {
    *("compacting_time", "validating_time", "workers_available", "workers_requested", "restart", "worker_status"),
    *("job_counts", "last_job_state", "state_time", "auth_info", "stats", "hash", "image_id", "salt", "version"),
    "size_bytes_upper_bound",
}
READS = re.compile("Inspect|List|Get|Walk|Glob|Diff|Find")

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}(?![0-9a-f])")
_PATTERNS = (
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"), "<hex64>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<ts>"),
    (re.compile(r"127\.0\.0\.1:\d{4,5}"), "<host>"),
    (re.compile(r"^-?\d+(\.\d+)?s$"), "<dur>"),
)
_METHODS = {
    f"{service.full_name}/{method.name}": method
    for module in (pfs_pb2, pps_pb2, transaction_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_SHORT = {"pfs_v2.API": "pfs", "pps_v2.API": "pps", "transaction_v2.API": "tx"}

Answer = tuple[str, str, Any]


class Play:
    """One seed on one server."""

    def __init__(self, address: str, seed: int) -> None:
        self._channel = grpc.insecure_channel(address)
        self._known = Known([], [])
        self._draw = Draw(seed, self._known)
        self._names: dict[str, str] = {}
        # Commits that nobody finishes; waiting for them once is enough.
        self._stuck: set[tuple[str, str, str]] = set()

    def play(self, count: int) -> Iterator[dict[str, Any]]:
        """So many operations, each as the recording has it."""
        self._set_up()
        for number in range(count):
            drawn = operation(self._draw)
            code, details, response = self._call(drawn)
            if drawn.method == "CreateFileSet" and response:
                self._known.file_sets.append(response["file_set_id"])
            if drawn.key and isinstance(response, list):
                response = sorted(response, key=drawn.key)
            asked = [shown(each) for each in drawn.request] if isinstance(drawn.request, list) else shown(drawn.request)
            yield {
                "i": number,
                "rpc": f"{_SHORT[drawn.service]}.{drawn.method}",
                "request": self._normal(asked),
                "code": code,
                "details": self._normal(details),
                "response": self._normal(response),
            }
            if not READS.match(drawn.method):
                self._settle()
        self._channel.close()

    def _set_up(self) -> None:
        """Three repos of some files, and two pipelines in a row."""
        for name in REPOS:
            self._call(Operation("pfs_v2.API", "CreateRepo", pfs_pb2.CreateRepoRequest(repo=repo(name))))
            changes: list[Message] = [pfs_pb2.ModifyFileRequest(set_commit=commit(name, "master"))]
            for path in PLAIN[:7]:
                add = pfs_pb2.AddFile(path=path)
                add.raw.value = path.encode()
                changes.append(pfs_pb2.ModifyFileRequest(add_file=add))
            self._call(Operation("pfs_v2.API", "ModifyFile", changes))
        for name, source, glob, script in (("p", "a", "/*", "copy"), ("q", "p", "/", "count")):
            request = pps_pb2.CreatePipelineRequest(
                pipeline=pipeline(name),
                transform=shell(script),
                datum_tries=1,
                input=pps_pb2.Input(pfs=pps_pb2.PFSInput(repo=source, glob=glob)),
            )
            self._call(Operation("pps_v2.API", "CreatePipeline", request))
        self._settle()

    def _call(self, asked: Operation, timeout: float = CALL_SECONDS) -> Answer:
        method = _METHODS[f"{asked.service}/{asked.method}"]
        argument = iter(asked.request) if isinstance(asked.request, list) else asked.request
        try:
            answer = rpc(self._channel, method)(argument, timeout=timeout)
            if asked.method == "GetFileTAR":
                return "OK", "", _members(b"".join(each.value for each in answer))
            return "OK", "", [shown(each) for each in answer] if method.server_streaming else shown(answer)
        except grpc.RpcError as error:
            return error.code().name, error.details() or "", None

    def _normal(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._normal(key): self._normal(each) for key, each in value.items() if key not in NOISE}
        if isinstance(value, list):
            return [self._normal(each) for each in value]
        if isinstance(value, str):
            for number, id in enumerate(self._known.file_sets, 1):
                value = value.replace(id, f"<fileset{number}>")
            value = _ID.sub(lambda match: self._names.setdefault(match[0], f"<id{len(self._names)}>"), value)
            for pattern, name in _PATTERNS:
                value = pattern.sub(name, value)
        return value

    def _settle(self) -> None:
        """Waits until all is over that ends by itself; learns the ids of new commit sets, oldest first."""
        for _ in range(3):
            sets = self._sets()
            commits = [each for found in sets for each in found.get("commits", [])]
            held = _held(commits)
            todo = {
                key: each["commit"]
                for each in commits
                if "finished" not in each and (key := _key(each["commit"])) not in held | self._stuck
            }
            if not todo:
                break
            for key, named in todo.items():
                patience = Deadline(BUSY_SECONDS)
                while self._wait(named) == "DEADLINE_EXCEEDED":
                    if patience.is_over or not self._is_busy(named):
                        self._stuck.add(key)
                        break
        for found in reversed([each["commit_set"]["id"] for each in sets]):
            if found not in self._known.ids:
                self._names[found] = f"<set{len(self._known.ids)}>"
                self._known.ids.append(found)

    def _sets(self) -> list[dict[str, Any]]:
        request = pfs_pb2.ListCommitSetRequest(project=pfs_pb2.Project(name="default"))
        sets: list[dict[str, Any]] = self._call(Operation("pfs_v2.API", "ListCommitSet", request))[2] or []
        return sets

    def _wait(self, named: dict[str, Any]) -> str:
        of, on = named["branch"]["repo"], named["branch"]["name"]
        place = repo(of["name"], of["type"], of["project"]["name"])
        target = pfs_pb2.Commit(repo=place, branch=pfs_pb2.Branch(repo=place, name=on), id=named["id"])
        request = pfs_pb2.InspectCommitRequest(commit=target, wait=pfs_pb2.FINISHED)
        return self._call(Operation("pfs_v2.API", "InspectCommit", request), WAIT_SECONDS)[0]

    def _is_busy(self, named: dict[str, Any]) -> bool:
        """Whether a job is about to make a commit; others wait for someone who may never come."""
        job = pps_pb2.Job(pipeline=pipeline(named["repo"]["name"]), id=named["id"])
        answer = self._call(Operation("pps_v2.API", "InspectJob", pps_pb2.InspectJobRequest(job=job)))
        return answer[0] == "OK" and answer[2]["state"] in BUSY


def _key(named: dict[str, Any]) -> tuple[str, str, str]:
    of = named["branch"]["repo"]
    return of["name"], of["type"], named["id"]


def _held(commits: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """The commits that a user has open, and all that is made of them."""
    opened = [each for each in commits if "finishing" not in each and "finished" not in each]
    held = {_key(each["commit"]) for each in opened if each["origin"].get("kind") != "AUTO"}
    while True:
        more = {
            _key(each["commit"])
            for each in commits
            for source in each.get("direct_provenance", [])
            if (source["repo"]["name"], source["repo"]["type"], each["commit"]["id"]) in held
        }
        if more <= held:
            return held
        held |= more


def _members(data: bytes) -> Any:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return [[each.name, each.size, _content(archive, each)] for each in archive]
    except tarfile.ReadError:
        return ["no tar", len(data)]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = archive.extractfile(member) if member.isfile() else None
    return stream.read().decode("latin1") if stream else member.type.decode()
