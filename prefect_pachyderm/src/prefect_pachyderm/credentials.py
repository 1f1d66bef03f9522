"""Which Pachyderm we talk to.

It is the one of the block that `PACHYDERM_BLOCK` names, or else the one that `PACHD_ADDRESS` names (token in
`PACH_PYTHON_AUTH_TOKEN`, file of TLS roots in `PACHD_ROOT_CERTIFICATES`), or else the active context of pachctl
(`PACH_CONFIG` or `~/.pachyderm/config.json`), or else the embedded server.
"""

from __future__ import annotations

import base64
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict, cast

import grpc
import python_pachyderm
from prefect import get_run_logger, task
from prefect.blocks import abstract
from pydantic import Field, HttpUrl, ModelWrapValidatorHandler, PrivateAttr, SecretStr, model_validator
from python_pachyderm.service import pfs_proto

from prefect_pachyderm.calls import ANSWER_SECONDS, LIVE, PachydermError, pfs, readable, status_of
from prefect_pachyderm.embedded import LocalpachError, attach_or_start, embedded_root, page_address

DEFAULT_PORT = 30650
# Pachyderm's own picture.
LOGO_URL = HttpUrl("https://github.com/pachyderm.png")
BLOCK = "block/"
MASK = re.compile(r"\*+")
ADDRESS = re.compile(r"((?P<scheme>grpcs?|https?)://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+)(:(?P<port>\d+))?/?")


