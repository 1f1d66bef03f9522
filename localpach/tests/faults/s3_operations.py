"""Requests to the S3 gateway that change something, as operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.client import Client
from tests.faults.operations import BIG, Operation, has_repo

PARTS = "_s3gateway_multipart_"


class S3Operations:
    """By a client of boto3's; whether something is done is seen by gRPC."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.operations: dict[str, Callable[[Client, str], Operation]] = {
            f"s3_{each.__name__}": each
            for each in (
                self.create_bucket,
                self.delete_bucket,
                self.put_object,
                self.copy_object,
                self.delete_object,
                self.delete_objects,
                self.begin_upload,
                self.put_part,
                self.copy_part,
                self.complete_upload,
                self.abort_upload,
            )
        }

    def _bucket(self, tag: str) -> str:
        name = f"master.{tag}"
        self._s3.create_bucket(Bucket=name)
        return name

    def _filled(self, tag: str) -> str:
        bucket = self._bucket(tag)
        for key in ("old", "older"):
            self._s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        return bucket

    def _upload(self, tag: str) -> dict[str, str]:
        named = {"Bucket": self._filled(tag), "Key": "f"}
        return {**named, "UploadId": self._s3.create_multipart_upload(**named)["UploadId"]}

    def create_bucket(self, client: Client, tag: str) -> Operation:
        return lambda: self._s3.create_bucket(Bucket=f"master.{tag}"), lambda: has_repo(client, tag)

    def delete_bucket(self, client: Client, tag: str) -> Operation:
        bucket = self._bucket(tag)
        return lambda: self._s3.delete_bucket(Bucket=bucket), lambda: not has_repo(client, tag)

    def put_object(self, client: Client, tag: str) -> Operation:
        bucket = self._bucket(tag)
        return lambda: self._s3.put_object(Bucket=bucket, Key="f", Body=BIG), lambda: _has(client, tag, "f")

    def copy_object(self, client: Client, tag: str) -> Operation:
        source = {"Bucket": self._filled(tag), "Key": "old"}
        return (
            lambda: self._s3.copy_object(Bucket=source["Bucket"], Key="f", CopySource=source),
            lambda: _has(client, tag, "f"),
        )

    def delete_object(self, client: Client, tag: str) -> Operation:
        bucket = self._filled(tag)
        return lambda: self._s3.delete_object(Bucket=bucket, Key="old"), lambda: not _has(client, tag, "old")

    def delete_objects(self, client: Client, tag: str) -> Operation:
        bucket, keys = self._filled(tag), ("old", "older")
        delete = {"Objects": [{"Key": key} for key in keys]}
        return (
            lambda: self._s3.delete_objects(Bucket=bucket, Delete=delete),
            lambda: not any(_has(client, tag, key) for key in keys),
        )

    def begin_upload(self, client: Client, tag: str) -> Operation:
        bucket = self._bucket(tag)
        return (
            lambda: self._s3.create_multipart_upload(Bucket=bucket, Key="f"),
            lambda: len(_uploads(client, tag)) == 1,
        )

    def put_part(self, client: Client, tag: str) -> Operation:
        upload = self._upload(tag)
        return (
            lambda: self._s3.upload_part(**upload, PartNumber=1, Body=BIG),
            lambda: len(client.list_file((PARTS, upload["UploadId"]), "/")) == 1,
        )

    def copy_part(self, client: Client, tag: str) -> Operation:
        upload = self._upload(tag)
        source = {"Bucket": upload["Bucket"], "Key": "old"}
        return (
            lambda: self._s3.upload_part_copy(**upload, PartNumber=1, CopySource=source),
            lambda: len(client.list_file((PARTS, upload["UploadId"]), "/")) == 1,
        )

    def complete_upload(self, client: Client, tag: str) -> Operation:
        upload = self._upload(tag)
        part = {"PartNumber": 1, "ETag": self._s3.upload_part(**upload, PartNumber=1, Body=BIG)["ETag"]}
        return (
            lambda: self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]}),
            # Completed twice, it would be two commits.
            lambda: _has(client, tag, "f") and not _uploads(client, tag) and len(client.list_commit(tag)) == 3,
        )

    def abort_upload(self, client: Client, tag: str) -> Operation:
        upload = self._upload(tag)
        return lambda: self._s3.abort_multipart_upload(**upload), lambda: not _uploads(client, tag)


def _has(client: Client, tag: str, key: str) -> bool:
    return f"/{key}" in [info.file.path for info in client.list_file((tag, "master"), "/")]


def _uploads(client: Client, tag: str) -> list[str]:
    """The uploads to a bucket that are neither complete nor aborted, by what PFS keeps of them."""
    if not has_repo(client, PARTS):
        return []
    return [info.commit.id for info in client.list_commit(PARTS) if f"/{tag}@" in info.description]
