"""The life of pipelines and jobs: updates, stops, limits, logs, secrets, templates."""

from __future__ import annotations

import itertools
import threading
import time
from functools import partial

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from localpach.proto import pps_pb2
from tests.client import Client, commit_of
from tests.helpers import content, last_job, lines, pfs, pipeline, put, shell, tell, until
from tests.servers import Server


@pytest.fixture
def source(client: Client) -> Client:
    """A client of a server with one file in repo `in`."""
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    return client


def test_an_update_runs_new_code_only_on_new_datums_unless_told_to(source: Client) -> None:
    pipeline(source, "p", "echo old > /pfs/out/$(ls /pfs/in)", pfs("in"))
    last_job(source, "p")
    pipeline(source, "p", "echo new > /pfs/out/$(ls /pfs/in)", pfs("in"), update=True)
    job = last_job(source, "p")
    assert (job.pipeline_version, job.data_skipped, job.data_processed) == (2, 1, 0)
    put(source, "in", {"/b": b"2"})
    last_job(source, "p")
    assert (content(source, "p", "/a"), content(source, "p", "/b")) == (b"old\n", b"new\n")
    pipeline(source, "p", "echo newer > /pfs/out/$(ls /pfs/in)", pfs("in"), update=True, reprocess=True)
    assert last_job(source, "p").data_processed == 2
    assert content(source, "p", "/a") == b"newer\n"


def test_what_a_deleted_input_had_brought_goes_away(source: Client) -> None:
    put(source, "in", {"/b": b"2"})
    pipeline(source, "p", "cp /pfs/in/* /pfs/out/", pfs("in"))
    last_job(source, "p")
    with source.commit("in", "master") as commit:
        source.delete_file(commit, "/a")
    last_job(source, "p")
    assert [info.file.path for info in source.list_file(("p", "master"), "/")] == ["/b"]


def test_every_job_reprocesses_where_the_spec_says_so(source: Client) -> None:
    pipeline(source, "p", "date +%N > /pfs/out/n", pfs("in"), reprocess_spec="every_job")
    last_job(source, "p")
    put(source, "in", {"/b": b"2"})
    assert last_job(source, "p").data_processed == 2


def test_a_stopped_pipeline_takes_no_input_until_it_is_started(source: Client) -> None:
    pipeline(source, "p", "cp /pfs/in/* /pfs/out/", pfs("in"))
    last_job(source, "p")
    source.stop_pipeline("p")
    put(source, "in", {"/b": b"2"})
    assert len(source.list_job("p")) == 1
    until(lambda: source.inspect_pipeline("p").state == pps_pb2.PIPELINE_PAUSED)
    source.start_pipeline("p")
    assert last_job(source, "p").data_total == 2
    assert content(source, "p", "/b") == b"2"


def test_deleting_a_pipeline_ends_its_job_and_keeps_its_output_if_asked(source: Client) -> None:
    pipeline(source, "p", "cp /pfs/in/* /pfs/out/", pfs("in"))
    last_job(source, "p")
    source.delete_pipeline("p", keep_repo=True)
    assert content(source, "p", "/a") == b"1"
    pipeline(source, "q", "sleep 600", pfs("in"))
    source.delete_pipeline("q")
    assert {info.repo.name for info in source.list_repo()} == {"in", "p"}
    assert not list(source.pps.ListJobSet(pps_pb2.ListJobSetRequest()))


def test_logs_go_with_their_job_or_pipeline(source: Client, server: Server) -> None:
    pipeline(source, "p", "echo hi", pfs("in"))
    first = last_job(source, "p")
    put(source, "in", {"/b": b"2"})
    last_job(source, "p")
    files = {file.name: file for file in (server.root / "logs").glob("*/*")}
    source.delete_job(first.job.id, "p")
    until(lambda: not files[first.job.id].exists())
    assert sum(file.exists() for file in files.values()) == len(files) - 1
    source.delete_pipeline("p")
    until(lambda: not any(file.exists() for file in files.values()))


def test_a_killed_job_says_nothing_once_it_is_deleted(source: Client, server: Server) -> None:
    def said(name: str, job: str) -> bool:
        return bool(list(source.get_job_logs(name, job, tail=1)))

    before = set((server.root / "logs").glob("*/*"))
    for number in range(5):
        pipeline(source, f"p{number}", "while true; do echo still here; done", pfs("in"))
        job = source.list_job(f"p{number}")[0].job
        until(partial(said, f"p{number}", job.id))
        source.delete_pipeline(f"p{number}")
    time.sleep(0.5)
    assert set((server.root / "logs").glob("*/*")) == before


