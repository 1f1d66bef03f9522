"""What can go wrong with an image is told in a sentence, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker import DockerClient
from pydantic import SecretStr

from flows.docker_build import docker_build
from tasks.image import image
from tasks.image.docker_images import DockerUnavailable, ImageError, connect
from tasks.image.image import RegistryCredentials, build_input_hash
from tests.docker.conftest import PLAIN_BASE, daemon, free_port, registry

# The first of them to run makes the base image, where it is not there from an earlier session.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def project(host: DockerClient, embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small project whose image the flow builds with Docker; after a failure everything is as it was."""
    folder = tmp_path / "project"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "a.py").write_text("print('a')\n")
    (folder / ".dockerignore").write_text("*\n!Dockerfile\n!model/*.py\n")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY model /code/model\n")
    monkeypatch.setattr(image, "PROJECT", folder)
    monkeypatch.setenv("IMAGE_BUILDER", "docker")
    yield folder


def left(host: DockerClient) -> set[str]:
    """All images, layers of unfinished ones among them, and all containers."""
    return {each["Id"] for each in [*host.api.images(all=True), *host.api.containers(all=True)]}


def refused(host: DockerClient) -> str:
    """The sentence that the flow fails with, which leaves Docker as it was."""
    before = left(host)
    with pytest.raises(ImageError) as caught:
        docker_build()
    assert left(host) == before
    return str(caught.value)


def test_no_daemon(project: Path, host: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert refused(host) == f"Docker's daemon does not answer at unix://{tmp_path}/nobody.sock; start it."
    monkeypatch.delenv("IMAGE_BUILDER")
    assert docker_build().endswith("-bundle")


def test_a_daemon_that_does_not_let_us_in(host: DockerClient) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(DockerUnavailable, match=r"does not let you in \(permission denied\); join the group"):
            connect()
    finally:
        os.seteuid(0)


def test_a_dockerfile_with_a_mistake(project: Path, host: DockerClient) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPPY model /code/model\n")
    assert "Docker can't build the image: dockerfile parse error line 2: unknown instruction: COPPY" in refused(host)


def test_a_step_that_fails_shows_the_end_of_its_log(project: Path, host: DockerClient) -> None:
    steps = "COPY model /code/model\nRUN echo the last words; exit 3\n"
    (project / "Dockerfile").write_text(f"FROM {PLAIN_BASE}\n{steps}")
    sentence = refused(host)
    assert sentence.startswith("Step 3/3 : RUN echo the last words; exit 3 failed: ")
    assert "returned a non-zero code: 3" in sentence
    assert sentence.endswith("\n  the last words")


def test_a_base_image_that_is_not_there(project: Path, host: DockerClient) -> None:
    place = f"127.0.0.1:{free_port()}"
    (project / "Dockerfile").write_text(f"FROM {place}/nothing:1\n")
    assert refused(host).startswith(
        f"The base image is not here and could not be pulled (Step 1/1 : FROM {place}/nothing:1): "
    )


def test_no_space(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "model" / "big.py").write_bytes(os.urandom(30 << 20))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], check=True)
    try:
        with daemon(disk) as address:
            monkeypatch.setenv("DOCKER_HOST", address)
            sentence = refused(DockerClient(address))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert "no space left on device" in sentence
    assert sentence.endswith("Free some space, for example with `docker system prune`.")


def test_a_registry_that_is_down(project: Path, host: DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("IMAGE_REGISTRY", place)
    sentence = refused(host)
    assert sentence.startswith(f"The registry {place} could not be used (")
    assert "connection refused" in sentence


def test_a_registry_that_refuses_the_password(
    project: Path,
    host: DockerClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with registry(tmp_path, ("ann", "let-me-in")) as place:
        monkeypatch.setenv("IMAGE_REGISTRY", place)
        assert refused(host).startswith(f"The registry {place} refuses the login (")
        monkeypatch.setenv("IMAGE_REGISTRY_BLOCK", "ours")
        assert "IMAGE_REGISTRY_BLOCK names 'ours'" in refused(host)
        for password in ("let-me-out", "let-me-in"):
            RegistryCredentials(username="ann", password=SecretStr(password)).save("ours", overwrite=True)
            if password == "let-me-out":
                assert refused(host).startswith(f"The registry {place} refuses the login (")
        assert docker_build().startswith(f"{place}/tensor_flow_rnn_got@sha256:")
    assert "let-me" not in caplog.text


class Cutter:
    """Hands bytes on to a registry, and cuts each connection after so many, as long as it is told to."""

    def __init__(self, target: str) -> None:
        self._target = target.split(":")
        self.limit: int | None = 1 << 20
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection((self._target[0], int(self._target[1])))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._hand_on, args=pair, daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        passed = 0
        try:
            while data := source.recv(1 << 16):
                passed += len(data)
                if self.limit is not None and passed > self.limit:
                    self.cuts += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            each.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def cutter(target: str) -> Iterator[Cutter]:
    proxy = Cutter(target)
    yield proxy
    proxy.close()


def test_a_push_that_is_cut_and_repeated(
    project: Path, host: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "model" / "big.py").write_bytes(os.urandom(8 << 20))
    with registry(tmp_path) as place, cutter(place) as proxy:
        monkeypatch.setenv("IMAGE_REGISTRY", proxy.place)
        with pytest.raises(ImageError, match=f"The registry {proxy.place} could not be used"):
            docker_build()
        assert proxy.cuts
        assert host.images.list(f"{proxy.place}/tensor_flow_rnn_got"), "what is built need not be built again"
        proxy.limit = None
        pushed = docker_build()
        host.images.remove(pushed, force=True)
        host.images.pull(pushed)


def test_what_changes_the_tag(project: Path) -> None:
    code = project / "model" / "a.py"
    before = build_input_hash()
    os.utime(code, (0, 0))
    (project / "flows").mkdir()
    (project / "flows" / "train.py").write_text("print()\n")
    assert build_input_hash() == before
    code.write_text(code.read_text() + "# one line more\n")
    assert build_input_hash() != before


def test_a_cluster_is_refused_what_it_could_not_see(
    project: Path, host: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", "127.0.0.1:1")
    assert refused(host).startswith("A cluster can't see this machine's images: set IMAGE_REGISTRY")
    monkeypatch.setenv("IMAGE_BUILDER", "bundle")
    assert refused(host).startswith("A cluster can't run bundles")
    monkeypatch.setenv("IMAGE_BUILDER", "docker")
    monkeypatch.setenv("IMAGE_SHARED", "1")
    assert docker_build() == f"tensor_flow_rnn_got:{build_input_hash()}"
