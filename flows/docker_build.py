"""The image step of `train` alone."""

from __future__ import annotations

from prefect import flow

from tasks.image.image import build_image, choose_builder


@flow(name="docker-build")
def docker_build() -> str:
    """Builds the image for the target and returns its name."""
    return build_image(choose_builder())
