"""Defaults of specs: the cluster's, over these the project's, over both what the user has written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format

from localpach.clock import now
from localpach.errors import Refused
from localpach.names import DEFAULT_PROJECT
from localpach.pfs.service import Pfs
from localpach.pps.specs import DEFAULT_IMAGE, DEFAULT_TRIES
from localpach.proto import pps_pb2
from localpach.storage.store import Store

# What holds where neither the cluster nor the project says otherwise.
BUILT_IN = {
    "transform": {"image": DEFAULT_IMAGE},
    "outputBranch": "master",
    "datumTries": str(DEFAULT_TRIES),
    "reprocessSpec": "until_success",
}
# Messages of more levels can't be sent.
MAX_DEPTH = 100
# What a request asks for beside the spec.
ORDERS = ("update", "reprocess", "dryRun")


class Spec(NamedTuple):
    """A spec as the user has written it and, with all defaults, as it takes effect; both JSON. `request` is what the latter
    asks for."""

    user: str
    effective: str
    request: pps_pb2.CreatePipelineRequest


class Kept(NamedTuple):
    """Defaults as they were set, JSON, and when, in microseconds since 1970."""

    json: str
    created: int


class Defaults:
    """The defaults of the cluster, whose project is None, and of projects."""

    def __init__(self, store: Store, pfs: Pfs) -> None:
        self._store = store
        self._pfs = pfs

    def get(self, project: str | None) -> Kept:
        """Raises NotFound where there is no such project."""
        if project is not None:
            self._pfs.repos.project(project)
        return self._kept(project)

    def check(self, project: str | None, text: str) -> None:
        """Raises Refused where the text is no JSON of defaults, and NotFound where there is no such project."""
        _parse(_request_of(text))
        self.get(project)

    def set(self, project: str | None, text: str) -> None:
        """Keeps defaults that were checked."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM defaults WHERE project IS ?", (project,))
            connection.execute("INSERT INTO defaults VALUES (?, ?, ?)", (project, text, now()))

    def spec(self, user: str, changed: Mapping[str | None, str] | None = None) -> Spec:
        """What a user's spec, JSON, comes to, where the defaults of `changed` are in place of those that are kept."""
        written = _canonical(_read(user, "spec"), pps_pb2.CreatePipelineRequest.DESCRIPTOR)
        orders = {order: written.pop(order) for order in ORDERS if order in written}
        pipeline = _parse({"pipeline": written.get("pipeline") or {}}).pipeline
        merged: dict[str, Any] = {}
        for project in (None, pipeline.project.name or DEFAULT_PROJECT):
            merged = _merged(merged, _request_of((changed or {}).get(project) or self._kept(project).json))
        merged = _merged(merged, written)
        return Spec(json.dumps(written), json.dumps(_merged(BUILT_IN, merged)), _parse(merged | orders))

    def of_request(self, request: pps_pb2.CreatePipelineRequest) -> Spec:
        """What a request of a client comes to that does not write its spec as JSON."""
        return self.spec(json_format.MessageToJson(request))

    def _kept(self, project: str | None) -> Kept:
        with self._store.read() as connection:
            row = connection.execute("SELECT json, created FROM defaults WHERE project IS ?", (project,)).fetchone()
        return Kept(*row) if row else Kept("{}", 0)

    def are_set(self) -> bool:
        """Whether the cluster or a project has any."""
        with self._store.read() as connection:
            return connection.execute("SELECT 1 FROM defaults").fetchone() is not None

    def clear(self) -> None:
        """Forgets all defaults."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM defaults")


def _request_of(text: str) -> dict[str, Any]:
    """The part of a spec that defaults give."""
    found = _canonical(_read(text, "defaults"), pps_pb2.ClusterDefaults.DESCRIPTOR).get("createPipelineRequest")
    return found or {}


def _read(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        _check_depth(value)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the {what} can't be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refused(f"the {what} must be a JSON object, not {text[:40]!r}")
    return value


def _check_depth(value: Any, left: int = MAX_DEPTH) -> None:
    if not left:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(each, left - 1)


def _canonical(value: dict[str, Any], message: Any) -> dict[str, Any]:
    """JSON of a message, whose descriptor is given, with each field under the one name that JSON has for it."""
    fields = {name: field for field in message.fields for name in (field.name, field.json_name)}
    found = {}
    for name, each in value.items():
        field = fields.get(name)
        if field is None:
            raise Refused(f'unexpected field "{name}" in {message.full_name}')
        kind = field.message_type
        if kind is not None and not kind.GetOptions().map_entry and not kind.full_name.startswith("google.protobuf."):
            found[field.json_name] = _each_canonical(each, kind)
        else:
            found[field.json_name] = each
    return found


def _each_canonical(value: Any, message: Any) -> Any:
    """The same of the value of a field, which may be a list; what is neither is for the parser to refuse."""
    if isinstance(value, list):
        return [_each_canonical(item, message) for item in value]
    return _canonical(value, message) if isinstance(value, dict) else value


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Merge Patch (RFC 7396): null takes a value away."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def _parse(value: dict[str, Any]) -> pps_pb2.CreatePipelineRequest:
    try:
        return json_format.ParseDict(value, pps_pb2.CreatePipelineRequest())
    except json_format.ParseError as error:
        raise Refused(f"malformed spec: {error}") from error
