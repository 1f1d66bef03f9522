"""Sends a recording's requests to another server and tells where its answers differ.

A line of the recording holds an RPC, its request, and what a real Pachyderm 2.7.6 answered. Ids are made by servers: those
of the recording are replaced by those that stand in the same place of the answers here. A read is repeated for a while,
since a recording also says how far jobs had come when it was asked: being further than that is no difference, and what is
not yet as far is given the time that a slow machine takes.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from localpach.proto import admin_pb2, health_pb2, pfs_pb2, pps_pb2, transaction_pb2, version_pb2
from tests.conformance.exceptions import Meant, excepted
from tests.conformance.shown import shown
from tests.rpcs import rpc

RECORDING = Path(__file__).with_name("pachyderm-2.7.6.jsonl.gz")
MODULES = (pfs_pb2, pps_pb2, transaction_pb2, admin_pb2, version_pb2, health_pb2)
PATIENCE_SECONDS = 3.0
BEHIND_SECONDS = 60.0
CALL_SECONDS = 30.0
SHORT_SECONDS = 1.0
READS = re.compile(r"/(Inspect|List|Get|Walk|Glob|Diff|Find)")

_ID = re.compile(r"\b[0-9a-f]{32}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z")
_TOOK = re.compile(r"(after )[\d.]+[mµ]?s")
_WORKER = re.compile(r"(-v\d+-)[a-z0-9]{5}\b")
_PORT = re.compile(r"127\.0\.0\.1:\d{2,5}")
_DURATIONS = ("_time", "datum_timeout", "job_timeout")
_JOB_STATES = (
    "JOB_CREATED",
    "JOB_STARTING",
    "JOB_RUNNING",
    "JOB_FINISHING",
    "JOB_SUCCESS",
    "JOB_FAILURE",
    "JOB_KILLED",
    "JOB_UNRUNNABLE",
)
_PROGRESS = (
    "state",
    "started",
    "finished",
    "reason",
    "stats",
    "data_processed",
    "data_skipped",
    "data_total",
    "data_failed",
    "data_recovered",
)
_UNFINISHED = _JOB_STATES[:4]
_PIPELINE_STATES = {"PIPELINE_STARTING": 0, "PIPELINE_RUNNING": 1, "PIPELINE_PAUSED": 2, "PIPELINE_STANDBY": 2}
_COMMIT_PROGRESS = ("finishing", "finished", "details", "size_bytes_upper_bound", "error")


def records() -> list[dict[str, Any]]:
    """The recording."""
    with gzip.open(RECORDING, "rt") as stream:
        return [json.loads(line) for line in stream]


class Replay:
    """One pass of the recording against a server."""

    def __init__(self, address: str, site: str) -> None:
        """`site` is the address of an http server that has what the recording's had."""
        self._channel = grpc.insecure_channel(address)
        self._site = site
        self._ids: dict[str, str] = {}
        self._methods = {
            f"{service.full_name}/{method.name}": method
            for module in MODULES
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }
        self.used: set[Meant] = set()

    def differences(self, record: dict[str, Any]) -> list[str]:
        """Where the answer differs from the recorded one, as `path: recorded -> found`."""
        begin = time.monotonic()
        while True:
            found = self._call(record)
            wanted = {key: record[key] for key in ("code", "details", "response")}
            self._learn(wanted, found)
            pair = _in_step(self._known(wanted), _normal(found))
            result = self._unmeant(record, _compare("", *pair))
            if not result or not READS.search(record["rpc"]):
                return result
            is_behind = not self._unmeant(record, _compare("", *_in_step(*reversed(pair))))
            if time.monotonic() - begin > (BEHIND_SECONDS if is_behind else PATIENCE_SECONDS):
                return result
            time.sleep(0.1)

    def _unmeant(self, record: dict[str, Any], differences: Iterator[str]) -> list[str]:
        left = []
        for difference in differences:
            meant = excepted(f"{record['section']}/{record['step']}", difference)
            if meant is None:
                left.append(difference)
            else:
                self.used.add(meant)
        return left

    def _call(self, record: dict[str, Any]) -> dict[str, Any]:
        method = self._methods[record["rpc"]]
        given = record["request"] if method.client_streaming else [record["request"]]
        message = GetMessageClass(method.input_type)
        messages = [json_format.ParseDict(self._live(each), message()) for each in given]
        call = rpc(self._channel, method)
        metadata = [(key, self._live(value)) for key, value in record.get("metadata", {}).items()]
        cut = record["code"] == "CLIENT_CANCELLED_AFTER_LIMIT"
        timeout = SHORT_SECONDS if record["code"] == "DEADLINE_EXCEEDED" else CALL_SECONDS
        answers: list[Any] = []
        try:
            argument = iter(messages) if method.client_streaming else messages[0]
            result = call(argument, metadata=metadata, timeout=timeout)
            if not method.server_streaming:
                return {"code": "OK", "details": "", "response": shown(result)}
            for answer in result:
                answers.append(shown(answer))
                if cut and len(answers) == len(record["response"]):
                    result.cancel()
                    return {"code": record["code"], "details": "", "response": answers}
        except grpc.RpcError as error:
            code, details = error.code().name, error.details()
            return {"code": code, "details": details, "response": answers if method.server_streaming else None}
        return {"code": "OK", "details": "", "response": answers}

    def _live(self, value: Any) -> Any:
        """A recorded value with the ids and addresses that stand for it here."""
        if isinstance(value, str):
            value = value.replace("127.0.0.1:36769", self._site)
            return _ID.sub(lambda match: self._ids.get(match[0], match[0]), value)
        if isinstance(value, dict):
            return {key: self._live(each) for key, each in value.items()}
        return [self._live(each) for each in value] if isinstance(value, list) else value

    def _known(self, wanted: Any) -> Any:
        return _normal(self._live(wanted))

    def _learn(self, wanted: Any, found: Any) -> None:
        """Notes which id here stands where a recorded one did."""
        if isinstance(wanted, str) and isinstance(found, str):
            for old, new in zip(_ID.findall(wanted), _ID.findall(found), strict=False):
                if old != new and set(old) != {"0"}:
                    self._ids.setdefault(old, new)
        elif isinstance(wanted, dict) and isinstance(found, dict):
            for key in wanted.keys() & found.keys():
                self._learn(wanted[key], found[key])
        elif isinstance(wanted, list) and isinstance(found, list):
            for old, new in zip(_sorted(wanted), _sorted(found), strict=False):
                self._learn(old, new)


