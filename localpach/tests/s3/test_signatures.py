"""Who has not the token, or asks for something else than what was signed, gets nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localpach.api.s3 import signature
from tests.client import Client
from tests.s3.conftest import address_of, connect
from tests.s3.helpers import BUCKET, content, keys, refusal
from tests.servers import Server, serving, token


class Signed:
    """A request that botocore signs, to be changed and sent."""

    def __init__(
        self, server: Server, address: str, method: str, target: str, body: bytes = b"", **headers: str
    ) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, f"http://{address}{target}", data=body, headers=named)
        if "x_amz_trailer" in headers:
            # Else botocore names the body's SHA-256.
            request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
        key = token(server.root)
        S3SigV4Auth(Credentials(key, key), "s3", "us-east-1").add_auth(request)
        self.address, self.method, self.target, self.body = address, method, target, body
        self.headers = dict(request.headers.items())

    def send(self) -> tuple[int, str]:
        """The status and the code of the answer's error."""
        url = f"http://{self.address}{self.target}"
        # As it is: requests would make other paths of some.
        prepared = requests.Request(self.method, url, headers=self.headers, data=self.body).prepare()
        prepared.url = url
        with requests.Session() as session:
            answer = session.send(prepared, timeout=30)
        return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


def change_signature(request: Signed) -> None:
    kept = request.headers["Authorization"]
    request.headers["Authorization"] = kept[:-1] + ("0" if kept[-1] != "0" else "1")


def change(name: str, before: str, after: str) -> Callable[[Signed], None]:
    """Changes a header."""

    def change(request: Signed) -> None:
        assert before in request.headers[name]
        request.headers[name] = request.headers[name].replace(before, after)

    return change


def add(name: str, value: str) -> Callable[[Signed], None]:
    return lambda request: request.headers.__setitem__(name, value)


def aim(target: str) -> Callable[[Signed], None]:
    return lambda request: setattr(request, "target", target)


CHANGES: list[tuple[Callable[[Signed], Any], str]] = [
    (change_signature, "SignatureDoesNotMatch"),
    (aim("/master.in/b"), "SignatureDoesNotMatch"),
    (aim("/master.in/a?versionId=null"), "SignatureDoesNotMatch"),
    (aim("/master.in/%61?x"), "SignatureDoesNotMatch"),
    (aim("/master.in/../a"), "SignatureDoesNotMatch"),
    (lambda request: setattr(request, "method", "DELETE"), "SignatureDoesNotMatch"),
    (lambda request: setattr(request, "body", b"2"), "XAmzContentSHA256Mismatch"),
    (change("X-Amz-Content-SHA256", "6", "7"), "SignatureDoesNotMatch"),
    (add("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"), "SignatureDoesNotMatch"),
    (add("x-amz-copy-source", "/master.in/secret"), "AccessDenied"),
    (add("X-Amz-Date", "20260101T000000Z"), "AuthorizationHeaderMalformed"),
    (add("X-Amz-Date", "yesterday"), "AccessDenied"),
    (change("Authorization", "us-east-1", "us-east-2"), "SignatureDoesNotMatch"),
    (change("Authorization", "/s3/", "/sts/"), "AuthorizationHeaderMalformed"),
    (change("Authorization", "host;", ""), "AccessDenied"),
    (change("Authorization", "Credential=", "Credential=0"), "InvalidAccessKeyId"),
    (add("Authorization", "AWS4-HMAC-SHA256 "), "AuthorizationHeaderMalformed"),
    (
        add("Authorization", "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=" + "0" * 64),
        "AuthorizationHeaderMalformed",
    ),
    (add("Authorization", "AWS a"), "AuthorizationHeaderMalformed"),
    (add("Authorization", "Bearer a"), "AccessDenied"),
    (lambda request: request.headers.pop("Authorization"), "AccessDenied"),
    (add("Origin", "http://evil.example"), "AccessDenied"),
    (add("Host", "evil.example"), "AccessDenied"),
    (add("Host", "["), "AccessDenied"),
]


