"""TLS, as in front of a cluster: a certificate of a CA made for the tests, and a real server behind it."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


def test_roots_that_are_no_text_are_told(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "roots.der").write_bytes(b"\x30\x82\xff")
    name_by_environment(monkeypatch, f"grpcs://{address}", tmp_path / "roots.der", "token")
    with pytest.raises(PachydermError, match=r"roots\.der is no text; name a file of certificates in PEM format\.$"):
        connect()


@pytest.mark.parametrize("token", ["SECRET\n", "SECR\nET", "SECR\u00c9T"])
def test_a_token_that_can_not_be_sent_is_told(token: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", token)
    with pytest.raises(PachydermError, match=r"no line of ASCII; check PACH_PYTHON_AUTH_TOKEN\.$") as caught:
        connect()
    assert "SECR" not in str(caught.value)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as there:
        return f"127.0.0.1:{there.getsockname()[1]}"


class NoPachyderm(BaseHTTPRequestHandler):
    """Answers as a web server does."""

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoPachyderm)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("name", "no host of this name is known; check PACHD_ADDRESS"),
        ("port", "nobody listens there; check host and port"),
        ("TLS there", "where TLS is spoken, write grpcs://"),
        ("web", "what answers there is no Pachyderm"),
    ],
)
def test_where_there_is_no_connection_one_sentence_says_why(case: str, told: str, address: str, web: str) -> None:
    there = {"name": "pachd.invalid:30650", "port": closed_port(), "TLS there": address, "web": web}[case]
    with pytest.raises(PachydermError, match=f"^Connecting to Pachyderm at {there} failed: .*{told}") as caught:
        repos(PachydermCredentials(address=there))
    assert caught.value.transient
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_there_can_not_be_is_refused(port: int) -> None:
    with pytest.raises(PachydermError, match=f"'localhost:{port}' is not usable; write host:port"):
        repos(PachydermCredentials(address=f"localhost:{port}"))


@pytest.mark.parametrize(
    "address", ["grpcs://me:SECRET@host", "me:SE@CRET@host:1", "//SECRET@host", "host?token=SECRET"]
)
def test_an_address_with_a_login_is_refused_without_it(address: str) -> None:
    with pytest.raises(PachydermError, match=r"PACHD_ADDRESS 'host.*' is not usable") as caught:
        repos(PachydermCredentials(address=address))
    assert "SECRET" not in str(caught.value)


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
