"""What jobs reach by S3, in a sandbox without a network: their inputs, `out`, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.client import Client
from tests.helpers import content, last_job, lines, pfs, pipeline, put
from tests.servers import Server

pytestmark = pytest.mark.slow

# A client of boto3, as a command has it: its environment has what it needs.
CLIENT = """python3 - <<'END'
import json, os, boto3
from botocore.exceptions import ClientError
s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1")
def code(call, **named):
    try:
        return str(call(**named)["ResponseMetadata"]["HTTPStatusCode"])
    except ClientError as error:
        return error.response["Error"]["Code"]
{script}
END
"""


@pytest.fixture(autouse=True)
def _sandboxed(server: Server) -> None:
    if "NO sandbox" in json.loads((server.root / "address").read_text())["weakness"]:
        pytest.skip("this kernel gives no sandboxes")


def run(client: Client, script: str, **more: Any) -> tuple[str, list[str]]:
    """The name of the state that a pipeline's job of a script ends with, and what it has said."""
    put(client, "in", {"/d/a": b"one", "/b": b"two"})
    input = pfs("in", "/", s3=True)
    pipeline(client, "job", CLIENT.format(script=script), input, **more)
    job = last_job(client, "job")
    return job.reason, lines(client, "job", job)


def test_inputs_are_buckets_and_out_is_what_was_written(client: Client) -> None:
    client.create_repo("in")
    script = """
for each in s3.list_objects_v2(Bucket="in")["Contents"]:
    data = s3.get_object(Bucket="in", Key=each["Key"])["Body"].read()
    s3.put_object(Bucket="out", Key="copy/" + each["Key"], Body=data * 2)
s3.put_object(Bucket="out", Key="gone", Body=b"1")
s3.delete_object(Bucket="out", Key="gone")
upload = s3.create_multipart_upload(Bucket="out", Key="big")["UploadId"]
named = dict(Bucket="out", Key="big", UploadId=upload)
parts = [dict(PartNumber=n, ETag=s3.upload_part(**named, PartNumber=n, Body=b"x" * (5 << 20))["ETag"]) for n in (1, 2)]
s3.complete_multipart_upload(**named, MultipartUpload=dict(Parts=parts))
s3.create_multipart_upload(Bucket="out", Key="never completed")
print(sorted(each["Name"] for each in s3.list_buckets()["Buckets"]), sorted(os.listdir("/pfs")))
"""
    reason, said = run(client, script, s3_out=True)
    assert reason == "", "\n".join(said)
    assert "['in', 'out'] ['.env', 'out']" in said
    assert content(client, "job", "/copy/d/a") == b"oneone"
    assert content(client, "job", "/copy/b") == b"twotwo"
    assert content(client, "job", "/big") == b"x" * (10 << 20)
    assert {info.file.path for info in client.list_file(("job", "master"), "/")} == {"/copy/", "/big"}
    # Nothing is left of it elsewhere.
    assert client.list_branch("_s3gateway_multipart_") == []


def test_a_job_reaches_nothing_else(client: Client) -> None:
    client.create_repo("in")
    client.create_repo("secret")
    put(client, "secret", {"/a": b"1"})
    script = """
found = [code(s3.get_object, Bucket=bucket, Key="a") for bucket in ("master.secret", "secret", "master.in", "out")]
found.append(code(s3.put_object, Bucket="in", Key="a", Body=b"1"))
found.append(code(s3.create_bucket, Bucket="x"))
found.append(code(s3.delete_bucket, Bucket="in"))
found.append(code(boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1",
    aws_access_key_id="x", aws_secret_access_key="x").list_buckets))
print(json.dumps(found))
open("/pfs/out/done", "w").close()
"""
    reason, said = run(client, script)
    assert reason == "", "\n".join(said)
    refused = ["NoSuchBucket"] * 4 + ["NotImplemented"] * 3 + ["InvalidAccessKeyId"]
    assert json.dumps(refused) in said
    assert content(client, "job", "/done") == b""


def test_what_a_try_that_failed_has_written_is_gone(client: Client) -> None:
    client.create_repo("in")
    script = """
s3.put_object(Bucket="out", Key=str(len(os.listdir("/tmp"))), Body=b"1")
open(f"/tmp/{len(os.listdir('/tmp'))}", "w").close()
raise SystemExit(len(os.listdir("/tmp")) < 2)
"""
    reason, said = run(client, script, s3_out=True, datum_tries=2)
    assert reason == "", "\n".join(said)
    assert [info.file.path for info in client.list_file(("job", "master"), "/")] == ["/1"]
