"""What went wrong in Pachyderm, by the numbers of its public reports, does not go wrong here. docs/reliability.md lists
these and those that other tests show.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client, commit_of
from tests.helpers import content, last_job, lines, pfs, pipeline, put, refused, shell, tell, until
from tests.servers import Server


@pytest.fixture
def source(client: Client) -> Client:
    """A client of a server with a repo `in` that has a file."""
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    return client


def test_4296_a_pipeline_stopped_and_started_amid_a_job_works_on(source: Client, server: Server) -> None:
    pipeline(source, "p", "until test -e /tmp/go; do sleep 0.05; done; cp /pfs/in/* /pfs/out/", pfs("in"))
    until(lambda: source.list_job("p")[0].state == pps_pb2.JOB_RUNNING)
    source.stop_pipeline("p")
    source.start_pipeline("p")
    put(source, "in", {"/b": b"2"})

    def is_done() -> bool:
        tell(server.root, "go")
        return source.list_job("p")[0].state == pps_pb2.JOB_SUCCESS

    until(is_done)
    assert {job.state for job in source.list_job("p")} <= {pps_pb2.JOB_KILLED, pps_pb2.JOB_SUCCESS}
    assert (content(source, "p", "/a"), content(source, "p", "/b")) == (b"1", b"2")


def test_4010_a_job_of_a_pipeline_in_standby_fails_and_its_log_ends(source: Client) -> None:
    pipeline(source, "p", "echo before; no-such-program", pfs("in"), autoscaling=True, datum_tries=1)
    job = source.list_job("p")[0].job
    said = [message.message for message in source.pps.GetLogs(pps_pb2.GetLogsRequest(job=job, follow=True))]
    assert "before" in said
    assert last_job(source, "p").state == pps_pb2.JOB_FAILURE
    until(lambda: source.inspect_pipeline("p").state == pps_pb2.PIPELINE_STANDBY)


def test_3046_a_cron_ticks_once_however_often_its_pipeline_was_updated(client: Client) -> None:
    cron = pps_pb2.CronInput(name="tick", spec="@every 1s")
    for number in range(4):
        pipeline(client, "p", f"echo {number}", pps_pb2.Input(cron=cron), update=number > 0, reprocess=True)
    before = len(ticks(client, "p_tick"))
    until(lambda: len(ticks(client, "p_tick")) >= before + 2)
    first, second = (datetime.fromisoformat(path[1:]) for path in ticks(client, "p_tick")[before : before + 2])
    assert (second - first).total_seconds() == 1


def test_2733_a_cron_without_a_start_does_not_catch_up_with_the_past(client: Client) -> None:
    pipeline(client, "p", "true", pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="*/1 * * * *")))
    last_job(client, "p")
    assert len(ticks(client, "p_tick")) <= 1
    started = pps_pb2.CronInput(name="tick", spec="@every 1h", start=Timestamp(seconds=2**33))
    pipeline(client, "q", "true", pps_pb2.Input(cron=started))
    last_job(client, "q")
    assert ticks(client, "q_tick") == []


def ticks(client: Client, repo: str) -> list[str]:
    return [info.file.path for info in client.list_file((repo, "master"), "/")]


def test_5668_skipped_datums_are_listed_with_their_own_files(source: Client) -> None:
    pipeline(source, "p", "cp /pfs/in/* /pfs/out/", pfs("in"))
    put(source, "in", {"/z": b"2"})
    put(source, "in", {"/b": b"3"})
    listed = source.list_datum("p", last_job(source, "p").job.id)
    assert {(each.data[0].file.path, each.state) for each in listed} == {
        ("/a", pps_pb2.SKIPPED),
        ("/z", pps_pb2.SKIPPED),
        ("/b", pps_pb2.SUCCESS),
    }


def test_5046_what_reads_a_deleted_pipeline_blocks_no_other(source: Client, server: Server) -> None:
    for name in ("first", "other"):
        pipeline(source, name, "cp /pfs/in/* /pfs/out/", pfs("in"))
    pipeline(source, "reader", "true", pps_pb2.Input(cross=[pfs("first"), pfs("other")]))
    last_job(source, "reader")
    request = pps_pb2.DeletePipelineRequest(pipeline=pps_pb2.Pipeline(name="first"), force=True)
    source.pps.DeletePipeline(request)
    pipeline(source, "other", "cp /pfs/in/* /pfs/out/; echo again", pfs("in"), update=True, reprocess=True)
    put(source, "in", {"/b": b"2"})
    assert last_job(source, "other").state == pps_pb2.JOB_SUCCESS
    assert fsck(server) == "all is well\n"
    source.delete_pipeline("reader")


def test_3108_a_commit_can_be_dropped_whose_sibling_fed_a_repo_that_is_gone(client: Client, server: Server) -> None:
    for repo in ("one", "two"):
        client.create_repo(repo)
        put(client, repo, {"/a": b"1"})
    for name in ("x", "y"):
        pipeline(client, name, "true", pps_pb2.Input(cross=[pfs("one"), pfs("two")]))
        last_job(client, name)
    client.delete_pipeline("x")
    client.delete_pipeline("y")
    client.drop_commit(client.list_commit("one")[0].commit.id)
    assert fsck(server) == "all is well\n"


def test_3965_a_deleted_pipeline_is_deleted_again_without_harm(source: Client) -> None:
    pipeline(source, "p", "true", pfs("in"))
    for _ in range(2):
        source.delete_pipeline("p")
    assert source.list_pipeline() == []


def test_6156_deleting_no_repo_by_name_is_refused(source: Client) -> None:
    assert refused(lambda: source.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest())) == ("UNKNOWN", "must specify repo")
    assert [info.repo.name for info in source.list_repo()] == ["in"]


def test_4035_links_to_empty_files_of_the_input_are_uploaded(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {f"/d/{number}": b"data" for number in range(5)})
    input = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="in", glob="/", empty_files=True))
    pipeline(
        client, "p", "mkdir /pfs/out/all; for f in /pfs/in/d/*; do ln -s $f /pfs/out/all/$(basename $f); done", input
    )
    job = last_job(client, "p")
    assert (job.state, job.reason) == (pps_pb2.JOB_SUCCESS, "")
    assert [info.size_bytes for info in client.list_file(("p", "master"), "/all")] == [0] * 5


def test_2351_a_link_that_leads_nowhere_fails_its_job(source: Client) -> None:
    pipeline(source, "p", "ln -s /pfs/in/none /pfs/out/model", pfs("in"), datum_tries=1)
    job = last_job(source, "p")
    assert job.state == pps_pb2.JOB_FAILURE
    assert "/model in /pfs/out is a link to /pfs/in/none: there is nothing" in job.reason


def test_2807_every_line_of_a_log_is_there_once_and_in_order(source: Client) -> None:
    pipeline(source, "p", "seq 1000; seq 1001 2000 >&2", pfs("in"))
    job = last_job(source, "p")
    numbers = [int(line) for line in lines(source, "p", job) if line.isdigit()]
    assert numbers == list(range(1, 2001))


def test_5774_a_path_that_a_glob_could_not_name_is_refused_when_it_is_put(source: Client) -> None:
    for path in ("/haz_Sa[0.01].png", "/test[].txt", "/a*"):
        code, told = refused(lambda path=path: source.put_file_bytes(("in", "master"), path, b"1"))  # type: ignore[misc]
        assert (code, path in told) == ("UNKNOWN", True)


def test_4226_fsck_finds_nothing_wrong_while_commits_come(source: Client, server: Server) -> None:
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            put(source, "in", {"/a": b"%d" % number, "/big": b"%d" % number * 30_000})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            answers = source.pfs.Fsck(pfs_pb2.FsckRequest())
            assert [answer.error or answer.fix for answer in answers] == []
    finally:
        ended.set()
        writer.join(30)


def test_444_a_wait_for_what_failed_ends(source: Client) -> None:
    pipeline(source, "p", "false", pfs("in"), datum_tries=1)
    pipeline(source, "q", "true", pfs("p"))
    id = put(source, "in", {"/b": b"2"})
    infos = source.inspect_commit_set(id, wait=True)
    assert {info.commit.repo.name for info in infos} >= {"in", "p", "q"}
    assert source.inspect_commit(commit_of(("q", id))).error


def test_2491_an_update_without_new_input_makes_one_job(source: Client) -> None:
    pipeline(source, "p", "true", pfs("in"))
    last_job(source, "p")
    source.create_pipeline("p", transform=shell("echo new"), input=pfs("in"), update=True)
    last_job(source, "p")
    assert [job.pipeline_version for job in source.list_job("p", history=-1)] == [2, 1]


def fsck(server: Server) -> str:
    command = [sys.executable, "-m", "localpach", "fsck", "--root", str(server.root), "--read-data"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
