"""Pipelines that really run."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import content, last_job, lines, pfs, pipeline, put, until
from tests.servers import serving


def test_each_datum_sees_its_input_and_writes_its_output(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"one", "/b": b"two"})
    pipeline(client, "upper", "for f in /pfs/in/*; do tr a-z A-Z < $f > /pfs/out/$(basename $f); done", pfs("in"))
    job = last_job(client, "upper")
    assert (job.state, job.data_processed) == (pps_pb2.JOB_SUCCESS, 2)
    assert content(client, "upper", "/a") == b"ONE"
    assert content(client, "upper", "/b") == b"TWO"


def test_unchanged_datums_are_skipped(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    pipeline(client, "copy", "cp /pfs/in/* /pfs/out/", pfs("in"))
    last_job(client, "copy")
    put(client, "in", {"/b": b"2"})
    job = last_job(client, "copy")
    assert (job.data_processed, job.data_skipped, job.data_total) == (1, 1, 2)
    assert content(client, "copy", "/a") == b"1"


def test_inputs_can_not_be_written_to(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/big": b"x" * 100_000})
    pipeline(client, "vandal", "echo y > /pfs/in/big; rm -f /pfs/in/big; ls /pfs/in > /pfs/out/seen", pfs("in", "/"))
    last_job(client, "vandal")
    assert content(client, "in", "/big") == b"x" * 100_000


def test_a_failing_datum_fails_the_job_and_what_comes_after(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/good": b"1", "/bad": b"2"})
    pipeline(client, "picky", "test -e /pfs/in/good || exit 7; cp /pfs/in/* /pfs/out/", pfs("in"), datum_tries=2)
    pipeline(client, "after", "true", pfs("picky"))
    job = last_job(client, "picky")
    assert job.state == pps_pb2.JOB_FAILURE
    assert job.reason.startswith("datum ")
    assert last_job(client, "after").state == pps_pb2.JOB_UNRUNNABLE
    assert sum("exit status 7" in line for line in lines(client, "picky", job)) == 2


def test_crossed_and_joined_inputs(client: Client) -> None:
    client.create_repo("x")
    client.create_repo("y")
    put(client, "x", {"/1.txt": b"x1", "/2.txt": b"x2"})
    put(client, "y", {"/1.txt": b"y1", "/3.txt": b"y3"})
    pair = "cat /pfs/x/* /pfs/y/* > /pfs/out/$(ls /pfs/x)-$(ls /pfs/y)"
    pipeline(client, "crossed", pair, pps_pb2.Input(cross=[pfs("x"), pfs("y")]))
    both = [pfs("x", "/(*).txt", join_on="$1"), pfs("y", "/(*).txt", join_on="$1")]
    pipeline(client, "joined", pair, pps_pb2.Input(join=both))
    assert last_job(client, "crossed").data_processed == 4
    assert last_job(client, "joined").data_processed == 1
    assert content(client, "joined", "/1.txt-1.txt") == b"x1y1"


def test_the_environment_of_user_code(client: Client) -> None:
    client.create_repo("in")
    id = put(client, "in", {"/a": b"1"})
    pipeline(client, "env", "echo $in $in_COMMIT $PACH_JOB_ID > /pfs/out/env", pfs("in"))
    job = last_job(client, "env")
    assert content(client, "env", "/env").decode().split() == ["/pfs/in/a", id, job.job.id]


def test_a_stopped_job_is_killed(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    pipeline(client, "slow", "sleep 600", pfs("in"))
    client.stop_job(client.list_job("slow")[0].job.id, "slow", "enough")
    job = last_job(client, "slow")
    assert (job.state, job.reason) == (pps_pb2.JOB_KILLED, "enough")


def test_memory_and_time_limits_end_a_datum(client: Client) -> None:
    client.create_repo("in")
    put(client, "in", {"/a": b"1"})
    hungry = "exec python3 -c 'x = bytearray(200 << 20); import time; time.sleep(60)'"
    limit = pps_pb2.ResourceSpec(memory="100Mi")
    pipeline(client, "hungry", hungry, pfs("in"), resource_limits=limit, datum_tries=1)
    job = last_job(client, "hungry")
    assert job.state == pps_pb2.JOB_FAILURE
    assert any("out of memory" in line for line in lines(client, "hungry", job))


def test_an_image_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path, missing_image="refuse") as server:
        client = server.client
        client.create_repo("in")
        pipeline(client, "lost", "true", pfs("in"))
        until(lambda: client.inspect_pipeline("lost").state == pps_pb2.PIPELINE_CRASHING)
        assert "localpach image build --tag host" in client.inspect_pipeline("lost").reason


def test_cron_ticks_start_jobs(client: Client) -> None:
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", spec="@every 1s"))
    pipeline(client, "clock", "ls /pfs/tick | wc -l > /pfs/out/n", cron)
    until(lambda: len(client.list_job("clock")) >= 3)


def test_what_one_machine_lacks_is_refused_by_name(client: Client) -> None:
    client.create_repo("in")
    with pytest.raises(grpc.RpcError, match="determined") as caught:
        pipeline(client, "web", "true", pfs("in"), determined=pps_pb2.Determined())
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
