"""Rows of the table of commits, as records."""

from __future__ import annotations

import sqlite3

from localpach.names import Commit, Repo
from localpach.pfs.records import CommitRecord
from localpach.storage.trees import Dir

SELECT_COMMIT = "SELECT c.*, r.project, r.name AS repo_name, r.type FROM commits c JOIN repos r ON r.num = c.repo"


def commit_record(row: sqlite3.Row) -> CommitRecord:
    """The commit of a row of `SELECT_COMMIT`."""
    return CommitRecord(
        num=row["num"],
        commit=Commit(Repo(row["project"], row["repo_name"], row["type"]), row["id"]),
        branch=row["branch"],
        parent=row["parent"],
        origin=row["origin"],
        description=row["description"],
        started=row["started"],
        finishing=row["finishing"],
        finished=row["finished"],
        error=row["error"],
        refused=bool(row["refused"]),
        # One that was forgotten is told of with the size that it had.
        root=Dir(row["tree"] or "", row["size"]),
        is_written=row["tree"] is not None,
        metadata=row["metadata"],
    )
