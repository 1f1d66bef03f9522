"""A day's work with boto3, by S3."""

from __future__ import annotations

import io
import os
import urllib.request

import boto3
from steps import Steps, run

BUCKET = "master.boto3"
BIG = os.urandom(20 << 20)
client = boto3.client(
    "s3",
    endpoint_url=f"http://{os.environ['S3_ADDRESS']}",
    aws_access_key_id=os.environ["TOKEN"],
    aws_secret_access_key=os.environ["TOKEN"],
    region_name="us-east-1",
)
versions: list[str] = []


def put() -> None:
    for data in (b"one", b"two"):
        versions.append(client.put_object(Bucket=BUCKET, Key="d/a", Body=data)["VersionId"])


def get(**more: str) -> bytes:
    found: bytes = client.get_object(Bucket=BUCKET, Key="d/a", **more)["Body"].read()
    return found


def is_big(key: str) -> bool:
    found = io.BytesIO()
    client.download_fileobj(BUCKET, key, found)
    return found.getvalue() == BIG


def list_pages() -> bool:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 1})
    return [each["Key"] for page in pages for each in page["Contents"]] == ["big", "copy", "d/a"]


def by_url() -> bool:
    url = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "d/a"})
    with urllib.request.urlopen(url) as answer:
        return bool(answer.read() == b"two")


def delete() -> bool:
    objects = [{"Key": key} for key in ("big", "copy", "d/a")]
    client.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})
    client.delete_bucket(Bucket=BUCKET)
    return BUCKET not in str(client.list_buckets()["Buckets"])


steps: Steps = {
    "create a bucket": lambda: client.create_bucket(Bucket=BUCKET),
    "put an object twice": put,
    "read it": lambda: get() == b"two",
    "read its first version": lambda: get(VersionId=versions[0]) == b"one",
    "read a part of it": lambda: get(Range="bytes=1-") == b"wo",
    "list directories": lambda: (
        client.list_objects(Bucket=BUCKET, Delimiter="/")["CommonPrefixes"][0]["Prefix"] == "d/"
    ),
    "upload 20 MiB in parts": lambda: client.upload_fileobj(io.BytesIO(BIG), BUCKET, "big"),
    "download them": lambda: is_big("big"),
    "copy them": lambda: client.copy({"Bucket": BUCKET, "Key": "big"}, BUCKET, "copy"),
    "download the copy": lambda: is_big("copy"),
    "list page by page": list_pages,
    "read by a signed URL": by_url,
    "delete all of it": delete,
}
run(steps)
