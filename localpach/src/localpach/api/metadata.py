"""metadata.API: keys and values that clients note of the cluster and of what is in it."""

from __future__ import annotations

import json

from localpach.api.pickers import branch_of, commit_of, project_of, repo_of
from localpach.errors import LocalpachError, Refused
from localpach.pfs.service import Pfs
from localpach.pps.records import PipelineName
from localpach.pps.service import Pps
from localpach.proto import metadata_pb2
from localpach.storage.store import Store
from localpach.waiting import Call


class MetadataServicer:
    """Keeps metadata in a column of what they are about."""

    def __init__(self, store: Store, pfs: Pfs, pps: Pps) -> None:
        self._store = store
        self._pfs = pfs
        self._pps = pps

    def EditMetadata(
        self, request: metadata_pb2.EditMetadataRequest, context: Call
    ) -> metadata_pb2.EditMetadataResponse:
        """All edits in order, or none."""
        with self._store.write():
            for number, edit in enumerate(request.edits):
                try:
                    self._edit(edit)
                except LocalpachError as error:
                    raise type(error)(f"apply edits: edit #{number}: {error.message}") from error
        return metadata_pb2.EditMetadataResponse()

    def of_cluster(self) -> dict[str, str]:
        with self._store.read() as connection:
            row = connection.execute("SELECT metadata FROM cluster").fetchone()
        found: dict[str, str] = json.loads(row["metadata"]) if row else {}
        return found

    def _edit(self, edit: metadata_pb2.Edit) -> None:
        table, column, value = self._place(edit)
        with self._store.write() as connection:
            if table == "cluster":
                connection.execute("INSERT OR IGNORE INTO cluster (rowid, metadata) VALUES (1, '{}')")
            row = connection.execute(f"SELECT metadata FROM {table} WHERE {column} = ?", (value,)).fetchone()
            changed = json.dumps(_changed(json.loads(row["metadata"]), edit))
            connection.execute(f"UPDATE {table} SET metadata = ? WHERE {column} = ?", (changed, value))

    def _place(self, edit: metadata_pb2.Edit) -> tuple[str, str, str | int]:
        """The row that an edit is about: its table, and a column with the value that it has there."""
        target = edit.WhichOneof("target")
        if target == "project":
            return "projects", "name", self._pfs.repos.project(project_of(edit.project)).name
        if target == "repo":
            return "repos", "num", self._pfs.repos.num_of(repo_of(edit.repo))
        if target == "branch":
            return "branches", "num", self._pfs.branches.get(branch_of(edit.branch)).num
        if target == "commit":
            return "commits", "num", commit_of(self._pfs, edit.commit).num
        if target == "pipeline":
            name = PipelineName(project_of(edit.pipeline.name.project), edit.pipeline.name.name)
            return "pipelines", "num", self._pps.pipelines.get(name).num
        if target == "cluster":
            return "cluster", "rowid", 1
        raise Refused("an edit must have a target")


def _changed(metadata: dict[str, str], edit: metadata_pb2.Edit) -> dict[str, str]:
    change = edit.WhichOneof("op")
    if change == "replace":
        return dict(edit.replace.replacement)
    if change == "add_key":
        key = edit.add_key.key
        if key in metadata:
            raise Refused(f'add_key target key "{key}" already exists; use edit_key instead')
        return metadata | {key: edit.add_key.value}
    if change == "edit_key":
        return metadata | {edit.edit_key.key: edit.edit_key.value}
    if change == "delete_key":
        return {key: value for key, value in metadata.items() if key != edit.delete_key.key}
    raise Refused("an edit must have an operation")
