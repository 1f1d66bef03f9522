"""Secrets: kept, shown without their values, and given as variables, files and logins."""

from __future__ import annotations

import base64
import json
import time

import pytest

from localpach.errors import LocalpachError, NotFound, Refused
from localpach.pps.secrets import Secrets
from localpach.proto import pps_pb2
from localpach.storage.store import Store


def manifest(name: str, **fields: object) -> bytes:
    return json.dumps({"kind": "Secret", "metadata": {"name": name}, **fields}).encode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def secrets(store: Store) -> Secrets:
    """With secret `vault`, which has keys `a` and `b`."""
    secrets = Secrets(store)
    secrets.create(manifest("vault", data={"a": encoded("1")}, stringData={"b": "2"}))
    return secrets


def mounts(*mounts: pps_pb2.SecretMount) -> pps_pb2.Transform:
    return pps_pb2.Transform(secrets=mounts)


VARIABLE = pps_pb2.SecretMount(name="vault", key="a", env_var="A")
FOLDER = pps_pb2.SecretMount(name="vault", mount_path="/etc/vault/")


def test_variables_and_files_have_the_values(secrets: Secrets) -> None:
    transform = mounts(VARIABLE, FOLDER)
    secrets.check(transform)
    assert secrets.environment(transform) == {"A": "1"}
    assert secrets.files(transform) == {"/etc/vault/a": "1", "/etc/vault/b": "2"}
    assert (secrets.environment(mounts(FOLDER)), secrets.files(mounts(VARIABLE))) == ({}, {})


def test_secrets_are_listed_by_name_with_their_time(secrets: Secrets) -> None:
    before = time.time_ns() // 1000
    secrets.create(manifest("again"))
    assert [each.name for each in secrets.all()] == ["again", "vault"]
    assert secrets.get("vault").created <= before <= secrets.get("again").created <= time.time_ns() // 1000
    assert secrets.get("again").name == "again"


def test_secrets_go(secrets: Secrets) -> None:
    secrets.delete("vault")
    assert secrets.all() == []
    for call, sentence in (
        (secrets.get, 'failed to get secret: secrets "vault" not found'),
        (secrets.delete, 'failed to delete secret: secrets "vault" not found'),
    ):
        with pytest.raises(NotFound) as caught:
            call("vault")
        assert caught.value.message == sentence


def test_a_name_is_taken_once(secrets: Secrets) -> None:
    with pytest.raises(Refused) as caught:
        secrets.create(manifest("vault"))
    assert caught.value.message == 'failed to create secret: secrets "vault" already exists'


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"[]",
        b"{}",
        b'{"metadata": {}}',
        b'{"metadata": null}',
        manifest("x", data={"k": "a"}),
        manifest("x", data=[1]),
    ],
)
def test_what_is_no_manifest_is_refused(secrets: Secrets, file: bytes) -> None:
    with pytest.raises(Refused, match="the secret is not a Kubernetes secret manifest in JSON: "):
        secrets.create(file)
    assert [each.name for each in secrets.all()] == ["vault"]


@pytest.mark.parametrize(
    ("mount", "sentence"),
    [
        (pps_pb2.SecretMount(name="vault", env_var="A"), "secret vault has env_var set but is missing key"),
        (pps_pb2.SecretMount(name="vault", env_var="A", key="z"), "Kubernetes secret vault missing key z"),
        (pps_pb2.SecretMount(name="none", env_var="A", key="z"), "missing Kubernetes secret none"),
        (pps_pb2.SecretMount(name="none", mount_path="/x"), "missing Kubernetes secret none"),
    ],
)
def test_what_no_secret_has_is_refused(secrets: Secrets, mount: pps_pb2.SecretMount, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        secrets.check(mounts(VARIABLE, mount))
    assert caught.value.message == sentence
    secrets.check(mounts(pps_pb2.SecretMount(name="vault", mount_path="/x", key="z")))


def test_a_key_may_be_gone_when_it_is_needed(secrets: Secrets) -> None:
    secrets.delete("vault")
    secrets.create(manifest("vault", stringData={"b": "2"}))
    with pytest.raises(NotFound) as caught:
        secrets.environment(mounts(VARIABLE))
    assert caught.value.message == 'secret "vault" has no key "a"'


def test_logins_of_several_secrets_are_one_configuration(secrets: Secrets) -> None:
    for name, host in (("one", "a.example"), ("two", "b.example")):
        config = json.dumps({"auths": {host: {"auth": name}}})
        secrets.create(manifest(name, stringData={".dockerconfigjson": config}))
    both = pps_pb2.Transform(image_pull_secrets=["one", "two"])
    assert json.loads(secrets.pull_credentials(both)) == {
        "auths": {"a.example": {"auth": "one"}, "b.example": {"auth": "two"}}
    }
    assert secrets.pull_credentials(pps_pb2.Transform()) == ""


@pytest.mark.parametrize("value", [None, "no JSON", "[]", "{}", '{"auths": 1}'])
def test_a_secret_without_logins_is_no_pull_secret(secrets: Secrets, value: str | None) -> None:
    secrets.create(manifest("x", stringData={} if value is None else {".dockerconfigjson": value}))
    with pytest.raises(LocalpachError) as caught:
        secrets.pull_credentials(pps_pb2.Transform(image_pull_secrets=["x"]))
    assert caught.value.message == (
        'secret "x" is no image pull secret: its key .dockerconfigjson must be a Docker configuration with `auths`'
    )