def test_err_cmd_recovers_a_datum(source: Client) -> None:
    command = ["sh", "-c", "echo mine >/pfs/in/a; touch /pfs/out/b; exit 1"]
    rescue = ["cat /pfs/in/a; ls /pfs/out"]
    transform = pps_pb2.Transform(cmd=command, err_cmd=["sh"], err_stdin=rescue, image="host")
    source.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=2)
    job = last_job(source, "p")
    assert (job.state, job.data_recovered, job.data_failed) == (pps_pb2.JOB_SUCCESS, 1, 0)
    assert [m.message for m in source.get_job_logs("p", job.job.id) if m.user] == ["mine", "b"] * 2


def test_return_codes_may_be_accepted(source: Client) -> None:
    transform = pps_pb2.Transform(cmd=["sh", "-c", "exit 3"], accept_return_code=[3], image="host")
    source.create_pipeline("p", transform=transform, input=pfs("in"))
    assert last_job(source, "p").state == pps_pb2.JOB_SUCCESS


def test_a_transform_without_a_command_fails_and_says_so(source: Client) -> None:
    source.create_pipeline("p", transform=pps_pb2.Transform(image="host"), input=pfs("in"), datum_tries=1)
    job = last_job(source, "p")
    assert job.state == pps_pb2.JOB_FAILURE
    assert any("no command specified" in line for line in lines(source, "p", job))


def test_timeouts_of_datums_and_jobs(source: Client) -> None:
    pipeline(source, "datum", "sleep 600", pfs("in"), datum_timeout=Duration(nanos=200_000_000), datum_tries=1)
    pipeline(source, "job", "sleep 600", pfs("in"), job_timeout=Duration(nanos=200_000_000))
    slow = last_job(source, "datum")
    assert slow.state == pps_pb2.JOB_FAILURE
    assert any("context deadline exceeded" in line for line in lines(source, "datum", slow))
    job = last_job(source, "job")
    assert (job.state, job.reason) == (pps_pb2.JOB_KILLED, " jobtimed out")


def test_a_killed_command_names_its_signal(source: Client) -> None:
    pipeline(source, "p", "kill -9 $$", pfs("in"), datum_tries=1)
    job = last_job(source, "p")
    assert any("exit status 137 (signal: killed, out of memory?)" in line for line in lines(source, "p", job))


def test_a_datum_starts_again_when_told_to(source: Client, server: Server) -> None:
    command = "test -e /tmp/again || { echo waits; sleep 600; }; cp /pfs/in/a /pfs/out/"
    pipeline(source, "p", command, pfs("in"), datum_tries=1)

    def running() -> pps_pb2.JobInfo | None:
        job = source.list_job("p", details=True)[0]
        return job if job.details.worker_status else None

    until(running)
    job = running()
    assert job is not None
    # Only what runs can be started again, and the status is there before that.
    until(lambda: "waits" in lines(source, "p", job))
    tell(server.root, "again")
    with pytest.raises(
        grpc.RpcError, match=rf"datum matching filter \[/b\] could not be found for job ID {job.job.id}"
    ):
        source.restart_datum("p", job.job.id, ["/b"])
    source.restart_datum("p", job.job.id, ["/a"])
    assert last_job(source, "p").state == pps_pb2.JOB_SUCCESS
    with pytest.raises(grpc.RpcError, match=r"datum matching filter \[\] could not be found"):
        source.restart_datum("p", job.job.id, [])
    assert not source.list_job("p", details=True)[0].details.worker_status


def test_logs_are_followed_to_the_end_of_the_job(source: Client) -> None:
    pipeline(source, "p", "for i in 1 2 3; do echo line $i; sleep 0.1; done", pfs("in"))
    job = source.list_job("p")[0]
    followed = [message.message for message in source.get_job_logs("p", job.job.id, follow=True) if message.user]
    assert followed == ["line 1", "line 2", "line 3"]
    assert len(list(source.get_job_logs("p", job.job.id, tail=2))) == 2
    datum = source.list_datum("p", job.job.id)[0].datum
    of_datum = [message.message for message in source.get_job_logs("p", job.job.id, datum=datum) if message.user]
    assert of_datum == followed


def test_logs_of_a_pipeline_go_on_with_its_next_jobs(source: Client) -> None:
    pipeline(source, "p", "ls /pfs/in", pfs("in"))
    last_job(source, "p")
    said: list[str] = []
    logs = source.pps.GetLogs(pps_pb2.GetLogsRequest(pipeline=pps_pb2.Pipeline(name="p"), follow=True))

    def read() -> None:
        users = (message.message for message in logs if message.user)
        said.extend(itertools.islice(users, 3))

    reader = threading.Thread(target=read)
    reader.start()
    for name in "bc":
        put(source, "in", {f"/{name}": b"1"})
        last_job(source, "p")
    reader.join(15)
    logs.cancel()
    assert said == ["a", "b", "c"]


