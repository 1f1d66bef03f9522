"""Who builds the image, what its name depends on, and what is built or pushed again. Docker itself: `tests/docker`."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from prefect_pachyderm.embedded import LocalpachError
from tasks.image import docker_images, image
from tasks.image.docker_images import DockerUnavailable, ImageError
from tasks.image.image import RegistryCredentials, build_image, build_input_hash, choose_builder


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing named in the environment, a project of two files, and a log that is not a run's."""
    for name in ("BUILDER", "REGISTRY", "REGISTRY_BLOCK", "SHARED"):
        monkeypatch.delenv(f"IMAGE_{name}", raising=False)
    for name in ("PACHYDERM_BLOCK", "PACHD_ADDRESS", "BASE_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACH_CONFIG", str(tmp_path / "no-pachctl.json"))
    project = tmp_path / "project"
    project.mkdir()
    (project / ".dockerignore").write_text("# What the build does not read.\nignored\n")
    (project / "Dockerfile").write_text("FROM scratch\n")
    (project / "ignored").write_text("1")
    monkeypatch.setattr(image, "PROJECT", project)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(image, "get_run_logger", lambda: logging.getLogger("scriptwright"))


class Docker:
    """A daemon and a registry that have these images, and keep what is asked of them."""

    def __init__(self, *images: str, digest: str | None = None) -> None:
        self.images, self.digest = images, digest
        self.done: list[tuple[Any, ...]] = []

    def version(self) -> dict[str, str]:
        return {"Version": "27.1"}

    def connect(self) -> Docker:
        return self

    def has_image(self, api: Docker, name: str) -> bool:
        return name in api.images

    def pushed_digest(self, api: Docker, name: str, login: object) -> str | None:
        return api.digest

    def build(self, api: Docker, context: Path, name: str, inputs: dict[str, str], told: Any) -> None:
        told("Step 1", 0.5)
        api.done.append(("build", context, name, inputs))

    def push(self, api: Docker, name: str, login: object, told: Any) -> str:
        told("", 0.5)
        api.done.append(("push", name, login))
        return "sha256:pushed"

    def use(self, monkeypatch: pytest.MonkeyPatch) -> Docker:
        for name in ("connect", "has_image", "pushed_digest", "build", "push"):
            monkeypatch.setattr(docker_images, name, getattr(self, name))
        monkeypatch.setattr(image, "version", lambda name: f"{name} 1.2")
        monkeypatch.setattr(image, "create_progress_artifact", lambda *_, **__: None)
        return self


def unavailable() -> Docker:
    raise DockerUnavailable("Docker's daemon does not answer.")


