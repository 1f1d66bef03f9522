"""Uploads in parts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localpach.api.s3 import uploads
from tests.client import Client
from tests.s3.conftest import connect
from tests.s3.helpers import BUCKET, content, keys, refusal
from tests.servers import serving, token

MULTIPART_REPO = "_s3gateway_multipart_"


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not the last may be smaller than they are elsewhere."""
    monkeypatch.setattr(uploads, "LEAST_BYTES", 10)


def begin(s3: Any, key: str = "a") -> dict[str, str]:
    """What names a new upload."""
    return {"Bucket": BUCKET, "Key": key, "UploadId": s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]}


def put(s3: Any, upload: dict[str, str], number: int, data: bytes) -> dict[str, Any]:
    """What names a part, which is uploaded."""
    return {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=data)["ETag"]}


def complete(s3: Any, upload: dict[str, str], *parts: dict[str, Any]) -> Any:
    return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": list(parts)})


def left(client: Client) -> list[str]:
    """What PFS keeps of uploads."""
    return [info.commit.id for info in client.list_commit(MULTIPART_REPO)]


def test_the_checksum_of_an_object_is_not_taken_for_that_of_the_request(s3: Any) -> None:
    upload = begin(s3)
    part = put(s3, upload, 1, b"one")
    named = {"Parts": [part]}
    s3.complete_multipart_upload(**upload, MultipartUpload=named, ChecksumCRC32="AAAAAA==", ChecksumType="FULL_OBJECT")
    assert content(s3, "a") == b"one"


def test_parts_are_joined_in_their_order_in_one_commit(s3: Any, client: Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"before")
    commits = len(client.list_commit("in"))
    upload = begin(s3)
    put(s3, upload, 3, b"forgotten, for it is put again")
    named = [put(s3, upload, number, f"part {number:05}".encode()) for number in (7, 1, 3, 10_000)]
    assert content(s3, "a") == b"before"
    # One that is not named is not in it.
    answer = complete(s3, upload, *named[1:])
    assert content(s3, "a") == b"part 00001part 00003part 10000"
    info = client.list_file(("in", "master"), "/")[0]
    assert answer["ETag"] == f'"{info.hash.hex()}"'
    assert client.list_commit("in")[0].commit.id == answer["VersionId"]
    assert len(client.list_commit("in")) == commits + 1
    assert left(client) == []
    assert refusal(complete, s3, upload, *named) == "NoSuchUpload"


def test_an_upload_that_is_aborted_leaves_nothing(s3: Any, client: Client) -> None:
    upload = begin(s3)
    part = put(s3, upload, 1, b"1" * 100_000)
    s3.abort_multipart_upload(**upload)
    assert left(client) == []
    assert client.list_branch(MULTIPART_REPO) == []
    for call in (s3.abort_multipart_upload, s3.list_parts):
        assert refusal(call, **upload) == "NoSuchUpload"
    assert refusal(put, s3, upload, 2, b"") == "NoSuchUpload"
    assert refusal(complete, s3, upload, part) == "NoSuchUpload"
    assert keys(s3.list_objects_v2(Bucket=BUCKET)) == []


def test_an_upload_that_is_completed_twice_at_once_is_one_commit(s3: Any, client: Client) -> None:
    """As by a client that has waited too long for the first answer."""
    for number in range(5):
        upload = begin(s3, f"twice{number}")
        part = put(s3, upload, 1, b"one")
        before = len(client.list_commit("in"))
        codes: list[str] = []

        def ask(upload: dict[str, str] = upload, part: dict[str, Any] = part, codes: list[str] = codes) -> None:
            try:
                complete(s3, upload, part)
                codes.append("")
            except ClientError as error:
                codes.append(error.response["Error"]["Code"])

        askers = [threading.Thread(target=ask) for _ in range(2)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert sorted(codes) == ["", "NoSuchUpload"]
        assert len(client.list_commit("in")) == before + 1
        assert content(s3, f"twice{number}") == b"one"


def test_what_is_not_completed(s3: Any) -> None:
    upload = begin(s3)
    small, big, other = (put(s3, upload, number, b"x" * size) for number, size in ((1, 9), (2, 10), (3, 1)))
    assert refusal(complete, s3, upload, small, big) == "EntityTooSmall"
    assert refusal(complete, s3, upload, big, small) == "InvalidPartOrder"
    assert refusal(complete, s3, upload, big, big) == "InvalidPartOrder"
    assert refusal(complete, s3, upload, big | {"ETag": other["ETag"]}) == "InvalidPart"
    assert refusal(complete, s3, upload, big | {"PartNumber": 4}) == "InvalidPart"
    assert refusal(complete, s3, upload) == "MalformedXML"
    for number in (0, 10_001):
        assert refusal(put, s3, upload, number, b"") == "InvalidArgument"
    assert refusal(put, s3, upload | {"Key": "other"}, 1, b"") == "NoSuchUpload"
    assert keys(s3.list_objects_v2(Bucket=BUCKET)) == []
    complete(s3, upload, big, other)
    assert content(s3, "a") == b"x" * 11


def test_parts_and_uploads_are_listed_page_by_page(s3: Any) -> None:
    uploads = [begin(s3, key) for key in ("b", "a", "a", "c/d")]
    named = [put(s3, uploads[0], number, bytes(number)) for number in (5, 2, 11)]
    pages = [s3.list_parts(**uploads[0], MaxParts=2)]
    pages.append(s3.list_parts(**uploads[0], MaxParts=2, PartNumberMarker=pages[0]["NextPartNumberMarker"]))
    assert [page["IsTruncated"] for page in pages] == [True, False]
    shown = [{name: part[name] for name in ("PartNumber", "ETag", "Size")} for page in pages for part in page["Parts"]]
    assert shown == [part | {"Size": part["PartNumber"]} for part in sorted(named, key=lambda part: part["PartNumber"])]
    found = []
    more: dict[str, str] = {}
    for is_last in (False, False, False, True):
        page = s3.list_multipart_uploads(Bucket="in", MaxUploads=1, **more)
        found += [(each["Key"], each["UploadId"]) for each in page["Uploads"]]
        assert page["IsTruncated"] is not is_last
        more = {} if is_last else {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert found == sorted((upload["Key"], upload["UploadId"]) for upload in uploads)
    assert len(s3.list_multipart_uploads(Bucket=BUCKET, Prefix="a")["Uploads"]) == 2
    s3.create_bucket(Bucket="other.in")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="other.in")
    # It is none of the buckets.
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {"master.in.default", "other.in.default"}


def test_parts_are_copied_from_objects(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="from", Body=bytes(range(200)))
    upload = begin(s3)
    parts = []
    for number, wanted in ((1, {"CopySourceRange": "bytes=10-29"}), (2, {})):
        made = s3.upload_part_copy(**upload, PartNumber=number, CopySource=f"{BUCKET}/from", **wanted)
        parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
    complete(s3, upload, *parts)
    assert content(s3, "a") == bytes(range(10, 30)) + bytes(range(200))
    assert refusal(s3.upload_part_copy, **begin(s3), PartNumber=1, CopySource=f"{BUCKET}/none") == "NoSuchKey"


def test_an_upload_outlives_the_server(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        s3 = connect(server, token(tmp_path))
        s3.create_bucket(Bucket=BUCKET)
        upload = begin(s3)
        parts = [put(s3, upload, 1, b"x" * 100_000)]
    with serving(tmp_path) as server:
        s3 = connect(server, token(tmp_path))
        parts.append(put(s3, upload, 2, b"y"))
        complete(s3, upload, *parts)
        assert content(s3, "a") == b"x" * 100_000 + b"y"
