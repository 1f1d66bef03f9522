"""The train flow with a real image: built, pushed, pulled by digest and run in containers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker import DockerClient
from docker.types import Mount

from flows.docker_build import docker_build
from flows.train import train
from prefect_pachyderm.credentials import connect
from tasks.report.results import Results
from tests import corpora
from tests.docker.conftest import FULL_BASE, PLAIN_BASE, registry

# The first of them to run makes the base image, where it is not there from an earlier session.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass
class Trained:
    """The first run with Docker."""

    image: str
    results: Results
    source: Path


@pytest.fixture(scope="module")
def docker_target(host: DockerClient, embedded: Path) -> Iterator[str]:
    """The embedded server, for which Docker builds images that go through a registry."""
    folder = embedded / "registry"
    folder.mkdir()
    with registry(folder) as place, pytest.MonkeyPatch.context() as patch:
        patch.delenv("IMAGE_BUILDER")
        patch.setenv("IMAGE_REGISTRY", place)
        patch.setenv("BASE_IMAGE", FULL_BASE)
        yield place


@pytest.fixture(scope="module")
def trained(docker_target: str, host: DockerClient, embedded: Path) -> Trained:
    image = docker_build()
    host.images.remove(host.images.get(image).id, force=True)
    assert not host.images.list(f"{docker_target}/tensor_flow_rnn_got")
    source = corpora.plays(embedded / "plays.tar.gz")
    return Trained(image, train(source=str(source), tokens=300), source)


def outputs() -> dict[str, bytes]:
    """The weights, the vocabulary and the script that the two pipelines wrote last."""
    client = connect()
    patterns = {"GoT_train": "/{model.ckpt*,checkpoint,*_to_*.json}", "GoT_generate": "/new_script.txt"}
    return {
        f"{repo}:{info.file.path}": client.get_file((repo, "master"), info.file.path).read()
        for repo, pattern in patterns.items()
        for info in client.glob_file((repo, "master"), pattern)
    }


def test_the_image_is_pulled_by_digest_and_both_pipelines_run(
    trained: Trained, docker_target: str, host: DockerClient
) -> None:
    assert trained.image.startswith(f"{docker_target}/tensor_flow_rnn_got@sha256:")
    assert set(trained.results.perplexity) == {"train", "valid", "test"}
    assert trained.results.script
    assert host.images.get(trained.image).attrs["RepoDigests"] == [trained.image]
    for name in ("GoT_train", "GoT_generate"):
        info = next(iter(connect().inspect_pipeline(name, details=True)))
        assert info.details.transform.image == trained.image
    assert not host.api.containers(all=True)


def test_a_second_run_neither_builds_nor_pushes(trained: Trained, host: DockerClient) -> None:
    begin = time.time()
    assert train(source=str(trained.source), tokens=300) == trained.results
    # The daemon takes whole seconds, and the first run may have ended in this one.
    events = host.events(since=int(begin), until=int(time.time() + 1), decode=True)
    assert not [event for event in events if event["timeNano"] > begin * 1e9]


def test_a_bundle_gives_the_same_bytes(
    trained: Trained, embedded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_docker = outputs()
    assert len(with_docker) == 6
    monkeypatch.setenv("IMAGE_BUILDER", "bundle")
    train(source=str(trained.source), tokens=300)
    image = next(iter(connect().inspect_pipeline("GoT_train", details=True))).details.transform.image
    assert image.endswith("-bundle")
    with_bundle = outputs()
    different = [name for name in with_docker if with_docker[name] != with_bundle.get(name)]
    assert (different, with_bundle.keys()) == ([], with_docker.keys())


def test_the_model_writes_nothing_but_its_output(trained: Trained, host: DockerClient, tmp_path: Path) -> None:
    assert host.images.get(trained.image).attrs["Config"]["User"] == "1000:1000"
    assert not host.images.get(trained.image).attrs["Config"]["Entrypoint"]
    out, scripts = tmp_path / "out", tmp_path / "scripts"
    out.mkdir()
    out.chmod(0o777)
    scripts.mkdir()
    (scripts / "play.txt").write_text("".join(corpora.play(number) for number in range(4)))
    for read_only in (True, False):
        container = host.containers.create(
            trained.image,
            ["python3", "-m", "model.train", "--data-path", "/in", "--save-path", "/out", "--model", "test"],
            mounts=[Mount("/in", str(scripts), "bind", read_only=True), Mount("/out", str(out), "bind")],
            read_only=read_only,
            network_mode="none",
        )
        container.start()
        assert container.wait()["StatusCode"] == 0, container.logs().decode()
        changes = [change["Path"] for change in container.diff() or []]
        container.remove()
        assert set(changes) <= {"/in", "/out"}, changes
    assert (out / "metrics.json").stat().st_uid == 1000


def test_a_base_without_the_dependencies_gets_them(
    trained: Trained, host: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE_IMAGE", PLAIN_BASE)
    monkeypatch.delenv("IMAGE_REGISTRY")
    image = docker_build()
    code = "import tensorflow, numpy; print(tensorflow.__version__, numpy.__version__)"
    said = [
        host.containers.run(name, ["python3", "-c", code], remove=True, network_mode="none")
        for name in (image, trained.image)
    ]
    assert said[0] == said[1]
    labels = host.images.get(image).labels
    assert labels["scriptwright.build-inputs"] == image.partition(":")[2]
    assert labels["org.opencontainers.image.version"]
