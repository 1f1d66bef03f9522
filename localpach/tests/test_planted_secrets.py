"""Secrets planted wherever the server takes one are found nowhere else: not in what it answers, says or writes."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from localpach.proto import debug_pb2, pfs_pb2, pps_pb2
from tests.client import Client
from tests.helpers import last_job, pfs, put, refused, shell, tell, until
from tests.servers import ServerProcess, token
from tests.test_small_services import unpacked

VALUE, LOGIN, URL, MALFORMED = (f"planted-{where}-9f3a" for where in ("value", "login", "url", "malformed"))
PLANTED = (VALUE, LOGIN, URL, MALFORMED)
USE = 'test -n "$VALUE" && test -s /secrets/key && echo has them; until test -e /tmp/go; do sleep 0.05; done; echo > /pfs/out/x'


def use_all(client: Client) -> list[str]:
    """A pipeline that has a secret in each way, while it runs; and what is said to who gives one in the wrong way."""
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    client.create_secret("value", {"key": VALUE})
    client.create_secret("login", {".dockerconfigjson": json.dumps({"auths": {"x.example": {"password": LOGIN}}})})
    mounts = [
        pps_pb2.SecretMount(name="value", key="key", env_var="VALUE"),
        pps_pb2.SecretMount(name="value", mount_path="/secrets"),
    ]
    client.create_pipeline("uses", transform=shell(USE, secrets=mounts, image_pull_secrets=["login"]), input=pfs("in"))
    mounts[0].key = "none"
    wrong: list[Callable[[], object]] = [
        lambda: client.pps.CreateSecret(pps_pb2.CreateSecretRequest(file=json.dumps({"data": MALFORMED}).encode())),
        lambda: client.pps.CreateSecret(pps_pb2.CreateSecretRequest(file=MALFORMED.encode())),
        lambda: client.create_pipeline("wrong", transform=shell("true", secrets=mounts), input=pfs("in")),
    ]
    for url in (f"http://ann:{URL}@127.0.0.1:1/x", f"http://ann:{URL}@[/x", f"http://ann:{URL}@127.0.0.1:port/x"):
        add = pfs_pb2.AddFile(path="/u")
        add.url.URL = url
        wrong.append(lambda add=add: modify(client, add))  # type: ignore[misc]
    return [refused(call)[1] for call in wrong]


def modify(client: Client, add: pfs_pb2.AddFile) -> object:
    with client.modify_file_client(("in", "master")) as changes:
        changes.requests.append(pfs_pb2.ModifyFileRequest(add_file=add))
    return None


def answers(client: Client) -> Iterator[Any]:
    """All that can be asked about pipelines, secrets and files."""
    job = client.list_job("uses")[0].job.id
    yield client.list_pipeline(details=True)
    yield client.list_job("uses")
    yield client.list_datum("uses", job)
    yield client.get_job_logs("uses", job)
    yield client.get_job_logs("uses", job, master=True)
    yield client.pps.ListSecret(Empty())
    yield client.pps.InspectSecret(pps_pb2.InspectSecretRequest(secret=pps_pb2.Secret(name="value")))
    for type in ("user", "spec", "meta"):
        for info in client.list_repo(type):
            commit = (info.repo.name, "master", "", type)
            try:
                yield client.get_file_tar(commit, "/")
            except grpc.RpcError as error:
                yield error.details()
    yield unpacked(b"".join(chunk.value for chunk in client.debug.Dump(debug_pb2.DumpRequest())))


def written(root: Path) -> Iterator[tuple[str, bytes]]:
    """All files of a data directory, and the tables of its database, but for those that are there to keep secrets."""
    for file in root.rglob("*"):
        if file.is_file() and file.name != "token" and not file.name.startswith("metadata.sqlite"):
            yield str(file), file.read_bytes()
    database = sqlite3.connect(root / "metadata.sqlite")
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in set(tables) - {"secrets"}:
        yield table, repr(database.execute(f"SELECT * FROM {table}").fetchall()).encode()
    database.close()


def test_planted_secrets_stay_where_they_are(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    with ServerProcess(root, log=log) as server:
        told = {"what is refused": repr(use_all(server.client)).encode()}
        job = server.client.list_job("uses")[0].job.id
        until(lambda: "has them" in repr(server.client.get_job_logs("uses", job)))
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                told[str(process)] = process.read_bytes()
            except OSError:
                continue
        tell(root, "go")
        assert last_job(server.client, "uses").state == pps_pb2.JOB_SUCCESS
        for number, answer in enumerate(answers(server.client)):
            told[f"answer {number}"] = repr(list(answer) if isinstance(answer, Iterator) else answer).encode()
        planted = (*PLANTED, token(root))
    told |= dict(written(root))
    told["the log"] = log.read_bytes()
    forms = [form for secret in planted for form in (secret.encode(), base64.b64encode(secret.encode()))]
    found = [(place, form) for place, text in told.items() for form in forms if form in text]
    assert found == []


@pytest.mark.parametrize(
    "manifest",
    [
        {"metadata": {"name": ["a"]}},
        {"metadata": {"name": "a"}, "stringData": {"k": 1}},
        {"metadata": {"name": "a"}, "stringData": "k"},
        {"metadata": "a"},
        [],
    ],
)
def test_what_is_no_secret_is_refused(client: Client, manifest: object) -> None:
    request = pps_pb2.CreateSecretRequest(file=json.dumps(manifest).encode())
    code, text = refused(lambda: client.pps.CreateSecret(request))
    assert (code, text.partition(":")[0]) == ("UNKNOWN", "the secret is not a Kubernetes secret manifest in JSON")
