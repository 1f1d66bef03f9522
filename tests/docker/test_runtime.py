"""localpach runs images as containers: what they see, how they end, and that nothing of them is left."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from google.protobuf.duration_pb2 import Duration
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from tests.docker.conftest import FULL_BASE, registry
from tests.jobs import content, last_job, lines, pfs, put, until
from tests.servers import Server

# The first of them to run makes the base image, where it is not there from an earlier session.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def client(server: Server, host: DockerClient) -> Iterator[Client]:
    client = server.client
    client.delete_all()
    client.create_repo("in")
    put(client, "in", {"/a": b"one\n"})
    yield client
    until(lambda: not ids(host))


def run(client: Client, script: str, image: str = FULL_BASE, **more: object) -> pps_proto.JobInfo:
    """The job of a pipeline `p` that runs a shell script; keywords that a transform has go there."""
    fields = {name for name in more if name in pps_proto.Transform.DESCRIPTOR.fields_by_name}
    transform = pps_proto.Transform(
        **{"cmd": ["sh", "-e"], "stdin": [script], "image": image} | {f: more[f] for f in fields}
    )
    rest = {name: value for name, value in more.items() if name not in fields}
    client.create_pipeline("p", transform=transform, input=pfs("in"), **{"datum_tries": 1} | rest)
    return last_job(client, "p")


def ids(host: DockerClient) -> set[str]:
    """The containers that there are."""
    return {container["Id"] for container in host.api.containers(all=True)}


def said(client: Client, job: pps_proto.JobInfo) -> list[str]:
    return [m.message for m in client.get_job_logs("p", job.job.id) if m.user]


def test_what_a_container_sees(client: Client) -> None:
    script = """
      id -u; pwd; cat /pfs/in/a; grep COLOUR /pfs/.env; echo $PPS_PIPELINE_NAME; ls /pfs /sys/class/net
      if touch /x 2>/dev/null; then echo written; fi
      touch /pfs/in/x /tmp/x ~/x
      echo aside >&2
      cp /pfs/in/a /pfs/out/b
    """
    job = run(client, script, user="4321:1234", working_dir="/var", env={"COLOUR": "green"})
    assert (job.state, job.reason) == (pps_proto.JOB_SUCCESS, "")
    seen = ["4321", "/var", "one", "COLOUR=green", "p", "/pfs:", "in", "out", "", "/sys/class/net:", "lo"]
    assert sorted(said(client, job)) == sorted([*seen, "aside"])
    assert content(client, "p", "/b") == b"one\n"


def test_what_a_spec_can_ask_for_around_it(client: Client) -> None:
    patch = [
        {"op": "add", "path": "/volumes/-", "value": {"name": "tmp", "emptyDir": {}}},
        {"op": "add", "path": "/containers/0/volumeMounts/-", "value": {"name": "tmp", "mountPath": "/tmp"}},
        {"op": "add", "path": "/containers/0/securityContext/readOnlyRootFilesystem", "value": False},
    ]
    script = "touch /tmp/x /x; ls /sys/class/net"
    job = run(client, script, pod_patch=json.dumps(patch))
    assert job.state == pps_proto.JOB_SUCCESS, lines(client, "p", job)
    assert said(client, job) == ["lo"]


def test_only_what_is_mounted_can_be_written(client: Client) -> None:
    patch = [{"op": "add", "path": "/containers/0/volumeMounts/-", "value": {"name": "disk", "mountPath": "/disk"}}]
    job = run(client, "true", pod_patch=json.dumps(patch))
    assert job.state == pps_proto.JOB_FAILURE
    assert 'mounts the volume "disk" at /disk: only volumes of kind emptyDir exist here' in job.reason


def test_secrets_are_variables_and_files(client: Client) -> None:
    client.create_secret("door", {"word": "swordfish"})
    secrets = [
        pps_proto.SecretMount(name="door", key="word", env_var="WORD"),
        pps_proto.SecretMount(name="door", mount_path="/keys"),
    ]
    job = run(client, 'test "$WORD" = swordfish; cat /keys/word; ! echo x > /keys/word', secrets=secrets)
    client.delete_secret("door")
    assert job.state == pps_proto.JOB_SUCCESS
    assert "swordfish" in said(client, job)


def test_ends_are_those_of_processes(client: Client) -> None:
    job = run(client, "exit 7")
    assert (job.state, job.reason) == (pps_proto.JOB_FAILURE, f"datum {datum_of(client, job)} failed")
    assert any("exit status 7" in line for line in lines(client, "p", job))
    assert run(client, "exit 7", accept_return_code=[7], update=True, reprocess=True).state == pps_proto.JOB_SUCCESS
    job = run(client, "exit 7", err_cmd=["sh"], err_stdin=["test -e /pfs/in/a"], update=True, reprocess=True)
    assert (job.state, job.data_recovered) == (pps_proto.JOB_SUCCESS, 1)
    job = run(client, "exit 7", datum_tries=3, update=True, reprocess=True)
    assert sum("beginning to run" in line for line in lines(client, "p", job)) == 3
    job = run(client, "", cmd=["no-such-program"], update=True, reprocess=True)
    assert any("can't run" in line and "no-such-program" in line for line in lines(client, "p", job))
    assert any("exit status 127" in line for line in lines(client, "p", job))


def datum_of(client: Client, job: pps_proto.JobInfo) -> str:
    return str(next(iter(client.list_datum("p", job.job.id))).datum.id)


def test_too_much_memory_is_named_in_the_reason(client: Client) -> None:
    limits = pps_proto.ResourceSpec(memory="64M", cpu=0.5)
    requests = pps_proto.ResourceSpec(memory="32M", cpu=0.25)
    hog = 'python3 -c \'import sys; sys.stdout.write(str(len(bytearray(1 << 28).replace(b"\\0", b"x"))))\''
    job = run(client, hog, resource_limits=limits, resource_requests=requests)
    assert job.state == pps_proto.JOB_FAILURE
    assert job.reason.endswith("failed: out of memory: it was killed for holding more than its limit of 64000000 bytes")


def test_limits_and_requests_reach_the_container(client: Client, host: DockerClient) -> None:
    limits = pps_proto.ResourceSpec(memory="64M", cpu=0.5)
    requests = pps_proto.ResourceSpec(memory="32M", cpu=0.25)
    start(client, "sleep 600", resource_limits=limits, resource_requests=requests)
    until(host.containers.list)
    settings = host.containers.list()[0].attrs["HostConfig"]
    assert (settings["Memory"], settings["NanoCpus"]) == (64_000_000, 500_000_000)
    assert (settings["MemoryReservation"], settings["CpuShares"]) == (32_000_000, 256)
    stop(client)


def test_a_gpu_is_refused_where_there_is_none(client: Client) -> None:
    limits = pps_proto.ResourceSpec(gpu=pps_proto.GPUSpec(type="nvidia.com/gpu", number=1))
    start(client, "true", resource_limits=limits)
    until(lambda: pipeline_info(client).state == pps_proto.PIPELINE_CRASHING)
    assert (
        pipeline_info(client).reason == "resource_limits.gpu asks for 1, and this machine's Docker has no GPU to give"
    )


def start(client: Client, script: str, **more: object) -> None:
    transform = pps_proto.Transform(cmd=["sh"], stdin=[script], image=FULL_BASE)
    client.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=1, **more)


def stop(client: Client) -> pps_proto.JobInfo:
    newest = next(iter(client.list_job("p")))
    client.stop_job(newest.job.id, "p")
    return last_job(client, "p")


def pipeline_info(client: Client) -> pps_proto.PipelineInfo:
    return next(iter(client.inspect_pipeline("p")))


def test_lines_come_while_it_runs_and_a_stop_ends_it(client: Client, host: DockerClient) -> None:
    start(client, "echo begun; printf half; sleep 600")
    newest = next(iter(client.list_job("p")))
    until(lambda: "begun" in said(client, newest))
    assert stop(client).state == pps_proto.JOB_KILLED
    until(lambda: not ids(host))


def test_a_timeout_ends_it(client: Client) -> None:
    begin = time.monotonic()
    job = run(client, "sleep 600", datum_timeout=Duration(seconds=1))
    assert any("context deadline exceeded" in line for line in lines(client, "p", job))
    assert time.monotonic() - begin < 60


def test_killed_and_removed_from_outside(client: Client, host: DockerClient) -> None:
    start(client, "echo begun; sleep 600")
    until(host.containers.list)
    host.containers.list()[0].kill()
    job = last_job(client, "p")
    assert job.reason.endswith("failed: its container was killed from outside")
    client.delete_pipeline("p")
    start(client, "sleep 600")
    until(host.containers.list)
    host.containers.list()[0].remove(force=True)
    assert "from outside" in last_job(client, "p").reason


def test_a_killed_server_removes_its_containers_when_it_is_back(host: DockerClient, tmp_path: Path) -> None:
    bystander = host.containers.run(FULL_BASE, ["sleep", "600"], detach=True, network_mode="none")
    server = Server(tmp_path, ())
    server.start()
    try:
        server.client.create_repo("in")
        put(server.client, "in", {"/a": b"1"})
        start(server.client, "test -e /pfs/in/a && sleep 600")
        until(lambda: len(ids(host)) == 2)
        old = ids(host) - {bystander.id}
        server.kill()
        server.start()
        until(lambda: len(ids(host)) == 2 and not old & ids(host))
        server.stop()
        assert ids(host) == {bystander.id}
    finally:
        server.stop()
        bystander.remove(force=True)


def test_missing_images_are_pulled_with_the_specs_secret(client: Client, host: DockerClient, tmp_path: Path) -> None:
    with registry(tmp_path, ("ann", "let-me-in")) as place:
        name = f"{place}/private:1"
        small = host.api.import_image_from_data(empty_tar(), place + "/private", "1")
        assert "error" not in small
        login = {"username": "ann", "password": "let-me-in"}
        for event in host.api.push(name, stream=True, decode=True, auth_config=login):
            assert "error" not in event, event
        host.images.remove(name)
        job = run(client, "", name, cmd=["/nothing"])
        assert f'image "{name}" is not here and could not be pulled' in job.reason
        assert "basic auth" in job.reason
        config = {"auths": {place: login}}
        client.create_secret("login", {".dockerconfigjson": json.dumps(config)})
        job = run(client, "", name, cmd=["/nothing"], image_pull_secrets=["login"], update=True, reprocess=True)
        assert any("can't run" in line for line in lines(client, "p", job)), job.reason
        assert not any("let-me-in" in line for line in lines(client, "p", job))
        client.delete_secret("login")
        host.images.remove(name)


def test_an_image_that_goes_between_jobs_fails_the_job_until_it_is_back(client: Client, host: DockerClient) -> None:
    host.images.get(FULL_BASE).tag("127.0.0.1:1/gone", "1")
    assert run(client, "true", "127.0.0.1:1/gone:1").state == pps_proto.JOB_SUCCESS
    host.images.remove("127.0.0.1:1/gone:1")
    put(client, "in", {"/b": b"two\n"})
    job = last_job(client, "p")
    assert job.state == pps_proto.JOB_FAILURE
    assert job.reason.startswith('image "127.0.0.1:1/gone:1" is not here and could not be pulled: ')
    host.images.get(FULL_BASE).tag("127.0.0.1:1/gone", "1")
    put(client, "in", {"/c": b"three\n"})
    assert last_job(client, "p").state == pps_proto.JOB_SUCCESS


def empty_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    return stream.getvalue()


def test_without_a_daemon_the_pipeline_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    server = Server(tmp_path / "root", ())
    server.start()
    try:
        server.client.create_repo("in")
        start(server.client, "true")
        until(lambda: pipeline_info(server.client).state == pps_proto.PIPELINE_CRASHING)
        reason = pipeline_info(server.client).reason
        assert f"Docker's daemon does not answer at unix://{tmp_path}/nobody.sock (No such file or directory)" in reason
    finally:
        server.stop()
