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
from tasks.pachyderm import PachydermCredentials, PachydermError

from tasks import pachyderm
from tests.localpach.conftest import Server
from tests.tls import HOST, Proxy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def address(server: Server, ca: trustme.CA) -> Iterator[str]:
    proxy = Proxy(server.address, ca.issue_cert(HOST))
    yield proxy.address
    proxy.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    server.client.create_repo("behind_tls")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PACHYDERM_BLOCK", "PACHD_ADDRESS", "PACHD_ROOT_CERTIFICATES", "PACH_PYTHON_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACH_CONFIG", str(tmp_path / "config.json"))


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def token(server: Server) -> str:
    return (server.root / "token").read_text().strip()


def repos(credentials: PachydermCredentials) -> list[str]:
    return [info.repo.name for info in credentials.get_client().list_repo()]


def test_by_a_block_that_is_stored(
    prefect: None, server: Server, ca: trustme.CA, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = SecretStr(token(server))
    block = PachydermCredentials(address=f"grpcs://{address}", auth_token=secret, root_certificates=pem(ca))
    assert repos(block) == ["behind_tls"]
    block.save("cluster")
    monkeypatch.setenv("PACHYDERM_BLOCK", "cluster")
    assert repos(PachydermCredentials.from_environment()) == ["behind_tls"]
    assert not pachyderm.is_embedded()
    monkeypatch.setenv("PACHYDERM_BLOCK", "elsewhere")
    with pytest.raises(PachydermError, match="'elsewhere', and Prefect has no such block"):
        pachyderm.connect()
    PachydermCredentials().save("empty")
    monkeypatch.setenv("PACHYDERM_BLOCK", "empty")
    with pytest.raises(PachydermError, match=r"'empty' .* has no address"):
        pachyderm.connect()


def name_by_environment(monkeypatch: pytest.MonkeyPatch, address: str, roots: Path, token: str) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", address)
    monkeypatch.setenv("PACHD_ROOT_CERTIFICATES", str(roots))
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", token)


def test_by_the_environment(
    server: Server, ca: trustme.CA, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text(pem(ca))
    name_by_environment(monkeypatch, f"grpcs://{address}", roots, token(server))
    assert repos(PachydermCredentials.from_environment()) == ["behind_tls"]


def test_by_a_context_of_pachctl(server: Server, ca: trustme.CA, address: str) -> None:
    context = {
        "pachd_address": f"grpcs://{address}",
        "session_token": token(server),
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
    name_by_environment(monkeypatch, f"grpcs://{there}", roots, "wrong" if case == "other token" else token(server))
    with pytest.raises(PachydermError) as caught:
        pachyderm.connect()
    assert told in str(caught.value)
    assert not caught.value.passing


def test_nothing_else_is_printed(
    server: Server, ca: trustme.CA, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text(pem(trustme.CA()))
    name_by_environment(monkeypatch, f"grpcs://{address}", roots, token(server))
    command = [sys.executable, "-m", "tasks.status"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Connecting to Pachyderm at grpcs://{address} failed: its certificate is not trusted")
    assert not done.stdout
