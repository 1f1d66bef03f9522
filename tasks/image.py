"""The image that the pipelines run: built from the Dockerfile, named by the hash of what goes into it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from prefect import get_run_logger, task

from tasks.errors import ScriptwrightError
from tasks.pachyderm import embedded_root, is_embedded

IMAGE = "tensor_flow_rnn_got"
PROJECT = Path(__file__).parent.parent


class ImageError(ScriptwrightError):
    """The image can't be built, pushed or seen by the target."""


@task(name="build image")
def build_image() -> str:
    """Builds the image for the target and returns the name to put into the specs.

    A cluster gets a Docker image pushed to `IMAGE_REGISTRY`; the embedded server gets a bundle.

    Raises:
        ImageError: no registry for a cluster, or the build or push failed.
    """
    logger = get_run_logger()
    tag = f"{IMAGE}:{build_input_hash()}"
    if is_embedded():
        root = str(embedded_root())
        if tag in _run([sys.executable, "-m", "localpach", "image", "list", "--root", root]).split():
            logger.info("Bundle %s is built already", tag)
            return tag
        command = [sys.executable, "-m", "localpach", "image", "build", "--root", root, "--tag", tag, str(PROJECT)]
        logger.info("Built bundle %s for the embedded server\n%s", tag, _run(command).rstrip())
        return tag
    registry = os.environ.get("IMAGE_REGISTRY")
    if not registry:
        raise ImageError("A cluster can't see this machine's images: set IMAGE_REGISTRY to one that both can reach.")
    name = f"{registry}/{tag}"
    if subprocess.run(["docker", "manifest", "inspect", name], capture_output=True, check=False).returncode == 0:
        logger.info("Image %s is in the registry already", name)
        return name
    _run(["docker", "build", "--tag", name, str(PROJECT)])
    _run(["docker", "push", name])
    logger.info("Built and pushed %s", name)
    return name


def build_input_hash() -> str:
    """Twelve hex digits over the path and content of everything that the build reads."""
    inputs = [PROJECT / "Dockerfile", *sorted((PROJECT / "model").rglob("*.py"))]
    digest = hashlib.sha256(os.environ.get("BASE_IMAGE", "").encode())
    for file in inputs:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(PROJECT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    except FileNotFoundError as error:
        raise ImageError(f"{command[0]} is not installed; install it or leave PACHD_ADDRESS unset.") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise ImageError(f"`{' '.join(command[:4])} …` failed:\n{tail}")
    return done.stdout