@pytest.mark.parametrize(("change", "code"), CHANGES)
def test_what_was_changed_since_it_was_signed_does_nothing(
    s3: Any, server: Server, client: Client, address: str, change: Callable[[Signed], Any], code: str
) -> None:
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"0")
    commits = len(client.list_commit("in"))
    request = Signed(server, address, "PUT", "/master.in/a", b"1", content_type="text/plain")
    change(request)
    assert request.send()[1] == code
    assert content(s3, "a") == b"0"
    assert len(client.list_commit("in")) == commits


def test_what_was_not_changed_is_done(s3: Any, server: Server, address: str) -> None:
    assert Signed(server, address, "PUT", "/master.in/a%20b", b"1", content_type="a   b").send()[0] == 200
    assert content(s3, "a b") == b"1"
    assert Signed(server, address, "GET", "/master.in?prefix=a%20&delimiter=%2F&list-type=2").send()[0] == 200


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_another_s_key_is_refused(s3: Any, server: Server, version: str) -> None:
    stranger = connect(server, "0" * 64, signature_version=version)
    assert refusal(stranger.list_buckets) == "InvalidAccessKeyId"
    assert refusal(stranger.put_object, Bucket=BUCKET, Key="a", Body=b"1") == "InvalidAccessKeyId"
    assert keys(s3.list_objects_v2(Bucket=BUCKET)) == []


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_request_of_another_time_is_refused(
    s3: Any, server: Server, monkeypatch: pytest.MonkeyPatch, version: str, minutes: int
) -> None:
    client = connect(server, token(server.root), signature_version=version)
    client.list_buckets()
    now = signature.now
    monkeypatch.setattr(signature, "now", lambda: now() + minutes * 60)
    assert refusal(client.list_buckets) == "RequestTimeTooSkewed"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_signed_url_is_good_for_one_thing_and_for_a_time(
    s3: Any, server: Server, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    client = connect(server, token(server.root), signature_version=version)
    place = {"Bucket": BUCKET, "Key": "a b"}
    put = client.generate_presigned_url("put_object", place, ExpiresIn=60)
    assert requests.put(put, data=b"1", timeout=30).status_code == 200
    get = client.generate_presigned_url("get_object", place, ExpiresIn=60)
    assert requests.get(get, timeout=30).content == b"1"
    for denied in (
        requests.put(get, data=b"2", timeout=30),
        requests.get(get.replace("a%20b", "b"), timeout=30),
        requests.put(put, headers={"x-amz-copy-source": "/master.in/a"}, timeout=30),
    ):
        assert denied.status_code == 403
    now = signature.now
    monkeypatch.setattr(signature, "now", lambda: now() + 61)
    assert requests.get(get, timeout=30).status_code == 403


def test_a_signed_url_is_good_for_a_week_at_most(s3: Any, server: Server) -> None:
    client = connect(server, token(server.root), signature_version="s3v4")
    for seconds, status in ((7 * 24 * 3600, 404), (7 * 24 * 3600 + 1, 400)):
        url = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "a"}, ExpiresIn=seconds)
        assert requests.get(url, timeout=30).status_code == status


def test_strangers_are_answered_before_they_have_sent_anything(address: str) -> None:
    host, _, port = address.partition(":")
    head = f"PUT /master.in/a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.splitlines()[0].split()[1] == "403"
    assert "Connection: close" in answer


def test_where_no_token_is_asked_for_any_key_is_its_own_secret(tmp_path: Path) -> None:
    with serving(tmp_path, auth=False) as server:
        for key in ("anything", "else"):
            connect(server, key).create_bucket(Bucket=f"{key}.in")
        assert requests.get(f"http://{address_of(server)}/else.in", timeout=30).status_code == 200
        wrong = connect(server, "x")
        wrong._request_signer._credentials.secret_key = "y"
        assert refusal(wrong.list_buckets) == "SignatureDoesNotMatch"