def test_jobs_are_listed_by_version_number_and_order(source: Client) -> None:
    pipeline(source, "p", "true", pfs("in"))
    pipeline(source, "p", "true", pfs("in"), update=True)
    put(source, "in", {"/b": b"2"})
    last_job(source, "p")
    ids = [job.job.id for job in source.list_job("p", history=-1)]
    assert len(ids) == 3
    assert [job.job.id for job in source.list_job("p")] == ids[:2]
    assert [job.job.id for job in source.list_job("p", number=1)] == ids[:1]
    assert [job.job.id for job in source.list_job("p", history=-1, reverse=True)] == ids[::-1]
    assert [job.job.id for job in source.list_job("p", history=-1, input_commit=[commit_of(("in", ids[0]))])] == ids[:1]


def test_a_subscription_brings_each_new_job(source: Client) -> None:
    found: list[str] = []
    call = source.pps.SubscribeJob(pps_pb2.SubscribeJobRequest(pipeline=pps_pb2.Pipeline(name="p")))
    reader = threading.Thread(target=lambda: found.extend(info.job.id for info in itertools.islice(call, 2)))
    reader.start()
    pipeline(source, "p", "true", pfs("in"))
    last_job(source, "p")
    put(source, "in", {"/b": b"2"})
    reader.join(15)
    call.cancel()
    assert found == [job.job.id for job in source.list_job("p", reverse=True)]


def test_secrets_come_as_environment_and_as_files(source: Client, server: Server) -> None:
    source.create_secret("vault", {"key": "sesame"})
    secrets = [
        pps_pb2.SecretMount(name="vault", key="key", env_var="KEY"),
        pps_pb2.SecretMount(name="vault", mount_path="/vault"),
    ]
    script = 'test "$KEY" = sesame && test "$(cat /vault/key)" = sesame && touch /pfs/out/ok'
    transform = shell(script, secrets=secrets)
    source.create_pipeline("p", transform=transform, input=pfs("in"), datum_tries=1)
    assert last_job(source, "p").state == pps_pb2.JOB_SUCCESS
    assert [info.secret.name for info in source.pps.ListSecret(Empty()).secret_info] == ["vault"]
    files = [file for file in server.root.iterdir() if file.name.startswith("metadata.sqlite")]
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    with pytest.raises(grpc.RpcError, match='"vault" already exists'):
        source.create_secret("vault", {"key": "other"})
    source.delete_secret("vault")
    with pytest.raises(grpc.RpcError, match='"vault" not found'):
        source.pps.InspectSecret(pps_pb2.InspectSecretRequest(secret=pps_pb2.Secret(name="vault")))


def test_templates_become_specs_and_read_no_files(client: Client) -> None:
    template = "function(name) { pipeline: { name: name }, transform: { cmd: ['true'] } }"
    request = pps_pb2.RenderTemplateRequest(template=template, args={"name": "p"})
    assert client.pps.RenderTemplate(request).specs[0].pipeline.name == "p"
    request = pps_pb2.RenderTemplateRequest(template="importstr '/etc/hostname'")
    with pytest.raises(grpc.RpcError, match="a template can't import"):
        client.pps.RenderTemplate(request)


def test_a_pipeline_that_lost_its_tick_repo_holds_up_no_other(source: Client) -> None:
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@every 1s"))
    pipeline(source, "clock", "true", cron)
    source.delete_repo("clock_tick", force=True)
    time.sleep(1.2)
    pipeline(source, "p", "cp /pfs/in/* /pfs/out/", pfs("in"))
    assert last_job(source, "p").state == pps_pb2.JOB_SUCCESS


def test_pipelines_come_and_go_while_others_are_listed(source: Client, server: Server) -> None:
    stop = threading.Event()
    problems: list[grpc.RpcError] = []

    def watch() -> None:
        client = server.client
        while not stop.is_set():
            try:
                client.list_pipeline(details=True)
                list(client.pps.ListJobSet(pps_pb2.ListJobSetRequest(details=True)))
            except grpc.RpcError as error:
                problems.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(8):
        pipeline(source, f"p{number}", "sleep 0.05", pfs("in"))
        if number % 2:
            source.delete_pipeline(f"p{number - 1}")
    assert last_job(source, "p7").state == pps_pb2.JOB_SUCCESS
    stop.set()
    watcher.join()
    assert not problems


def test_what_a_job_writes_is_finished_by_the_job(source: Client, server: Server) -> None:
    pipeline(source, "p", "until test -e /tmp/go; do sleep 0.02; done", pfs("in"))
    job = source.list_job("p")[0]
    for type in ("user", "meta"):
        with pytest.raises(
            grpc.RpcError, match="cannot finish a pipeline output or meta commit, use 'stop job' instead"
        ):
            source.finish_commit(("p", "master", job.job.id, type))
    until(lambda: list(server.root.glob("work/*/tmp")))
    tell(server.root, "go")
    assert last_job(source, "p").state == pps_pb2.JOB_SUCCESS
