"""Which Pachyderm we talk to, and how its errors read.

A cluster is named by `PACHD_ADDRESS` (token in `PACH_PYTHON_AUTH_TOKEN`); with nothing set the embedded server is used.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import python_pachyderm
from google.protobuf.empty_pb2 import Empty
from prefect.blocks.core import Block
from pydantic import Field, SecretStr
from python_pachyderm.errors import AuthServiceNotActivated
from python_pachyderm.service import version_grpc

from tasks.errors import ScriptwrightError

EMBEDDED_START_SECONDS = 20.0


class PachydermError(ScriptwrightError):
    """Pachyderm refused a call or could not be reached."""


class PachydermCredentials(Block):
    """Where a Pachyderm is and how to log in to it.

    Example:
        ```python
        from tasks.pachyderm import PachydermCredentials

        client = PachydermCredentials.load("BLOCK_NAME").get_client()
        ```
    """

    _block_type_name = "Pachyderm Credentials"

    address: str | None = Field(
        default=None, title="Address", description="host:port of pachd; empty uses the embedded server."
    )
    auth_token: SecretStr | None = Field(default=None, title="Token", description="The Pachyderm auth token.")
    root_certificates: Path | None = Field(
        default=None, title="TLS roots", description="File of PEM certificates to trust; turns TLS on."
    )

    @classmethod
    def from_environment(cls) -> PachydermCredentials:
        """Credentials for `PACHD_ADDRESS`, or for the embedded server, started if need be."""
        address = os.environ.get("PACHD_ADDRESS")
        token = os.environ.get("PACH_PYTHON_AUTH_TOKEN")
        if not address:
            address, token = attach_or_start_embedded(embedded_root())
        return cls(address=address, auth_token=SecretStr(token) if token else None)

    def get_client(self) -> python_pachyderm.Client:
        """A client that has seen the server answer.

        Raises:
            PachydermError: nobody listens at the address, or the token is refused.
        """
        if not self.address:
            return self.from_environment().get_client()
        scheme, _, rest = self.address.rpartition("://")
        host, _, port = rest.partition(":")
        if port and not port.isdigit():
            raise PachydermError(f"PACHD_ADDRESS {self.address!r} has no usable port; write it as host:port.")
        client = python_pachyderm.Client(
            host=host,
            port=int(port or 30650),
            auth_token=self.auth_token.get_secret_value() if self.auth_token else None,
            tls=scheme in ("grpcs", "https") or self.root_certificates is not None,
            root_certs=self.root_certificates.read_bytes() if self.root_certificates else None,
        )
        with readable(f"Connecting to Pachyderm at {self.address}"):
            list(client.list_repo())
        return client


def connect() -> python_pachyderm.Client:
    """A client of the Pachyderm that the environment names."""
    return PachydermCredentials.from_environment().get_client()


def is_embedded() -> bool:
    """Whether the embedded server is the target."""
    return not os.environ.get("PACHD_ADDRESS")


def embedded_root() -> Path:
    """The embedded server's data directory: `LOCALPACH_ROOT`, or `.localpach` in the working directory."""
    return Path(os.environ.get("LOCALPACH_ROOT", ".localpach")).absolute()


def attach_or_start_embedded(root: Path) -> tuple[str, str]:
    """The address and token of the embedded server on `root`, which is started when it does not run."""
    found = _running(root)
    if found:
        return found
    root.mkdir(parents=True, exist_ok=True)
    with (root / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "localpach", "serve", "--root", str(root), "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )
    deadline = time.monotonic() + EMBEDDED_START_SECONDS
    while time.monotonic() < deadline:
        found = _running(root)
        if found:
            return found
        if server.poll() is not None and not found:
            break
        time.sleep(0.05)
    raise PachydermError(f"The embedded Pachyderm did not start; its log is {root / 'server.log'}.")


def _running(root: Path) -> tuple[str, str] | None:
    """Address and token of a server that answers on `root`."""
    try:
        address = json.loads((root / "address").read_text())["address"]
        token_file = root / "token"
        token = token_file.read_text().strip() if token_file.exists() else ""
    except (FileNotFoundError, ValueError, KeyError):
        return None
    try:
        with grpc.insecure_channel(address) as channel:
            version_grpc.APIStub(channel).GetVersion(Empty(), timeout=5, metadata=(("authn-token", token),))
    except grpc.RpcError:
        return None
    return address, token


@contextmanager
def readable(doing: str) -> Iterator[None]:
    """Turns what gRPC and python-pachyderm raise into one sentence that starts with what was being done."""
    try:
        yield
    except grpc.RpcError as error:
        code = error.code()  # type: ignore[attr-defined]
        details = error.details()  # type: ignore[attr-defined]
        raise PachydermError(_sentence(doing, code, details)) from error
    except (ConnectionError, AuthServiceNotActivated) as error:
        raise PachydermError(f"{doing} failed: nobody answers there; check PACHD_ADDRESS. ({error})") from error


def _sentence(doing: str, code: grpc.StatusCode, details: str | None) -> str:
    if code == grpc.StatusCode.UNAVAILABLE:
        return f"{doing} failed: nobody answers there; check PACHD_ADDRESS. ({details})"
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return f"{doing} failed: the token was refused; check PACH_PYTHON_AUTH_TOKEN. ({details})"
    return f"{doing} failed: {details} ({code.name})."
