"""The image that the pipelines run: built from the Dockerfile, named by the hash of what goes into it.

Docker builds it where its daemon answers; otherwise, for the embedded server, it becomes a bundle, which is run without
Docker. `IMAGE_BUILDER=docker` or `bundle` says which.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast
from uuid import UUID

from httpx import HTTPError
from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from prefect_pachyderm.credentials import is_embedded
from prefect_pachyderm.embedded import LocalpachError, embedded_root, run_localpach
from tasks.image import docker_images
from tasks.image.docker_images import DockerUnavailable, ImageError, Login
from tasks.names import artifact_key

IMAGE = "tensor_flow_rnn_got"
PROJECT = Path(__file__).parents[2]
# Prefect's database is not for more.
UPDATE_SECONDS = 2.0
Builder = Literal["docker", "bundle"]


class RegistryCredentials(Block):
    """A login for the image registry; `IMAGE_REGISTRY_BLOCK` names the block to use.

    Example:
        ```python
        from tasks.image.image import RegistryCredentials

        RegistryCredentials(username="ann", password="…").save("BLOCK_NAME")
        RegistryCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Image Registry Credentials"

    username: str = Field(title="User name", description="Who logs in to the registry.")
    password: SecretStr = Field(title="Password", description="The password or access token.")


def choose_builder() -> Builder:
    """Says in the log what will build the image for the target, before anything else is done.

    Raises:
        ImageError: nothing can, or the target could not see what is built.
    """
    wanted = os.environ.get("IMAGE_BUILDER", "")
    if wanted not in ("", "docker", "bundle"):
        raise ImageError(f"IMAGE_BUILDER is {wanted!r}: set it to docker or bundle, or leave it out.")
    if not is_embedded():
        if wanted == "bundle":
            raise ImageError("A cluster can't run bundles: leave IMAGE_BUILDER out, or PACHD_ADDRESS.")
        if not os.environ.get("IMAGE_REGISTRY") and not os.environ.get("IMAGE_SHARED"):
            raise ImageError(
                "A cluster can't see this machine's images: set IMAGE_REGISTRY to a registry that both can reach, or"
                " IMAGE_SHARED=1 if the cluster uses this machine's Docker or is given the image by you."
            )
    if wanted == "bundle":
        get_run_logger().info("The image will be a bundle, as IMAGE_BUILDER says")
        return "bundle"
    try:
        server = docker_images.connect().version()
    except DockerUnavailable as error:
        if wanted == "docker" or not is_embedded():
            raise
        get_run_logger().info("The image will be a bundle: %s", error)
        return "bundle"
    get_run_logger().info("The image will be built by Docker %s", server["Version"])
    return "docker"


@task(name="build image")
def build_image(builder: Builder) -> str:
    """Builds the image unless it is there; returns the name to put into the specs.

    Raises:
        ImageError: the build or the push failed.
    """
    tag = f"{IMAGE}:{build_input_hash()}"
    return _bundle(f"{tag}-bundle") if builder == "bundle" else _docker_image(tag)


def build_input_hash() -> str:
    """Twelve hex digits over the path and content of everything that the build reads, and the name of the base image."""
    digest = hashlib.sha256(os.environ.get("BASE_IMAGE", "").encode())
    for name in docker_images.context_files(PROJECT):
        content = (PROJECT / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _bundle(tag: str) -> str:
    logger = get_run_logger()
    root = str(embedded_root())
    try:
        if tag in run_localpach("image", "list", "--root", root).split():
            logger.info("Bundle %s is built already", tag)
        else:
            logger.info("Building bundle %s", tag)
            *steps, _digest = run_localpach("image", "build", "--root", root, "--tag", tag, str(PROJECT)).splitlines()
            for step in steps:
                logger.info("%s", step)
            logger.info("Built bundle %s", tag)
    except LocalpachError as error:
        raise ImageError(f"The bundle can't be built: {error}") from error
    return tag


def _docker_image(tag: str) -> str:
    """Has the image in the registry, if one is named, and gives its name there by digest; otherwise here, by tag."""
    logger = get_run_logger()
    api = docker_images.connect()
    registry = os.environ.get("IMAGE_REGISTRY")
    name, login = (f"{registry}/{tag}", _login()) if registry else (tag, None)
    digest = docker_images.pushed_digest(api, name, login) if registry else None
    if digest:
        logger.info("Image %s is in the registry already", name)
        return f"{registry}/{IMAGE}@{digest}"
    if docker_images.has_image(api, name):
        logger.info("Image %s is built already", name)
    else:
        inputs = {"VERSION": version("scriptwright"), "BUILD_INPUTS": tag.rpartition(":")[2]}
        if base := os.environ.get("BASE_IMAGE"):
            inputs["BASE_IMAGE"] = base
        docker_images.build(api, PROJECT, name, inputs, _Progress("Building the image"))
        logger.info("Built image %s", name)
    if not registry:
        return name
    digest = docker_images.push(api, name, login, _Progress("Pushing the image"))
    logger.info("Pushed image %s as %s", name, digest)
    return f"{registry}/{IMAGE}@{digest}"


def _login() -> Login | None:
    """The login of the block that `IMAGE_REGISTRY_BLOCK` names; None leaves it to Docker's own configuration."""
    name = os.environ.get("IMAGE_REGISTRY_BLOCK")
    if not name:
        return None
    try:
        block = cast(RegistryCredentials, RegistryCredentials.load(name))
    except ValueError as error:
        raise ImageError(
            f"IMAGE_REGISTRY_BLOCK names {name!r}, and Prefect has no such block of registry credentials."
        ) from error
    return {"username": block.username, "password": block.password.get_secret_value()}


class _Progress:
    """Log lines to the run's log, progress to an artifact."""

    def __init__(self, what: str) -> None:
        self._logger = get_run_logger()
        self._what = what
        self._artifact: UUID | None = None
        self._show(0.0)

    def __call__(self, line: str, part: float) -> None:
        if line:
            self._logger.info("%s", line)
        if time.monotonic() - self._updated > UPDATE_SECONDS:
            self._show(round(100 * part, 1))

    def _show(self, percent: float) -> None:
        with suppress(HTTPError):  # The next line may find Prefect's server back.
            if self._artifact:
                update_progress_artifact(self._artifact, progress=percent)
            else:
                made = create_progress_artifact(percent, key=artifact_key("image"), description=self._what)
                self._artifact = cast(UUID, made)
        self._updated = time.monotonic()
