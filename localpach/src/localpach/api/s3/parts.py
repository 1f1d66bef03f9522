"""What is in the making: the parts of uploads, and what jobs write. Each is an open commit, on a branch of its own in the repo
that Pachyderm keeps parts in, too."""

from __future__ import annotations

from localpach.names import DEFAULT_PROJECT, Branch, Commit, Repo, new_id
from localpach.pfs.records import CommitRecord
from localpach.pfs.service import Pfs

PARTS = Repo(DEFAULT_PROJECT, "_s3gateway_multipart_")
# The kinds that there are.
UPLOAD, OUT = "upload", "out"


def begin(pfs: Pfs, kind: str, description: str = "") -> Commit:
    """A new one, on a branch whose name begins with its kind."""
    with pfs.transaction():
        pfs.repos.create(PARTS, "what is in the making by S3", update=True)
        return pfs.commits.start(Branch(PARTS, f"{kind}-{new_id()}"), description)


def all_begun(pfs: Pfs, kind: str) -> list[CommitRecord]:
    """All of a kind."""
    branches = pfs.branches.of_repo(PARTS) if pfs.repos.exists(PARTS) else []
    return [pfs.commits.by_num(each.head) for each in branches if each.head and each.branch.name.startswith(f"{kind}-")]


def forget(pfs: Pfs, record: CommitRecord) -> None:
    """Deletes one with all that is in it."""
    with pfs.transaction():
        pfs.branches.delete(Branch(PARTS, record.branch))
        pfs.commit_sets.drop_commit(record, recursive=False)
