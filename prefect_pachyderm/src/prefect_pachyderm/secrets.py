"""Secrets that pipelines name in their specifications.

These are functions, no tasks: Prefect hashes and keeps what a task is given, and shows what a flow run is.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect.blocks import system
from pydantic import SecretStr

from prefect_pachyderm.calls import PachydermError, readable
from prefect_pachyderm.credentials import PachydermCredentials


def create_secret(
    name: str, values: Mapping[str, SecretStr | system.Secret[str]], credentials: PachydermCredentials | None = None
) -> None:
    """Makes a secret of values by key, each as pydantic or a block of Prefect's keeps it. No value is logged or kept elsewhere.

    Raises:
        PachydermError: there is one of this name, a block holds something other than text, or Pachyderm can't be reached.

    Example:
        Hand a password from a block of Prefect's to a pipeline:
        ```python
        from prefect.blocks.system import Secret
        from prefect_pachyderm import create_secret

        create_secret("database", {"password": Secret.load("BLOCK_NAME")})
        ```
    """
    plain = {key: _text(key, value) for key, value in values.items()}
    with readable(f"Creating secret {name}"):
        (credentials or PachydermCredentials()).get_client().create_secret(name, plain)


def delete_secret(name: str, credentials: PachydermCredentials | None = None) -> None:
    """Deletes a secret; one that is not there is no error.

    Raises:
        PachydermError: it can't be deleted, or Pachyderm can't be reached.

    Example:
        Change a secret:
        ```python
        from prefect.blocks.system import Secret
        from prefect_pachyderm import create_secret, delete_secret

        delete_secret("database")
        create_secret("database", {"password": Secret.load("BLOCK_NAME")})
        ```
    """
    with readable(f"Deleting secret {name}"):
        client = (credentials or PachydermCredentials()).get_client()
        if name in {info.secret.name for info in client.list_secret()}:
            client.delete_secret(name)


def _text(key: str, value: SecretStr | system.Secret[str]) -> str:
    # The block's own `get` would read what looks like JSON, as "1e5" does.
    text: object = (value.value if isinstance(value, system.Secret) else value).get_secret_value()
    if not isinstance(text, str):
        raise PachydermError(
            f"The value of {key} is no text, as a pipeline gets it; the block holds a {type(text).__name__}."
        )
    return text
