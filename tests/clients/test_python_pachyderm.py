"""python-pachyderm 7.6.0, as its users have it, with localpach in place of a cluster."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import tarfile
import threading

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from python_pachyderm import Client
from python_pachyderm.errors import AuthServiceNotActivated
from python_pachyderm.service import enterprise_proto, pfs_grpc, pfs_proto, pps_proto

from tests.jobs import content, last_job, lines, pfs, pipeline, put, until
from tests.servers import LOCALPACH, Server


@pytest.fixture
def client(client: Client) -> Client:
    """A client of a server on which nothing is but an empty repo `in`."""
    client.create_repo("in")
    return client


def test_files_of_every_size_come_back(client: Client) -> None:
    files = {f"/f{size}": os.urandom(size) for size in (1, 100, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 3 << 20)}
    put(client, "in", files)
    for path, data in files.items():
        assert content(client, "in", path) == data
    big = os.urandom(30 << 20)
    client.put_file_bytes(("in", "master"), "/big", io.BytesIO(big))
    with client.get_file(("in", "master"), "/big") as file:
        assert (file.read(10), file.read()) == (big[:10], big[10:])


def test_a_commit_keeps_what_came_before_it(client: Client) -> None:
    first = put(client, "in", {"/a": b"1", "/d/b": b"2"})
    with client.commit("in", "master") as commit:
        client.put_file_bytes(commit, "/a", b"+", append=True)
        client.delete_file(commit, "/d/")
        client.copy_file(("in", first), "/a", commit, "/copy")
    client.wait_commit(commit)
    assert [info.file.path for info in client.list_file(("in", "master"), "/")] == ["/a", "/copy"]
    assert content(client, "in", "/a") == b"1+"
    assert client.get_file(("in", first), "/d/b").read() == b"2"
    assert [info.commit.id for info in client.list_commit("in")] == [commit.id, first]
    changed = [(d.new_file.file.path, d.old_file.file.path) for d in client.diff_file(("in", "master"), "/")]
    assert changed == [("/", "/"), ("/a", "/a"), ("/copy", ""), ("", "/d/"), ("", "/d/b")]


def test_paths_are_walked_globbed_and_asked_for(client: Client) -> None:
    put(client, "in", dict.fromkeys(("/a1", "/a2", "/b/a3"), b"x"))
    assert [info.file.path for info in client.glob_file(("in", "master"), "/{a1,b/*}")] == ["/a1", "/b/a3"]
    assert [info.file.path for info in client.walk_file(("in", "master"), "/")] == ["/", "/a1", "/a2", "/b/", "/b/a3"]
    assert client.path_exists(("in", "master"), "/b")
    assert not client.path_exists(("in", "master"), "/c")
    assert client.inspect_file(("in", "master"), "/a1").size_bytes == 1


def test_a_tar_holds_what_a_directory_holds(client: Client) -> None:
    put(client, "in", {"/d/a": b"1", "/d/sub/b": b"22", "/e": b"3"})
    tar = client.get_file_tar(("in", "master"), "/d")
    found = {info.name.strip("/"): info.size for info in tar}
    assert found == {"d": 0, "d/a": 1, "d/sub": 0, "d/sub/b": 2}


def test_a_transaction_happens_whole_or_not_at_all(client: Client) -> None:
    with client.transaction():
        client.create_repo("one")
        client.create_repo("two")
    assert {info.repo.name for info in client.list_repo()} == {"in", "one", "two"}
    with pytest.raises(grpc.RpcError, match="already exists"), client.transaction():
        client.create_repo("three")
        client.create_repo("one")
    assert {info.repo.name for info in client.list_repo()} == {"in", "one", "two"}


def test_a_file_set_is_added_to_a_commit(client: Client) -> None:
    put(client, "in", {"/a": b"1", "/b": b"2" * 100_000})
    stub = pfs_grpc.APIStub(client._channel)
    commit = next(iter(client.inspect_commit(("in", "master")))).commit
    id = stub.GetFileSet(pfs_proto.GetFileSetRequest(commit=commit)).file_set_id
    client.create_repo("copy")
    with client.commit("copy", "master") as commit:
        stub.AddFileSet(pfs_proto.AddFileSetRequest(commit=commit, file_set_id=id))
    client.wait_commit(commit)
    assert content(client, "copy", "/b") == b"2" * 100_000


def test_a_branch_of_another_gets_a_commit_in_its_set(client: Client) -> None:
    client.create_repo("down")
    upstream = pfs_proto.Branch(repo=pfs_proto.Repo(name="in", type="user"), name="master")
    client.create_branch("down", "derived", provenance=[upstream])
    id = put(client, "in", {"/a": b"1"})
    assert [info.commit.repo.name for info in client.inspect_commit(id)] == ["in", "down"]
    seen = client.subscribe_commit("in", "master")
    assert next(seen).commit.id == id
    seen.cancel()


def test_errors_are_those_that_python_pachyderm_raises(client: Client, server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.create_repo("in")
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "repo default/in already exists",
    )
    with pytest.raises(ConnectionError, match="Error creating the PFSFile"):
        client.get_file(("in", "master"), "/none")
    with pytest.raises(grpc.RpcError, match="the auth service is not activated"):
        client.list_idp_connectors()
    with pytest.raises(AuthServiceNotActivated):
        client.delete_all_identity()
    with pytest.raises(grpc.RpcError), client.modify_file_client(("in", "master")) as modify:
        modify.put_file_from_bytes("/good", b"1")
        modify.put_file_from_bytes("/bad*", b"2")
    assert not list(client.list_branch("in"))
    host, port = server.address.split(":")
    for token in (None, "wrong"):
        with pytest.raises(grpc.RpcError) as caught:
            list(Client(host, int(port), auth_token=token).list_repo())
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_the_context_that_localpach_writes_connects(server: Server) -> None:
    connect = "import python_pachyderm; print(python_pachyderm.Client().get_remote_version().major)"
    script = (
        f'eval "$({LOCALPACH} env --root {server.root})" && {sys.executable} -c "{connect}" && echo ${{PACHD_ADDRESS-}}'
    )
    # What a shell may still have of another Pachyderm.
    elsewhere = os.environ | {"PACHD_ADDRESS": "127.0.0.1:1"}
    assert subprocess.run(["sh", "-c", script], env=elsewhere, check=True, capture_output=True).stdout == b"2\n\n"


def test_a_failing_datum_fails_the_job_and_what_comes_after(client: Client) -> None:
    put(client, "in", {"/good": b"1", "/bad": b"2"})
    pipeline(client, "picky", "test -e /pfs/in/good || exit 7; cp /pfs/in/* /pfs/out/", pfs("in"), datum_tries=2)
    pipeline(client, "after", "true", pfs("picky"))
    job = last_job(client, "picky")
    assert job.state == pps_proto.JOB_FAILURE
    assert job.reason.startswith("datum ")
    assert last_job(client, "after").state == pps_proto.JOB_UNRUNNABLE
    assert sum("exit status 7" in line for line in lines(client, "picky", job)) == 2
    only = pps_proto.ListDatumRequest.Filter(state=[pps_proto.FAILED])
    (failed,) = client.list_datum("picky", job.job.id, datum_filter=only)
    assert [each.file.path for each in client.inspect_datum("picky", job.job.id, failed.datum.id).data] == ["/bad"]


def test_logs_are_followed_from_job_to_job(client: Client) -> None:
    put(client, "in", {"/a": b"1"})
    pipeline(client, "p", "ls /pfs/in; sleep 0.2; echo after $(ls /pfs/in)", pfs("in"))
    job = next(iter(client.list_job("p")))
    followed = [message.message for message in client.get_job_logs("p", job.job.id, follow=True) if message.user]
    assert followed == ["a", "after a"]
    said: list[str] = []
    logs = client.get_pipeline_logs("p", follow=True)
    reader = threading.Thread(target=lambda: said.extend(itertools.islice((m.message for m in logs if m.user), 4)))
    reader.start()
    put(client, "in", {"/b": b"1"})
    reader.join(15)
    logs.cancel()
    assert said == ["a", "after a", "b", "after b"]


def test_a_stopped_job_and_a_stopped_pipeline(client: Client) -> None:
    put(client, "in", {"/a": b"1"})
    pipeline(client, "slow", "sleep 600", pfs("in"))
    client.stop_job(next(iter(client.list_job("slow"))).job.id, "slow", "enough")
    job = last_job(client, "slow")
    assert (job.state, job.reason) == (pps_proto.JOB_KILLED, "enough")
    client.stop_pipeline("slow")
    until(lambda: next(iter(client.inspect_pipeline("slow"))).state == pps_proto.PIPELINE_PAUSED)
    put(client, "in", {"/b": b"2"})
    assert len(list(client.list_job("slow"))) == 1
    client.delete_pipeline("slow", keep_repo=True)
    assert {info.repo.name for info in client.list_repo()} == {"in", "slow"}


def test_cron_ticks_start_jobs(client: Client) -> None:
    cron = pps_proto.Input(cron=pps_proto.CronInput(name="tick", spec="@every 1s"))
    pipeline(client, "clock", "cp /pfs/tick/* /pfs/out", cron)
    until(lambda: len(list(client.list_job("clock"))) >= 2)
    client.run_cron("clock")
    assert last_job(client, "clock").state == pps_proto.JOB_SUCCESS


def test_secrets_come_as_environment_and_as_files(client: Client) -> None:
    put(client, "in", {"/a": b"1"})
    client.create_secret("vault", {"key": "sesame"})
    secrets = [
        pps_proto.SecretMount(name="vault", key="key", env_var="KEY"),
        pps_proto.SecretMount(name="vault", mount_path="/vault"),
    ]
    script = 'test "$KEY" = sesame && test "$(cat /vault/key)" = sesame'
    transform = pps_proto.Transform(cmd=["sh"], stdin=[script], image="host", secrets=secrets)
    client.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=1)
    assert last_job(client, "p").state == pps_proto.JOB_SUCCESS
    assert [info.secret.name for info in client.list_secret()] == ["vault"]
    client.delete_secret("vault")
    with pytest.raises(grpc.RpcError, match='"vault" not found'):
        client.inspect_secret("vault")


def test_the_small_services_answer(client: Client) -> None:
    packed = b"".join(chunk.content.content for chunk in client.dump())
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert "source-repos/repos.json" in archive.getnames()
    packed = b"".join(client.profile_cpu(Duration(nanos=200_000_000)))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == ["pachd/cpu"]
    assert b"".join(client.binary())
    assert client.get_enterprise_state().state == enterprise_proto.NONE
    assert client.get_activation_code().activation_code == ""
    assert not list(client.fsck())
    assert client.inspect_cluster().id
