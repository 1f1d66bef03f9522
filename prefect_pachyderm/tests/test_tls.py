"""TLS, as in front of a cluster: a certificate of a CA made for the tests, and a real server behind it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from prefect_pachyderm import PachydermCredentials, PachydermError
from prefect_pachyderm.credentials import connect, is_embedded
from server import Server
from tls import HOST, Proxy

# As a program that has no traceback for its users.
CONNECT = """
import sys
from prefect_pachyderm import PrefectPachydermError
from prefect_pachyderm.credentials import connect
try:
    connect()
except PrefectPachydermError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def address(server: Server, ca: trustme.CA) -> Iterator[str]:
    server.client.create_repo("behind_tls")
    proxy = Proxy(server.address, ca.issue_cert(HOST))
    yield proxy.address
    proxy.close()


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def repos(credentials: PachydermCredentials) -> list[str]:
    return [info.repo.name for info in credentials.get_client().list_repo()]


def test_by_a_block_that_is_stored(
    prefect: None, server: Server, ca: trustme.CA, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = SecretStr(server.token)
    block = PachydermCredentials(address=f"grpcs://{address}", auth_token=secret, root_certificates=pem(ca))
    assert repos(block) == ["behind_tls"]
    block.save("cluster")
    monkeypatch.setenv("PACHYDERM_BLOCK", "cluster")
    assert repos(PachydermCredentials.from_environment()) == ["behind_tls"]
    assert not is_embedded()
    monkeypatch.setenv("PACHYDERM_BLOCK", "elsewhere")
    with pytest.raises(PachydermError, match="'elsewhere', and Prefect has no such block"):
        connect()
    PachydermCredentials().save("empty")
    monkeypatch.setenv("PACHYDERM_BLOCK", "empty")
    with pytest.raises(PachydermError, match=r"'empty' .* has no address"):
        connect()


def name_by_environment(monkeypatch: pytest.MonkeyPatch, address: str, roots: Path, token: str) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", address)
    monkeypatch.setenv("PACHD_ROOT_CERTIFICATES", str(roots))
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", token)


def test_by_the_environment(
    server: Server, ca: trustme.CA, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text(pem(ca))
    name_by_environment(monkeypatch, f"grpcs://{address}", roots, server.token)
    assert repos(PachydermCredentials.from_environment()) == ["behind_tls"]


def test_by_a_context_of_pachctl(server: Server, ca: trustme.CA, address: str) -> None:
    context = {
        "pachd_address": f"grpcs://{address}",
        "session_token": server.token,
        "server_cas": base64.b64encode(pem(ca).encode()).decode(),
    }
    config = {"v2": {"active_context": "cluster", "contexts": {"cluster": context}}}
    Path(os.environ["PACH_CONFIG"]).write_text(json.dumps(config))
    assert repos(PachydermCredentials.from_environment()) == ["behind_tls"]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("other roots", "its certificate is not trusted; check the TLS roots"),
        ("other name", "its certificate is for another host"),
        ("no TLS there", "TLS is not spoken there; leave out grpcs://"),
        ("empty roots", "the TLS roots hold no certificate"),
        ("no roots", "must be in PEM format"),
        ("other token", "the token was refused"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(
    case: str, told: str, server: Server, ca: trustme.CA, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    given = {"other roots": pem(trustme.CA()), "empty roots": nothing, "no roots": "none"}
    roots.write_text(given.get(case, pem(ca)))
    there = {"no TLS there": server.address, "other name": address.replace(HOST, "127.0.0.1")}.get(case, address)
    name_by_environment(monkeypatch, f"grpcs://{there}", roots, "wrong" if case == "other token" else server.token)
    with pytest.raises(PachydermError) as caught:
        connect()
    assert told in str(caught.value)
    assert not caught.value.transient


def test_nothing_else_is_printed(
    server: Server, ca: trustme.CA, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text(pem(trustme.CA()))
    name_by_environment(monkeypatch, f"grpcs://{address}", roots, server.token)
    command = [sys.executable, "-c", CONNECT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Connecting to Pachyderm at grpcs://{address} failed: its certificate is not trusted")
    assert not done.stdout