class PachydermCredentials(abstract.CredentialsBlock):
    """Where a Pachyderm is and how to log in to it.

    A token is neither pickled nor written as JSON, so that none gets into what Prefect keeps of results: credentials that come
    back take it anew from the block that they were loaded from, or from what the environment says of the same address.

    Example:
        Connect with what is stored in a block:
        ```python
        from prefect_pachyderm import PachydermCredentials

        credentials = PachydermCredentials.load("BLOCK_NAME")
        client = credentials.get_client()
        ```
    """

    _block_type_name = "Pachyderm Credentials"
    _block_type_slug = "pachyderm-credentials"
    _logo_url = LOGO_URL
    _documentation_url = "https://github.com/pachyderm/pachyderm"  # type: ignore[assignment]

    address: str | None = Field(
        default=None,
        title="Address",
        description="pachd as host:port, with grpcs:// before it for TLS; empty takes the block that PACHYDERM_BLOCK names, "
        "PACHD_ADDRESS, the active context of pachctl or the embedded server, whichever is there first.",
    )
    auth_token: SecretStr | None = Field(
        default=None, title="Token", description="Auth token, as `pachctl auth get-robot-token` prints it."
    )
    root_certificates: str | None = Field(
        default=None,
        title="TLS roots",
        description="PEM certificates to trust for TLS; empty trusts the public ones.",
    )

    _token_left_out: bool = PrivateAttr(default=False)
    _not_anew: bool = PrivateAttr(default=False)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        private = {**(state["__pydantic_private__"] or {}), "_token_left_out": self.auth_token is not None}
        return {**state, "__dict__": {**state["__dict__"], "auth_token": None}, "__pydantic_private__": private}

    @model_validator(mode="wrap")
    @classmethod
    def _from_json(cls, given: Any, validate: ModelWrapValidatorHandler[PachydermCredentials]) -> PachydermCredentials:
        """Pydantic writes asterisks for a token, and Prefect the block's name beside it."""
        credentials = validate(given)
        if credentials.auth_token and MASK.fullmatch(credentials.auth_token.get_secret_value()):
            credentials.auth_token, credentials._token_left_out = None, True
            credentials._block_document_name = given.get("_block_document_name") if isinstance(given, dict) else None
        return credentials

    @property
    def place(self) -> str:
        """Which Pachyderm this is, without a secret; `at` finds it again. Empty is the one that the environment names."""
        return f"{BLOCK}{self._block_document_name}" if self._block_document_name else self.address or ""

    @classmethod
    def at(cls, place: str) -> PachydermCredentials:
        """The credentials of a `place`, where something has been done: an embedded server is not begun anew there."""
        if place.startswith(BLOCK):
            return _stored(place.removeprefix(BLOCK))
        return cls(address=place)._with_token() if place else cls().not_anew()

    def not_anew(self) -> PachydermCredentials:
        """The same, but no embedded server is begun anew: what one has done is to be had, and another has not done it."""
        found = self.model_copy()
        found._not_anew = True
        return found

    def _with_token(self) -> PachydermCredentials:
        """With the token and the TLS roots that the block or the environment has for this address."""
        if self._block_document_name:
            return _stored(self._block_document_name)
        try:
            found = self.from_environment(anew=False)
        except LocalpachError:
            return self
        return found if found.address == self.address else self

    @classmethod
    def from_environment(cls, anew: bool = True) -> PachydermCredentials:
        """Credentials with an address, found as the module says; the embedded server is started if need be; `anew`: also where none has run before.

        Raises:
            PachydermError: what names the Pachyderm can't be used.
        """
        if block := os.environ.get("PACHYDERM_BLOCK"):
            return _stored(block)
        if address := os.environ.get("PACHD_ADDRESS"):
            return cls(address=address, auth_token=_token_of_environment(), root_certificates=_roots_of_environment())
        if context := active_context():
            token = context.get("session_token")
            roots = context.get("server_cas")
            try:
                certificates = base64.b64decode(roots).decode() if roots else None
            except ValueError as error:
                raise _unusable(error) from error
            return cls(
                address=context["pachd_address"],
                auth_token=SecretStr(token) if token else _token_of_environment(),
                root_certificates=certificates,
            )
        address, token = attach_or_start(embedded_root(), anew)
        return cls(address=address, auth_token=SecretStr(token) if token else None)

    def get_client(self) -> python_pachyderm.Client:
        """A client that has seen the server answer.

        Raises:
            PachydermError: nobody listens at the address, or the token is refused.
        """
        if not self.address:
            return self.from_environment(anew=not self._not_anew).get_client()
        if self._token_left_out:
            found = self._with_token()
            if found is self:
                raise PachydermError(
                    f"The token for {self.address} was not kept with the result; store it in a block, or name it in the environment."
                )
            return found.get_client()
        address = ADDRESS.fullmatch(self.address)
        port = int((address and address["port"]) or DEFAULT_PORT)
        if not address or not 0 < port < 2**16:
            raise PachydermError(
                f"PACHD_ADDRESS {self.address.rpartition('@')[2].partition('?')[0]!r} is not usable; "
                "write host:port, with grpcs:// before it for TLS, and no login."
            )
        token = self.auth_token.get_secret_value() if self.auth_token else ""
        if not (token.isascii() and token.isprintable()):
            raise PachydermError(
                f"The token for {self.address} is not usable, it is no line of ASCII; check {self._where_token_is_named()}."
            )
        try:
            client = python_pachyderm.Client(
                host=address["host"],
                port=port,
                auth_token=token,
                tls=address["scheme"] in ("grpcs", "https") or self.root_certificates is not None,
                root_certs=self.root_certificates.encode() if self.root_certificates else None,
            )
        except ValueError as error:
            raise PachydermError(
                f"The TLS roots for {self.address} are not usable: {str(error).rstrip('.')}."
            ) from error
        with readable(f"Connecting to Pachyderm at {self.address}"):
            try:
                list(pfs(client).ListRepo(pfs_proto.ListRepoRequest(), timeout=ANSWER_SECONDS))
            except grpc.RpcError as error:
                code, details = status_of(error)
                if code != grpc.StatusCode.UNAUTHENTICATED:
                    raise
                if renewed := self._renewed():
                    return renewed.get_client()
                raise PachydermError(
                    f"Connecting to Pachyderm at {self.address} failed: the token was refused; "
                    f"check {self._where_token_is_named()}. ({details})"
                ) from error
        return client

    def _renewed(self) -> PachydermCredentials | None:
        """What the block has by now, if that is another token."""
        if not self._block_document_name:
            return None
        _stored.cache_clear()
        stored = _stored(self._block_document_name)
        return stored if stored.auth_token != self.auth_token else None

    def _where_token_is_named(self) -> str:
        if self._block_document_name:
            return f"the token in the block {self._block_document_name!r}"
        if self.auth_token == _token_of_environment():
            return "PACH_PYTHON_AUTH_TOKEN"
        if self.auth_token and self.auth_token.get_secret_value() == (active_context() or {}).get("session_token"):
            return f"the session_token in pachctl's configuration {_config()}"
        return "the auth_token of the credentials"