@pytest.mark.parametrize(
    ("cluster", "environment", "docker", "chosen"),
    [
        (False, {}, True, "docker"),
        (False, {}, False, "bundle"),
        (False, {"IMAGE_BUILDER": "docker"}, True, "docker"),
        (False, {"IMAGE_BUILDER": "docker"}, False, "does not answer"),
        (False, {"IMAGE_BUILDER": "bundle"}, True, "bundle"),
        (False, {"IMAGE_BUILDER": "podman"}, True, "IMAGE_BUILDER is 'podman': set it to docker or bundle"),
        (True, {}, True, "set IMAGE_REGISTRY to a registry that both can reach"),
        (True, {"IMAGE_BUILDER": "bundle", "IMAGE_SHARED": "1"}, True, "A cluster can't run bundles"),
        (True, {"IMAGE_SHARED": "1"}, True, "docker"),
        (True, {"IMAGE_REGISTRY": "registry:5000"}, True, "docker"),
        (True, {"IMAGE_REGISTRY": "registry:5000"}, False, "does not answer"),
    ],
)
def test_who_builds(
    cluster: bool,
    environment: dict[str, str],
    docker: bool,
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in {**environment, **({"PACHD_ADDRESS": "pachd:30650"} if cluster else {})}.items():
        monkeypatch.setenv(name, value)
    Docker().use(monkeypatch)
    if not docker:
        monkeypatch.setattr(docker_images, "connect", unavailable)
    if chosen not in ("docker", "bundle"):
        with pytest.raises(ImageError, match=chosen):
            choose_builder()
        return
    assert choose_builder() == chosen
    because = "as IMAGE_BUILDER says" if environment.get("IMAGE_BUILDER") == "bundle" else "does not answer."
    told = "The image will be built by Docker 27.1" if chosen == "docker" else "The image will be a bundle"
    (line,) = caplog.messages
    assert line.startswith(told)
    assert chosen == "docker" or line.endswith(because)


def test_the_name_depends_on_all_that_the_build_reads_and_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    project = image.PROJECT
    first = build_input_hash()
    assert len(first) == 12
    assert int(first, 16) >= 0
    (project / "ignored").write_text("2")
    assert build_input_hash() == first
    seen = {first}
    (project / "a").write_text("bc")
    seen.add(build_input_hash())
    (project / "a").write_text("cb")
    seen.add(build_input_hash())
    (project / "a").unlink()
    (project / "ab").write_text("cb")
    seen.add(build_input_hash())
    # As many bytes of a name and a content that say the same together.
    (project / "ab").write_text("")
    (project / "ab0").write_text("")
    seen.add(build_input_hash())
    monkeypatch.setenv("BASE_IMAGE", "python:3.12")
    seen.add(build_input_hash())
    assert len(seen) == 6


@pytest.mark.parametrize("there", [False, True])
def test_a_bundle_is_built_once(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LOCALPACH_ROOT", str(tmp_path))
    tag = f"tensor_flow_rnn_got:{build_input_hash()}-bundle"
    asked = []

    def run_localpach(*arguments: str) -> str:
        asked.append(arguments)
        if arguments[1] == "build":
            return "step 1\nstep 2\nsha256:1a2b\n"
        return f"another:1\n{tag if there else tag[:-1]}\n"

    monkeypatch.setattr(image, "run_localpach", run_localpach)
    assert build_image.fn("bundle") == tag
    listing = ("image", "list", "--root", str(tmp_path))
    building = ("image", "build", "--root", str(tmp_path), "--tag", tag, str(image.PROJECT))
    assert asked == ([listing] if there else [listing, building])
    built = [f"Building bundle {tag}", "step 1", "step 2", f"Built bundle {tag}"]
    assert caplog.messages == ([f"Bundle {tag} is built already"] if there else built)


def test_why_a_bundle_can_not_be_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_localpach(*_: str) -> str:
        raise LocalpachError("no room")

    monkeypatch.setattr(image, "run_localpach", run_localpach)
    with pytest.raises(ImageError, match=r"^The bundle can't be built: no room$"):
        build_image.fn("bundle")


def test_without_a_registry_an_image_is_built_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = build_input_hash()
    tag = f"tensor_flow_rnn_got:{inputs}"
    docker = Docker().use(monkeypatch)
    assert build_image.fn("docker") == tag
    told = {"VERSION": "scriptwright 1.2", "BUILD_INPUTS": inputs}
    assert docker.done == [("build", image.PROJECT, tag, told)]
    assert caplog.messages == ["Step 1", f"Built image {tag}"]
    monkeypatch.setenv("BASE_IMAGE", "python:3.12")
    tag = f"tensor_flow_rnn_got:{build_input_hash()}"
    assert build_image.fn("docker") == tag
    assert docker.done[1][3]["BASE_IMAGE"] == "python:3.12"
    docker = Docker(tag).use(monkeypatch)
    assert build_image.fn("docker") == tag
    assert docker.done == []


def test_what_is_in_the_registry_is_neither_built_nor_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_REGISTRY", "registry:5000")
    name = f"registry:5000/tensor_flow_rnn_got:{build_input_hash()}"
    docker = Docker(digest="sha256:there").use(monkeypatch)
    assert build_image.fn("docker") == "registry:5000/tensor_flow_rnn_got@sha256:there"
    assert docker.done == []
    docker = Docker(name).use(monkeypatch)
    assert build_image.fn("docker") == "registry:5000/tensor_flow_rnn_got@sha256:pushed"
    assert docker.done == [("push", name, None)]
    docker = Docker().use(monkeypatch)
    assert build_image.fn("docker") == "registry:5000/tensor_flow_rnn_got@sha256:pushed"
    assert [each[0] for each in docker.done] == ["build", "push"]
    assert docker.done[0][2] == name


def test_the_login_comes_out_of_its_block(prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_REGISTRY", "registry:5000")
    monkeypatch.setenv("IMAGE_REGISTRY_BLOCK", "of-tests")
    docker = Docker().use(monkeypatch)
    with pytest.raises(ImageError, match=r"^IMAGE_REGISTRY_BLOCK names 'of-tests', and Prefect has no such block"):
        build_image.fn("docker")
    assert docker.done == []
    RegistryCredentials(username="ann", password="a secret").save("of-tests")  # type: ignore[arg-type]
    build_image.fn("docker")
    assert docker.done[1][2] == {"username": "ann", "password": "a secret"}


def test_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(image, "time", SimpleNamespace(monotonic=lambda: clock.now))
    made: list[Any] = []
    shown: list[float] = []

    def create(*what: Any, **more: Any) -> UUID:
        made.append((*what, more))
        return UUID(int=1)

    monkeypatch.setattr(image, "create_progress_artifact", create)
    monkeypatch.setattr(image, "update_progress_artifact", lambda _, progress: shown.append(progress))
    told = image._Progress("Building the image")
    for clock.now, part in ((0.5, 0.1), (2.0, 0.2), (2.01, 0.3456), (4.0, 0.4), (4.02, 1.0)):
        told("" if part < 0.4 else f"at {part}", part)
    assert made == [(0.0, {"key": "scriptwright-image", "description": "Building the image"})]
    assert shown == [34.6, 100.0]
    assert caplog.messages == ["at 0.4", "at 1.0"]
