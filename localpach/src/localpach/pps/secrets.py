"""Secrets, given to pipelines as environment variables or files."""

from __future__ import annotations

import base64
import json
from typing import NamedTuple

from localpach.clock import now
from localpach.errors import NotFound, Refused
from localpach.proto import pps_pb2
from localpach.storage.store import Store

# The key that Kubernetes keeps a Docker configuration under.
DOCKER_CONFIG = ".dockerconfigjson"


class SecretRecord(NamedTuple):
    """A secret without its values; `created` in microseconds since 1970."""

    name: str
    created: int


class Secrets:
    """Secrets in the form of Kubernetes: a name, and values by key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, transform: pps_pb2.Transform) -> None:
        """Raises Refused where a transform asks for what no secret has."""
        for mount in transform.secrets:
            if mount.env_var and not mount.key:
                raise Refused(f"secret {mount.name} has env_var set but is missing key")
            values = self._values(mount.name)
            if mount.env_var and mount.key not in values:
                raise Refused(f"Kubernetes secret {mount.name} missing key {mount.key}")

    def create(self, file: bytes) -> None:
        """Keeps a Kubernetes secret manifest (JSON)."""
        try:
            manifest = json.loads(file)
            name = manifest["metadata"]["name"]
            data = {key: base64.b64decode(value).decode() for key, value in (manifest.get("data") or {}).items()}
            data |= manifest.get("stringData") or {}
            if not all(isinstance(text, str) for text in (name, *data.values())):
                raise TypeError("its name and its values must be strings")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"the secret is not a Kubernetes secret manifest in JSON: {error}") from error
        with self._store.write() as connection:
            if connection.execute("SELECT 1 FROM secrets WHERE name = ?", (name,)).fetchone():
                raise Refused(f'failed to create secret: secrets "{name}" already exists')
            connection.execute("INSERT INTO secrets VALUES (?, ?, ?)", (name, now(), json.dumps(data)))

    def get(self, name: str) -> SecretRecord:
        found = next((each for each in self.all() if each.name == name), None)
        if found is None:
            raise NotFound(f'failed to get secret: secrets "{name}" not found')
        return found

    def all(self) -> list[SecretRecord]:
        """By name."""
        with self._store.read() as connection:
            return [SecretRecord(*row) for row in connection.execute("SELECT name, created FROM secrets ORDER BY name")]

    def delete(self, name: str) -> None:
        with self._store.write() as connection:
            if not connection.execute("DELETE FROM secrets WHERE name = ?", (name,)).rowcount:
                raise NotFound(f'failed to delete secret: secrets "{name}" not found')

    def _values(self, name: str) -> dict[str, str]:
        with self._store.read() as connection:
            row = connection.execute("SELECT data FROM secrets WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise Refused(f"missing Kubernetes secret {name}")
        values: dict[str, str] = json.loads(row["data"])
        return values

    def pull_credentials(self, transform: pps_pb2.Transform) -> str:
        """The logins of a transform's image pull secrets as one Docker configuration in JSON; empty without any."""
        logins: dict[str, object] = {}
        for name in transform.image_pull_secrets:
            value = self._values(name)
            try:
                logins |= json.loads(value[DOCKER_CONFIG])["auths"]
            except (KeyError, TypeError, ValueError) as error:
                raise Refused(
                    f'secret "{name}" is no image pull secret: its key {DOCKER_CONFIG} must be a Docker configuration'
                    " with `auths`"
                ) from error
        return json.dumps({"auths": logins}) if logins else ""

    def environment(self, transform: pps_pb2.Transform) -> dict[str, str]:
        """The environment variables that a transform asks for."""
        env = {}
        for mount in transform.secrets:
            if mount.env_var:
                values = self._values(mount.name)
                if mount.key not in values:
                    raise NotFound(f'secret "{mount.name}" has no key "{mount.key}"')
                env[mount.env_var] = values[mount.key]
        return env

    def files(self, transform: pps_pb2.Transform) -> dict[str, str]:
        """The files that a transform asks for: contents by absolute path."""
        return {
            f"/{mount.mount_path.strip('/')}/{key}": value
            for mount in transform.secrets
            if mount.mount_path
            for key, value in self._values(mount.name).items()
        }
