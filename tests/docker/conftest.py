"""A Docker daemon, a registry and base images of the tests' own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest
from docker import DockerClient

from tests.docker.base_image import cache_folder, make_base_images
from tests.servers import Server

PROGRAMS = ("dockerd", "docker-registry", "debootstrap", "htpasswd")
BASES = PLAIN_BASE, FULL_BASE = ("scriptwright-base:plain", "scriptwright-base:full")
START_SECONDS = 60
ANSWER_SECONDS = 300


@contextmanager
def running(command: list[str], is_ready: Callable[[], bool], log: Path) -> Iterator[None]:
    """A server in the background, ended by its process id."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)


@contextmanager
def daemon(data: Path) -> Iterator[str]:
    """A Docker daemon with everything of its own; gives its address."""
    # A socket's path may be no longer than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="docker-"))
    address = f"unix://{folder}/docker.sock"

    def answers() -> bool:
        try:
            return bool(DockerClient(address).ping())
        except docker.errors.DockerException:
            return False

    own = [f"--data-root={data}", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    network = ["--bridge=none", "--iptables=false"]
    try:
        with running(["dockerd", f"--host={address}", *own, *network], answers, folder / "log"):
            yield address
    finally:
        # The daemon leaves the namespace of a network behind.
        for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if mount.split()[1].startswith(f"{folder}/"):
                subprocess.run(["umount", mount.split()[1]], check=True)
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def registry(folder: Path, user: tuple[str, str] | None = None, port: int | None = None) -> Iterator[str]:
    """A registry that keeps its images in `folder`, for everybody or for one user; gives host:port."""
    place = f"127.0.0.1:{port or free_port()}"
    auth = ""
    if user:
        command = ["htpasswd", "-Bbn", *user]
        (folder / "htpasswd").write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {folder}/htpasswd\n"
    storage = f"storage:\n  filesystem:\n    rootdirectory: {folder}/images\n  delete:\n    enabled: true\n"
    (folder / "config.yml").write_text(f"version: 0.1\n{storage}http:\n  addr: {place}\n{auth}")

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(place.split(":")[1]))) == 0

    with running(["docker-registry", "serve", str(folder / "config.yml")], answers, folder / "log"):
        yield place


@pytest.fixture(scope="module")
def host(engine: str) -> Iterator[DockerClient]:
    """A client of the tests' daemon, which `DOCKER_HOST` names for a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine)
        patch.setenv("DOCKER_CONFIG", str(cache_folder() / "config"))
        client = docker.from_env(timeout=ANSWER_SECONDS)
        clean(client)
        yield client
        clean(client)


@pytest.fixture(scope="module")
def server(host: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A localpach whose commands run in the containers of the tests' daemon."""
    server = Server(tmp_path_factory.mktemp("localpach"), ())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """A Docker daemon of the tests' own, which has the base images; gives its address."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        assert not os.environ.get("CI"), f"CI must have {PROGRAMS} and be root; missing: {missing}"
        pytest.skip(f"needs root and the programs {', '.join(PROGRAMS)}")
    cache = cache_folder()
    for other in cache.parent.glob("*"):
        if other != cache:
            shutil.rmtree(other)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with daemon(cache / "data") as address:
            provide_bases(DockerClient(address, timeout=ANSWER_SECONDS))
            yield address


def clean(client: DockerClient) -> None:
    """Leaves nothing but the base images."""
    for container in client.api.containers(all=True):
        with suppress(docker.errors.APIError):
            client.api.remove_container(container["Id"], force=True)
    for image in client.api.images(all=True):
        with suppress(docker.errors.APIError):
            for name in image["RepoTags"] or [image["Id"]]:
                if name not in BASES:
                    client.api.remove_image(name, force=True)


def provide_bases(client: DockerClient) -> None:
    """Makes the base images unless they are there."""
    if all(client.images.list(name) for name in BASES):
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, tar in zip(BASES, make_base_images(Path(folder)), strict=True):
            said = client.api.import_image_from_file(str(tar), *name.split(":"))
            assert "error" not in json.loads(said.splitlines()[-1]), said
