"""Buckets: each a branch, or a commit of one."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from localpach.api.s3.errors import S3Error
from localpach.api.s3.parts import PARTS
from localpach.api.s3.payload import Body
from localpach.api.s3.request import Answer, Request, xml_answer
from localpach.api.s3.xml import Node, iso, parse
from localpach.errors import NotFound, Refused
from localpach.names import DEFAULT_PROJECT, USER, Branch, Commit, Repo, is_uuid4
from localpach.pfs.records import CommitRecord
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Change
from localpach.storage.objects import Batch

# Pachyderm's names for what it has none of.
LOCATION = "PACHYDERM"
OWNER: list[Node] = [("ID", "00000000000000000000000000000000"), ("DisplayName", "pachyderm")]
SMALL_BYTES = 64 << 10


class Bucket(NamedTuple):
    """What a bucket's name, `[COMMIT.][BRANCH.]REPO[.PROJECT]`, stands for; `id` is empty where it names no commit."""

    branch: Branch
    id: str

    @classmethod
    def named(cls, name: str) -> Bucket:
        parts = name.split(".")
        id = parts.pop(0) if is_uuid4(parts[0]) else ""
        match parts:
            case [repo]:
                return cls(Branch(Repo(DEFAULT_PROJECT, repo), "master"), id)
            case [branch, repo]:
                return cls(Branch(Repo(DEFAULT_PROJECT, repo), branch), id)
            case [branch, repo, project]:
                return cls(Branch(Repo(project, repo), branch), id)
        raise S3Error("InvalidBucketName", f"{name} is not of the form [COMMIT.][BRANCH.]REPO[.PROJECT]")


class Buckets:
    """Finds, makes and deletes buckets."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs

    def readable(self, name: str, version: str = "") -> CommitRecord:
        """The commit that a bucket shows, or the one of its repo that `version` is the id of."""
        bucket = Bucket.named(name)
        repo = bucket.branch.repo
        try:
            self._pfs.branches.get(bucket.branch)
            record = self._pfs.queries.resolve(repo, bucket.id) if bucket.id else self._pfs.queries.head(bucket.branch)
        except (NotFound, Refused) as error:
            raise S3Error("NoSuchBucket", f"there is no bucket {name}: {error.message}") from error
        if version not in ("", "null"):
            try:
                record = self._pfs.commits.get(Commit(repo, version))
            except NotFound as error:
                raise S3Error("NoSuchVersion", f"{version} is no commit of {repo}") from error
        return self._pfs.commits.readable(record)

    def writable(self, name: str) -> Branch | Commit:
        """Where what is put into a bucket goes: to its branch, or the open commit that it names."""
        bucket = Bucket.named(name)
        found = self._pfs.branches.find(bucket.branch)
        if found is None:
            raise S3Error("NoSuchBucket", f"there is no bucket {name}: no branch {bucket.branch}")
        if self._pfs.branches.direct_provenance(found.num):
            raise S3Error(
                "WriteToOutputBranch", f"{bucket.branch} is an output branch, which only its pipeline writes to"
            )
        if not bucket.id:
            return bucket.branch
        return self._pfs.commits.open_commit(self.readable(name).commit).commit

    def write(self, target: Branch | Commit, changes: Iterable[Change], batch: Batch) -> Commit:
        """Makes changes, in a commit of their own unless one is open; gives the commit that has them."""
        if isinstance(target, Branch):
            return self._pfs.writes.apply_to_branch(target, changes, batch, may_conflict=False)
        self._pfs.writes.apply(target, changes, batch, may_conflict=False)
        return target

    def identity(self, name: str) -> str:
        """What tells a bucket from all others, by whatever name."""
        branch, id = Bucket.named(name)
        return f"{branch}/{id}"

    def list_all(self, request: Request, body: Body) -> Answer:
        found: list[Node] = []
        for record in self._pfs.repos.all(USER):
            if record.repo != PARTS:
                for branch in record.branches:
                    name = f"{branch}.{record.repo.name}.{record.repo.project}"
                    found.append(("Bucket", [("Name", name), ("CreationDate", iso(record.created))]))
        return xml_answer("ListAllMyBucketsResult", [("Owner", OWNER), ("Buckets", found)])

    def head(self, request: Request, body: Body) -> Answer:
        self.readable(request.bucket)
        return Answer()

    def location(self, request: Request, body: Body) -> Answer:
        self.readable(request.bucket)
        return xml_answer("LocationConstraint", LOCATION)

    def create(self, request: Request, body: Body) -> Answer:
        """Makes the branch, and its repo, if need be."""
        body.read_all(SMALL_BYTES)
        bucket = Bucket.named(request.bucket)
        if bucket.id:
            raise S3Error("InvalidBucketName", "a bucket that is a commit is made by that commit")
        if self._pfs.branches.exists(bucket.branch):
            raise S3Error("BucketAlreadyOwnedByYou", f"branch {bucket.branch} is there already")
        try:
            with self._pfs.transaction():
                if not self._pfs.repos.exists(bucket.branch.repo):
                    self._pfs.repos.create(bucket.branch.repo)
                self._pfs.provenance.create_branch(bucket.branch)
        except (NotFound, Refused) as error:
            raise S3Error("InvalidBucketName", error.message) from error
        return Answer(headers={"Location": f"/{request.bucket}"})

    def delete(self, request: Request, body: Body) -> Answer:
        """Deletes the branch, and the repo with its last branch."""
        branch, id = Bucket.named(request.bucket)
        with self._pfs.transaction():
            if self.readable(request.bucket).root.key:
                raise S3Error("BucketNotEmpty", f"there are files in {request.bucket}; delete them first")
            if id:
                raise S3Error("InvalidBucketName", "a bucket that is a commit goes with that commit")
            self.writable(request.bucket)
            self._pfs.branches.delete(branch)
            if not self._pfs.repos.get(branch.repo).branches:
                self._pfs.deletion.delete_repo(branch.repo)
        return Answer(HTTPStatus.NO_CONTENT)

    def versioning(self, request: Request, body: Body) -> Answer:
        """Each commit is a version."""
        self.readable(request.bucket)
        return xml_answer("VersioningConfiguration", [("Status", "Enabled")])

    def set_versioning(self, request: Request, body: Body) -> Answer:
        self.readable(request.bucket)
        found = parse(body.read_all(SMALL_BYTES), "VersioningConfiguration")
        if found.findtext("Status") != "Enabled":
            raise S3Error("NotImplemented", "each commit is a version: versioning can't be suspended")
        return Answer()