class Context(TypedDict, total=False):
    """What pachctl keeps for one Pachyderm."""

    pachd_address: str
    session_token: str
    server_cas: str


def active_context() -> Context | None:
    """The active context of pachctl's configuration, if there is one that has an address."""
    try:
        config: dict[str, Any] = json.loads(_config().read_text())["v2"]
        context: Context = config["contexts"][config["active_context"]]
        for name in Context.__annotations__:
            if not isinstance(context.get(name), str | None):
                raise TypeError(f"{name} is no text")
        return context if context.get("pachd_address") else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unusable(error) from error


def _config() -> Path:
    return Path(os.environ.get("PACH_CONFIG") or Path.home() / ".pachyderm/config.json")


def _unusable(error: Exception) -> PachydermError:
    reason = f"{type(error).__name__}: {str(error)[:200]}"
    return PachydermError(f"pachctl's configuration {_config()} is not usable: {reason}; mend it or move it.")


def connect() -> python_pachyderm.Client:
    """A client of the Pachyderm that the environment names."""
    return PachydermCredentials.from_environment().get_client()


def is_embedded() -> bool:
    """Whether the embedded server is the target."""
    named = os.environ.get("PACHYDERM_BLOCK") or os.environ.get("PACHD_ADDRESS")
    return not named and active_context() is None


@task(name="find Pachyderm", **LIVE)
def find_pachyderm() -> None:
    """Sees Pachyderm answer, before anything is downloaded or built for it."""
    credentials = PachydermCredentials.from_environment()
    with readable(f"Connecting to Pachyderm at {credentials.address}"):
        version = credentials.get_client().get_remote_version()
    root = embedded_root()
    kind = f"embedded server, data in {root}, page at {page_address(root)}" if is_embedded() else "cluster"
    get_run_logger().info(
        "Pachyderm %d.%d.%d at %s (%s)", version.major, version.minor, version.micro, credentials.address, kind
    )


@lru_cache
def _stored(block: str) -> PachydermCredentials:
    try:
        # Asked for by name in an asynchronous flow, too, where it would be a coroutine.
        credentials: PachydermCredentials = cast(Any, PachydermCredentials).load(block, _sync=True)
    except ValueError as error:
        raise PachydermError(
            f"PACHYDERM_BLOCK names {block!r}, and Prefect has no such block of Pachyderm credentials."
        ) from error
    if not credentials.address:
        raise PachydermError(f"The block {block!r} that PACHYDERM_BLOCK names has no address; give it one.")
    return credentials


def _token_of_environment() -> SecretStr | None:
    token = os.environ.get("PACH_PYTHON_AUTH_TOKEN")
    return SecretStr(token) if token else None


def _roots_of_environment() -> str | None:
    path = os.environ.get("PACHD_ROOT_CERTIFICATES")
    try:
        return Path(path).read_text() if path else None
    except OSError as error:
        raise PachydermError(f"PACHD_ROOT_CERTIFICATES {path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PachydermError(
            f"PACHD_ROOT_CERTIFICATES {path} is no text; name a file of certificates in PEM format."
        ) from error
