"""Objects are the files that PFS has, whoever puts them there."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localpach.proto import pfs_pb2
from tests.client import Client, branch_of
from tests.helpers import put
from tests.s3.conftest import connect
from tests.s3.helpers import BUCKET, content, keys, refusal
from tests.servers import Server, token

# No file has a directory's name. "-" and "." come before "/", "0" after it.
FOLDERS = st.lists(st.sampled_from(["d", "d-", "d.e", "d0"]), max_size=2)
KEYS = st.builds(lambda folders, name: "/".join([*folders, name]), FOLDERS, st.sampled_from(["f", "f-", "f g", "&<"]))
FILES = st.dictionaries(KEYS, st.binary(max_size=20), max_size=12)
PREFIXES = st.one_of(KEYS, st.sampled_from(["", "d", "d/", "d-", "d.", "d/d", "d0/", "d/d/", "x", "/d", "../", "f/"]))


def listed(found: list[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """What S3 says that a list is."""
    shown = set()
    for key in found:
        if key.startswith(prefix):
            folder, slash, _ = key[len(prefix) :].partition("/")
            shown.add(f"{prefix}{folder}/" if delimiter and slash else key)
    return sorted(key for key in shown if key > after)


def pages(s3: Any, version: int, most: int, after: str, **asked: str) -> list[str]:
    """All that a list gives, page by page."""
    call, first, next, token = (
        (s3.list_objects, "Marker", "Marker", "NextMarker"),
        (s3.list_objects_v2, "StartAfter", "ContinuationToken", "NextContinuationToken"),
    )[version - 1]
    found: list[str] = []
    more = {first: after} if after else {}
    while True:
        page = call(Bucket=BUCKET, MaxKeys=most, **asked, **more)
        assert page["IsTruncated"] == (token in page)
        assert len(keys(page)) == most if page["IsTruncated"] else len(keys(page)) <= most
        found += keys(page)
        if not page["IsTruncated"]:
            return found
        more = {next: page[token]}


@settings(max_examples=8)
@given(data=st.data(), files=FILES)
def test_lists_are_those_of_s3(boto: Any, server: Server, data: st.DataObject, files: dict[str, bytes]) -> None:
    client = server.client
    client.delete_all()
    client.create_repo("in")
    put(client, "in", {f"/{key}": value for key, value in files.items()})
    for _ in range(3):
        prefix, delimiter, after = data.draw(
            st.tuples(PREFIXES, st.sampled_from(["", "/"]), st.one_of(st.just(""), KEYS))
        )
        expected = listed(list(files), prefix.removeprefix("/"), delimiter, after)
        version, most = data.draw(st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2, 1000])))
        assert pages(boto, version, most, after, Prefix=prefix, Delimiter=delimiter) == expected


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=20)),
        st.tuples(st.just("put by gRPC"), KEYS, st.binary(max_size=20)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("delete many"), KEYS, KEYS),
        st.tuples(st.just("copy"), KEYS, KEYS),
    ),
    min_size=3,
    max_size=8,
)


@settings(max_examples=8)
@given(changes=CHANGES)
def test_what_is_put_is_there_for_both_sides(boto: Any, server: Server, changes: list[tuple[Any, ...]]) -> None:
    client = server.client
    client.delete_all()
    boto.create_bucket(Bucket=BUCKET)
    model: dict[str, bytes] = {}
    for kind, key, *more in changes:
        if kind == "put":
            boto.put_object(Bucket=BUCKET, Key=key, Body=more[0])
            model[key] = more[0]
        elif kind == "put by gRPC":
            with client.modify_file_client(("in", "master")) as modify:
                modify.delete_file(f"/{key}")
                modify.put_file_from_bytes(f"/{key}", more[0])
            model[key] = more[0]
        elif kind == "delete":
            boto.delete_object(Bucket=BUCKET, Key=key)
            model.pop(key, None)
        elif kind == "delete many":
            deleted = boto.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}, {"Key": more[0]}]})
            assert {each["Key"] for each in deleted["Deleted"]} == {key, more[0]}
            for each in (key, more[0]):
                model.pop(each, None)
        elif key in model:
            boto.copy_object(Bucket=BUCKET, Key=more[0], CopySource={"Bucket": BUCKET, "Key": key})
            model[more[0]] = model[key]
        else:
            assert refusal(boto.copy_object, Bucket=BUCKET, Key=more[0], CopySource=f"{BUCKET}/{key}") == "NoSuchKey"
    infos = [info for info in client.glob_file(("in", "master"), "/**") if info.file_type == pfs_pb2.FILE]
    listed = boto.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    assert (
        [f"/{each['Key']}" for each in listed] == [info.file.path for info in infos] == sorted(f"/{k}" for k in model)
    )
    for info, each in zip(infos, listed, strict=True):
        assert (each["Size"], each["ETag"]) == (info.size_bytes, f'"{info.hash.hex()}"')
        assert each["LastModified"].timestamp() == pytest.approx(info.committed.ToNanoseconds() / 1e9, abs=0.001)
        found = boto.get_object(Bucket=BUCKET, Key=each["Key"])
        assert found["Body"].read() == model[each["Key"]] == client.get_file(("in", "master"), info.file.path)
        assert found["ETag"] == each["ETag"]


def test_each_change_is_a_commit_unless_one_is_open(s3: Any, client: Client) -> None:
    before = len(client.list_commit("in"))
    answer = s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")
    assert client.list_commit("in")[0].commit.id == answer["VersionId"]
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "a"}], "Quiet": True})
    s3.delete_object(Bucket=BUCKET, Key="a")
    assert len(client.list_commit("in")) == before + 2
    with client.commit("in", "master") as commit:
        for key in "bc":
            assert s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")["VersionId"] == commit.id
        assert s3.put_object(Bucket=f"{commit.id}.master.in", Key="d", Body=b"1")["VersionId"] == commit.id
    assert keys(s3.list_objects_v2(Bucket=BUCKET)) == ["b", "c", "d"]
    assert refusal(s3.put_object, Bucket=f"{commit.id}.master.in", Key="e", Body=b"1") == "InvalidRequest"


@pytest.mark.parametrize(("there", "other"), [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c/d")])
def test_a_file_is_no_directory_of_others(s3: Any, client: Client, there: str, other: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=there, Body=b"1")
    before = len(client.list_commit("in"))
    assert refusal(s3.put_object, Bucket=BUCKET, Key=other, Body=b"2") == "InvalidRequest"
    assert len(client.list_commit("in")) == before
    with client.commit("in", "master"):
        assert refusal(s3.put_object, Bucket=BUCKET, Key=other, Body=b"2") == "InvalidRequest"
        s3.delete_object(Bucket=BUCKET, Key=there)
        s3.put_object(Bucket=BUCKET, Key=other, Body=b"2")
    assert keys(s3.list_objects_v2(Bucket=BUCKET)) == [other]
    assert client.inspect_commit(("in", "master")).error == ""


def test_each_commit_is_a_version(s3: Any) -> None:
    versions = [s3.put_object(Bucket=BUCKET, Key="a", Body=data)["VersionId"] for data in (b"one", b"two", b"three")]
    for version, data in zip(versions, (b"one", b"two", b"three"), strict=True):
        assert content(s3, "a", VersionId=version) == data
        for bucket in (f"{version}.in", f"{version}.master.in", f"{version}.master.in.default"):
            assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == data
    assert content(s3, "a") == b"three"
    assert refusal(s3.get_object, Bucket=BUCKET, Key="a", VersionId="0" * 32) == "NoSuchVersion"
    assert refusal(s3.delete_object, Bucket=BUCKET, Key="a", VersionId=versions[0]) == "NotImplemented"
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    suspended = {"Status": "Suspended"}
    assert refusal(s3.put_bucket_versioning, Bucket=BUCKET, VersioningConfiguration=suspended) == "NotImplemented"


def test_a_range_is_a_slice(s3: Any) -> None:
    data = bytes(range(5))
    s3.put_object(Bucket=BUCKET, Key="a", Body=data)
    for first, last in itertools.product(range(7), range(7)):
        if first >= 5 and first <= last:
            assert refusal(content, s3, "a", Range=f"bytes={first}-{last}") == "InvalidRange"
        else:
            expected = data[first : last + 1] if first <= last else data
            assert content(s3, "a", Range=f"bytes={first}-{last}") == expected
    for count in range(1, 7):
        assert content(s3, "a", Range=f"bytes=-{count}") == data[-count:]
        assert content(s3, "a", Range=f"bytes={count - 1}-") == data[count - 1 :] if count < 6 else True
    for odd in ("bytes=-", "bytes=0-1,3-4", "lines=0-1", "bytes=x-"):
        assert content(s3, "a", Range=odd) == data


def test_conditions(s3: Any) -> None:
    tag = s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")["ETag"]
    modified = s3.head_object(Bucket=BUCKET, Key="a")["LastModified"]
    before, after = modified.replace(year=2000), modified.replace(year=modified.year + 1)
    for fine in (
        {"IfMatch": tag},
        {"IfMatch": "*"},
        {"IfMatch": tag, "IfUnmodifiedSince": before},
        {"IfUnmodifiedSince": after},
        {"IfNoneMatch": '"other"'},
        {"IfModifiedSince": before},
        {"IfNoneMatch": '"other"', "IfModifiedSince": after},
    ):
        assert content(s3, "a", **fine) == b"1"
    for stale in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": before}):
        assert refusal(content, s3, "a", **stale) == "PreconditionFailed"
    for known in ({"IfNoneMatch": tag}, {"IfNoneMatch": "*"}, {"IfModifiedSince": modified}):
        assert refusal(content, s3, "a", **known) == "304"
    assert refusal(s3.put_object, Bucket=BUCKET, Key="a", Body=b"2", IfNoneMatch="*") == "NotImplemented"


@pytest.mark.parametrize("key", ["../a", "a//b", "/a", "a/./b", "a/..", "*", "a\tb", "a/", "ü", "/", "d/" * 300 + "x"])
def test_keys_that_name_no_file(s3: Any, client: Client, key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")
    assert refusal(s3.put_object, Bucket=BUCKET, Key=key, Body=b"2") in ("InvalidFilePath", "InvalidRequest")
    assert refusal(s3.get_object, Bucket=BUCKET, Key=key) == "NoSuchKey"
    s3.delete_object(Bucket=BUCKET, Key=key)
    assert content(s3, "a") == b"1"
    assert client.get_file(("in", "master"), "/a") == b"1"


def test_a_mark_of_a_directory_is_taken_and_leaves_nothing(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="d/", Body=b"")
    assert keys(s3.list_objects_v2(Bucket=BUCKET)) == []


def test_buckets_are_branches(s3: Any, client: Client) -> None:
    client.create_project("other")
    for bucket in ("work.in", "other.more", "master.x.other"):
        s3.create_bucket(Bucket=bucket)
        assert refusal(s3.create_bucket, Bucket=bucket) == "BucketAlreadyOwnedByYou"
        s3.head_bucket(Bucket=bucket)
        assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == "PACHYDERM"
    expected = {
        f"{branch.name}.{info.repo.name}.{info.repo.project.name}"
        for info in client.list_repo()
        for branch in info.branches
    }
    assert {each["Name"] for each in s3.list_buckets()["Buckets"]} == expected
    assert expected == {"master.in.default", "work.in.default", "other.more.default", "master.x.other"}
    s3.delete_bucket(Bucket="work.in")
    s3.delete_bucket(Bucket="other.more")
    # A repo goes with its last branch.
    assert {info.repo.name for info in client.list_repo()} == {"in", "x"}
    s3.put_object(Bucket="in", Key="a", Body=b"1")
    assert refusal(s3.delete_bucket, Bucket="in") == "BucketNotEmpty"
    for missing in ("master.none", "none.in", "master.in.none", f"{'0' * 12}4{'0' * 19}.master.in"):
        assert refusal(s3.list_objects_v2, Bucket=missing) == "NoSuchBucket"
        assert refusal(s3.put_object, Bucket=missing, Key="a", Body=b"1") == "NoSuchBucket"
    for odd in ("a.b.c.d", f"{'0' * 12}4{'0' * 19}"):
        assert refusal(s3.list_objects_v2, Bucket=odd) == "InvalidBucketName"
    assert refusal(s3.create_bucket, Bucket="master.x.none") == "InvalidBucketName"


def test_only_a_pipeline_writes_to_its_output(s3: Any, client: Client) -> None:
    client.create_repo("out")
    client.create_branch("out", "master", provenance=[branch_of("in", "master")])
    assert refusal(s3.put_object, Bucket="master.out", Key="a", Body=b"1") == "WriteToOutputBranch"
    assert refusal(s3.delete_object, Bucket="master.out", Key="a") == "WriteToOutputBranch"
    assert refusal(s3.create_multipart_upload, Bucket="master.out", Key="a") == "WriteToOutputBranch"


def test_what_pachyderm_does_not_serve(s3: Any) -> None:
    for call in (s3.get_bucket_acl, s3.get_bucket_policy, s3.get_bucket_tagging, s3.list_object_versions):
        assert refusal(call, Bucket=BUCKET) == "NotImplemented"
    assert refusal(s3.get_object_tagging, Bucket=BUCKET, Key="a") == "NotImplemented"
    assert refusal(s3.list_objects_v2, Bucket=BUCKET, Delimiter="-") == "InvalidDelimiter"
    assert refusal(s3.list_objects, Bucket=BUCKET, MaxKeys=-1) == "InvalidArgument"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_day_s_work_with_either_signature(client: Client, server: Server, version: str) -> None:
    s3 = connect(server, token(server.root), signature_version=version)
    s3.create_bucket(Bucket=BUCKET)
    for key in ("a b/c=d", "a%20b/&"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode(), ContentType="text/plain", Metadata={"m": "  1   2 "})
        assert content(s3, key) == key.encode()
        s3.copy_object(Bucket=BUCKET, Key=f"copy/{key}", CopySource={"Bucket": BUCKET, "Key": key})
    assert len(s3.list_objects_v2(Bucket=BUCKET, Prefix="copy/a", Delimiter="/")["CommonPrefixes"]) == 2
    assert keys(s3.list_objects(Bucket=BUCKET)) == sorted(["a b/c=d", "a%20b/&", "copy/a b/c=d", "copy/a%20b/&"])