def _name(value: Any) -> str:
    """What orders siblings whose order means nothing: the repo of a commit or the pipeline of a job."""
    commit = value.get("commit") if isinstance(value, dict) else None
    if isinstance(commit, dict) and isinstance(commit.get("repo"), dict):
        return f"{commit['repo'].get('name')}.{commit['repo'].get('type')}"
    return ""


def _sorted(values: list[Any]) -> list[Any]:
    """Commits of one set by repo; everything else as it came."""
    ids = {_id(value) for value in values}
    names = [_name(value) for value in values]
    is_set = all(names) and len(set(names)) == len(names) and len(ids) <= len(names)
    return sorted(values, key=_name) if is_set else values


def _id(value: Any) -> str:
    commit = value.get("commit") if isinstance(value, dict) else None
    return str(commit.get("id")) if isinstance(commit, dict) else ""


def _normal(value: Any, key: str = "") -> Any:
    """A value without what differs from run to run."""
    if isinstance(value, dict):
        return {name: _normal(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_normal(each, key) for each in _sorted(value)]
    if isinstance(value, str):
        if key.endswith(_DURATIONS) and value.endswith("s"):
            return "<duration>" if key.endswith("_time") and value != "0s" else value
        value = _TIME.sub("<time>", value)
        value = _TOOK.sub(r"\1<duration>", value)
        value = _WORKER.sub(r"\1<worker>", value)
        return _PORT.sub("<address>", value)
    return value


def _in_step(wanted: Any, found: Any) -> tuple[Any, Any]:
    """Both values without the progress by which the second is ahead of the first."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        ahead = _ahead(wanted, found)
        keys = [key for key in wanted.keys() | found.keys() if key not in ahead]
        pairs = {key: _in_step(wanted.get(key), found.get(key)) for key in keys}
        return (
            {key: pair[0] for key, pair in pairs.items() if pair[0] is not None},
            {key: pair[1] for key, pair in pairs.items() if pair[1] is not None},
        )
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        both = [_in_step(old, new) for old, new in zip(wanted, found, strict=True)]
        return [old for old, _ in both], [new for _, new in both]
    return wanted, found


def _ahead(wanted: dict[str, Any], found: dict[str, Any]) -> set[str]:
    """The fields of a job, a pipeline or a commit that are further here than when it was recorded."""
    states = wanted.get("state"), found.get("state")
    if "workers_requested" in wanted or "workers_requested" in found:
        # How many of a pipeline's workers are up, and whether it still asks for them, is a matter of moments.
        return {"workers_available", "workers_requested"}
    if "spec_commit" in wanted:
        before = _PIPELINE_STATES.get(states[0] or "", 9), _PIPELINE_STATES.get(states[1] or "", 9)
        jobs = wanted.get("last_job_state"), found.get("last_job_state")
        fields = {"state", "reason"} if before[0] < before[1] < 9 else set()
        return fields | ({"last_job_state"} if jobs[0] in (None, *_UNFINISHED) and jobs[0] != jobs[1] else set())
    if states[0] in _UNFINISHED and states[1] in _JOB_STATES:
        return set(_PROGRESS) if _JOB_STATES.index(states[1]) > _JOB_STATES.index(states[0]) else set()
    if "origin" in wanted and "finished" not in wanted and found.keys() & {"finishing", "finished"}:
        return set(_COMMIT_PROGRESS)
    return set()


def _compare(path: str, wanted: Any, found: Any) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys()):
            yield from _compare(f"{path}.{key}".lstrip("."), wanted.get(key), found.get(key))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (old, new) in enumerate(zip(wanted, found, strict=True)):
            yield from _compare(f"{path}[{number}]", old, new)
    elif wanted != found:
        yield f"{path}: {json.dumps(wanted)[:300]} -> {json.dumps(found)[:300]}"
