"""When triggers fire, and what schedules mean."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from localpach.errors import Refused
from localpach.pfs import triggers
from localpach.proto import pfs_pb2
from tests.client import Client, branch_of
from tests.helpers import put, refused, until

SECOND = 1_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * SECOND)


@pytest.mark.parametrize(
    ("spec", "after", "due"),
    [
        ("0 0 1 1 *", "2024-01-01T00:00:00", "2025-01-01T00:00:00"),
        ("@yearly", "2024-02-03T04:05:06", "2025-01-01T00:00:00"),
        ("@annually", "2024-02-03T04:05:06", "2025-01-01T00:00:00"),
        ("@monthly", "2024-02-03T04:05:06", "2024-03-01T00:00:00"),
        ("@weekly", "2024-02-03T04:05:06", "2024-02-04T00:00:00"),
        ("@daily", "2024-02-03T04:05:06", "2024-02-04T00:00:00"),
        ("@midnight", "2024-02-03T04:05:06", "2024-02-04T00:00:00"),
        ("@hourly", "2024-02-03T04:05:06", "2024-02-03T05:00:00"),
        ("*/5 * * * *", "2024-02-03T04:05:00", "2024-02-03T04:10:00"),
        ("0 6 ? * MON-FRI", "2024-02-03T04:05:00", "2024-02-05T06:00:00"),
        ("? ? 1 ? ?", "2024-02-03T04:05:00", "2024-03-01T00:00:00"),
        ("@every 1h30m", "2024-02-03T04:05:06", "2024-02-03T05:35:06"),
        ("@every 10s", "2024-02-03T04:05:06", "2024-02-03T04:05:16"),
        ("@every 500ms", "2024-02-03T04:05:06", "2024-02-03T04:05:06.500000"),
        ("@every 1.5m", "2024-02-03T04:05:06", "2024-02-03T04:06:36"),
        ("@never", "2024-02-03T04:05:06", None),
    ],
)
def test_the_next_time_of_a_schedule(spec: str, after: str, due: str | None) -> None:
    triggers.check_cron(spec)
    assert triggers.next_time(spec, at(after)) == (at(due) if due else None)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("", "Expected exactly 5 fields, found 0: "),
        ("* * * *", "Expected exactly 5 fields, found 4: * * * *"),
        ("* * * * * *", "Expected exactly 5 fields, found 6: * * * * * *"),
        ("?5 * * * *", "Bad minute: ?5 * * * *"),
        ("61 * * * *", "Bad minute: 61 * * * *"),
        ("@sometimes", "Unrecognized descriptor: @sometimes"),
        ("@every", "Unrecognized descriptor: @every"),
        ("@every 10", "Unrecognized descriptor: @every 10"),
        ("@every 0s", "Unrecognized descriptor: @every 0s"),
        ("@every 10s!", "Unrecognized descriptor: @every 10s!"),
        ("@every 0.9ms", "Unrecognized descriptor: @every 0.9ms"),
        ("@every 900000h", "Unrecognized descriptor: @every 900000h"),
    ],
)
def test_what_is_no_schedule_is_refused(spec: str, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        triggers.check_cron(spec)
    assert caught.value.message == sentence


def on_master(**fields: Any) -> pfs_pb2.Trigger:
    return pfs_pb2.Trigger(branch="master", **fields)


@pytest.mark.parametrize(
    ("trigger", "sentence"),
    [
        (pfs_pb2.Trigger(), "triggers must specify a branch to trigger on"),
        (on_master(size="big"), "invalid trigger size: invalid size: 'big'"),
        (on_master(size="1z"), "invalid trigger size: invalid size: '1z'"),
        (on_master(commits=-1), "can't trigger on a negative number of commits"),
        (on_master(cron_spec="x"), "invalid trigger cron spec: Expected exactly 5 fields, found 1: x"),
        (on_master(rate_limit_spec="x"), "invalid trigger rate limit spec: Expected exactly 5 fields, found 1: x"),
    ],
)
def test_triggers_that_can_not_be(trigger: pfs_pb2.Trigger, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        triggers.check(trigger)
    assert caught.value.message == sentence
    triggers.check(on_master(size="1K", commits=0, cron_spec="@daily", rate_limit_spec="@every 1s"))


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ("7", 7),
        ("7B", 7),
        ("2k", 2000),
        ("2KB", 2000),
        ("2Ki", 2048),
        ("2KiB", 2048),
        (" 1.5 M ", 1_500_000),
        ("1Mi", 1 << 20),
        ("1G", 10**9),
        ("1Gi", 1 << 30),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
    ],
)
def test_a_size_is_reached_at_its_number_of_bytes(size: str, number: int) -> None:
    trigger = on_master(size=size)
    triggers.check(trigger)
    assert triggers.fires(trigger, number, 1, 0, 1)
    assert not triggers.fires(trigger, number - 1, 1, 0, 1)


def test_conditions_are_met_by_any_or_by_all() -> None:
    start = at("2024-02-03T04:05:06")
    minute = 60 * SECOND

    def fires(trigger: pfs_pb2.Trigger, size: int = 0, commits: int = 1, later: int = 0) -> bool:
        return triggers.fires(trigger, size, commits, start, start + later)

    assert fires(on_master())
    assert fires(on_master(all=True))
    assert [fires(on_master(commits=2), commits=number) for number in (1, 2, 3)] == [False, True, True]
    for field in ("cron_spec", "rate_limit_spec"):
        each = on_master(**{field: "@every 1m"})
        assert [fires(each, later=later) for later in (0, minute - 1, minute, minute + 1)] == [False, False, True, True]
        assert not fires(on_master(**{field: "@never"}), later=10 * minute)
    both = {"size": "10", "commits": 2}
    for size, commits in ((0, 1), (10, 1), (0, 2), (10, 2)):
        assert fires(on_master(**both), size, commits) == (size == 10 or commits == 2)
        assert fires(on_master(all=True, **both), size, commits) == (size == 10 and commits == 2)


def heads(client: Client, repo: str) -> dict[str, str]:
    return {info.branch.name: info.head.id for info in client.list_branch(repo)}


def test_a_branch_follows_once_its_trigger_fires(client: Client) -> None:
    client.create_repo("in")
    client.create_branch("in", "t", trigger=on_master(commits=2))
    empty = heads(client, "in")["t"]
    client.create_branch("in", "chained", trigger=pfs_pb2.Trigger(branch="t", commits=1))
    client.create_branch("in", "big", trigger=on_master(size="1K"))
    ids = [put(client, "in", {f"/{number}": b"x"}) for number in range(3)]
    found = heads(client, "in")
    assert (found["master"], found["big"] in ids) == (ids[2], False)
    assert found["t"] == found["chained"] == ids[1]
    assert empty not in ids
    ids.append(put(client, "in", {"/big": b"x" * 1000}))
    assert heads(client, "in")["t"] == heads(client, "in")["big"] == ids[3]
    put(client, "in", {"/aside": b"x" * 2000}, branch="aside")
    assert heads(client, "in")["big"] == ids[3]
    put(client, "in", {"/more": b"x" * 999})
    assert heads(client, "in")["big"] == ids[3]


def test_commits_that_were_squashed_count_for_no_trigger(client: Client) -> None:
    client.create_repo("in")
    client.create_branch("in", "t", trigger=on_master(commits=3))
    ids = [put(client, "in", {f"/{number}": b"x"}) for number in range(2)]
    client.pfs.SquashCommitSet(pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=ids[0])))
    ids.append(put(client, "in", {"/2": b"x"}))
    assert heads(client, "in")["t"] not in ids
    ids.append(put(client, "in", {"/3": b"x"}))
    assert heads(client, "in")["t"] == ids[3]


def test_what_depends_on_a_triggered_branch_follows_with_it(client: Client) -> None:
    client.create_repo("in")
    client.create_repo("out")
    client.create_branch("in", "t", trigger=on_master(commits=1))
    client.create_branch("out", "master", provenance=[branch_of("in", "t")])
    client.finish_commit(("out", "master"))
    id = put(client, "in", {"/a": b"1"})
    until(lambda: client.inspect_commit(("out", "master")).direct_provenance[0].id == id)
    assert client.inspect_commit(("out", "master")).commit.id != id


def test_triggers_may_not_form_a_loop(client: Client) -> None:
    client.create_repo("in")
    client.create_branch("in", "a", trigger=pfs_pb2.Trigger(branch="b"))
    client.create_branch("in", "b", trigger=pfs_pb2.Trigger(branch="c"))
    for name, on in (("c", "a"), ("x", "x")):
        call = partial(client.create_branch, "in", name, trigger=pfs_pb2.Trigger(branch=on))
        assert refused(call) == ("UNKNOWN", "triggers cannot form a loop")
    client.create_branch("in", "c", trigger=pfs_pb2.Trigger(branch="d"))
